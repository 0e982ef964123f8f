//! The settings that the leading daemon records, so that commands act and judge as it does.

use std::fmt;

use serde::Serialize;

use super::reader::{Origin, Reader};
use super::{Env, rules, sync, urls};

/// A command never takes this URL from the database, because it sends the API key there.
const SOURCE: &str = "CVSYNC_API_BASE_URL";

/// Writers with different values of one of these store different data.
const SHAPING: [&str; 8] = [
    SOURCE,
    "CVSYNC_API_LIVE_STATUSES",
    "CVSYNC_API_GONE_STATUSES",
    "CVSYNC_API_NAMES",
    "CVSYNC_API_TIME_FORMAT",
    "CVSYNC_API_PAGING",
    "CVSYNC_SYNC_FROM",
    "CVSYNC_DOCUMENT_EXCLUDE",
];

/// A command uses the leader's value of one of these, unless it has its own. The stored documents are the same.
const FOLLOWED: [&str; 11] = [
    "CVSYNC_API_RATE_PER_MINUTE",
    "CVSYNC_SCHEDULE",
    "CVSYNC_RECONCILE_SCHEDULE",
    "CVSYNC_TIMEZONE",
    "CVSYNC_WINDOW_OVERLAP",
    "CVSYNC_SETTLE_LAG",
    "CVSYNC_RELIST",
    "CVSYNC_MAX_DELETE_SHARE",
    "CVSYNC_TOMBSTONE_RETENTION",
    "CVSYNC_CHANGE_RETENTION",
    "CVSYNC_ACCESS_RETENTION",
];

/// The value of one of these variables, for the leader's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shaping {
    pub name: &'static str,
    /// In canonical form: equal meaning gives equal text. `None` without a value.
    pub value: Option<String>,
    pub origin: Origin,
}

/// The variables in which a command and the leader differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Differs(Vec<String>);

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the settings of this command differ from the daemon's, so it would store other data; nothing was changed:",
        )?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The settings of this environment.
#[must_use]
pub(crate) fn shaping(env: &Env) -> Vec<Shaping> {
    let reader = Reader::new(env);
    let values = SHAPING.iter().chain(&FOLLOWED).map(|name| Shaping {
        name,
        value: reader.value(name).map(|value| canonical(name, &value)),
        origin: reader.origin(super::variables::variable(name)),
    });
    values.collect()
}

impl Env {
    /// This environment, with the leader's settings (name, value and origin) where it has no value of its own, except for the
    /// URL of the source. Names that this version does not know are ignored.
    ///
    /// # Errors
    /// `Differs` if both have a value and the values differ, or if the sources differ.
    pub fn under<'a>(
        &self,
        leader: impl IntoIterator<Item = (&'a str, Option<&'a str>, &'a str)>,
    ) -> Result<Self, Differs> {
        let own = shaping(self);
        let mut differ = Vec::new();
        let mut given = Vec::new();
        for (name, value, origin) in leader {
            let Some(own) = own.iter().find(|own| own.name == name) else {
                continue;
            };
            if own.origin == Origin::Environment || name == SOURCE {
                if own.value.as_deref() != value && SHAPING.contains(&name) {
                    differ.push(line(own, value, origin));
                }
            } else if let Some(value) = value {
                given.push((own.name, value));
            }
        }
        if differ.is_empty() {
            Ok(self.with(given))
        } else {
            Err(Differs(differ))
        }
    }
}

impl Env {
    /// This environment, with the leader's values (name and value) instead of its own, for commands that judge the leader.
    #[must_use]
    pub fn judging<'a>(
        &self,
        leader: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Self {
        let followed = leader
            .into_iter()
            .filter(|(name, _)| FOLLOWED.contains(name));
        self.with(followed.filter_map(|(name, value)| Some((name, value?))))
    }
}

fn line(own: &Shaping, theirs: Option<&str>, origin: &str) -> String {
    let quoted =
        |value: Option<&str>| value.map_or("no value".to_owned(), |value| format!("{value:?}"));
    let remedy = if own.name == SOURCE {
        "set it for this command too, if the API key may be sent to the daemon's address"
    } else {
        "unset it here to use the daemon's value, or restart the daemon with yours"
    };
    format!(
        "{name} is {} here ({} of this command) and {} in the daemon ({origin}); {remedy}",
        quoted(own.value.as_deref()),
        match own.origin {
            Origin::Environment => "environment",
            _ => "default",
        },
        quoted(theirs),
        name = own.name,
    )
}

/// The common text of all values with the same meaning.
fn canonical(name: &str, value: &str) -> String {
    let list = |item: fn(&str) -> String| {
        let items = rules::items(value).unwrap_or_else(|_| vec![value.to_owned()]);
        let mut items: Vec<String> = items.iter().map(|text| item(text.trim())).collect();
        items.sort_unstable();
        items.dedup();
        items.join(",")
    };
    match name {
        "CVSYNC_API_LIVE_STATUSES" | "CVSYNC_API_GONE_STATUSES" => list(str::to_ascii_uppercase),
        "CVSYNC_DOCUMENT_EXCLUDE" => list(str::to_owned),
        "CVSYNC_API_NAMES" => list(|pair| {
            let (ours, theirs) = pair.split_once('=').unwrap_or((pair, ""));
            format!("{}={}", ours.trim(), theirs.trim())
        }),
        "CVSYNC_SYNC_FROM" => {
            sync::instant(value).map_or_else(|_| value.to_owned(), |at| at.to_rfc3339())
        }
        SOURCE => urls::http(value).map_or_else(
            |_| value.to_owned(),
            |url| url.as_str().trim_end_matches('/').to_owned(),
        ),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        Env::new(pairs.iter().copied())
    }

    fn recorded(leader: &Env) -> Vec<(&'static str, Option<String>, String)> {
        let recorded = shaping(leader).into_iter();
        recorded
            .map(|it| (it.name, it.value, it.origin.to_string()))
            .collect()
    }

    fn under(command: &[(&str, &str)], leader: &[(&str, &str)]) -> Result<Vec<Shaping>, String> {
        let leader = recorded(&env(leader));
        let leader = leader
            .iter()
            .map(|(name, value, origin)| (*name, value.as_deref(), origin.as_str()));
        match env(command).under(leader) {
            Ok(env) => Ok(shaping(&env)),
            Err(differs) => Err(differs.to_string()),
        }
    }

    #[test]
    fn a_variable_that_is_not_set_takes_the_leaders_value() {
        let leader = [
            ("CVSYNC_DOCUMENT_EXCLUDE", "/b,/a"),
            ("CVSYNC_API_PAGING", "page-from-1"),
        ];
        for command in [&[][..], &[("CVSYNC_DOCUMENT_EXCLUDE", " ")]] {
            let values = under(command, &leader).unwrap();
            let value = |name| {
                let found = values.iter().find(|value| value.name == name).unwrap();
                found.value.as_deref()
            };
            assert_eq!(value("CVSYNC_DOCUMENT_EXCLUDE"), Some("/a,/b"));
            assert_eq!(value("CVSYNC_API_PAGING"), Some("page-from-1"));
            assert_eq!(value("CVSYNC_API_NAMES"), None);
            assert_eq!(value("CVSYNC_API_LIVE_STATUSES"), Some("OPEN"));
        }
    }

    #[test]
    fn equal_meaning_is_no_difference() {
        for (name, ours, theirs) in [
            ("CVSYNC_DOCUMENT_EXCLUDE", "/b, /a,/a", "/a,/b"),
            (
                "CVSYNC_API_GONE_STATUSES",
                "gesloten,Verwijderd",
                "VERWIJDERD,GESLOTEN",
            ),
            ("CVSYNC_API_NAMES", "van = from,cvId=id", "cvId=id,van=from"),
            (
                "CVSYNC_SYNC_FROM",
                "2020-01-01",
                "2020-01-01T01:00:00+01:00",
            ),
            ("CVSYNC_API_PAGING", "offset-from-0", ""),
            (
                "CVSYNC_API_BASE_URL",
                "https://API.example:443/v1/",
                "https://api.example/v1",
            ),
        ] {
            assert!(under(&[(name, ours)], &[(name, theirs)]).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_address_of_the_source_is_never_taken_from_the_leader() {
        let other = [(SOURCE, "http://127.0.0.1:8090/v1")];
        let said = under(&[], &other).unwrap_err();
        assert!(said.contains("(default of this command)"), "{said}");
        assert!(under(&other, &other).is_ok());
        assert!(under(&[], &[]).is_ok());
    }

    #[test]
    fn a_value_of_its_own_that_differs_is_refused_also_where_it_is_the_default() {
        for (name, ours, theirs) in [
            ("CVSYNC_API_LIVE_STATUSES", "OPEN", "ACTIEF"),
            ("CVSYNC_DOCUMENT_EXCLUDE", "/a", ""),
            ("CVSYNC_SYNC_FROM", "2015-01-01T00:00:00Z", "2020-01-01"),
        ] {
            let said = under(&[(name, ours)], &[(name, theirs)]).unwrap_err();
            assert!(said.contains(&format!("{name} is \"")), "{said}");
            assert!(said.contains("(environment of this command)"), "{said}");
            let origin = if theirs.is_empty() {
                "unset"
            } else {
                "environment"
            };
            let told = format!("in the daemon ({origin})");
            assert!(said.contains(&told), "{said}");
        }
    }

    #[test]
    fn a_setting_that_only_paces_follows_the_leader_and_is_never_refused() {
        let leader = [
            ("CVSYNC_SETTLE_LAG", "5m"),
            ("CVSYNC_MAX_DELETE_SHARE", "0.01"),
        ];
        let values = under(&[("CVSYNC_SETTLE_LAG", "1s")], &leader).unwrap();
        let value = |name| {
            let found = values.iter().find(|value| value.name == name).unwrap();
            found.value.as_deref()
        };
        assert_eq!(value("CVSYNC_SETTLE_LAG"), Some("1s"));
        assert_eq!(value("CVSYNC_MAX_DELETE_SHARE"), Some("0.01"));
    }

    #[test]
    fn whoever_judges_the_leader_does_so_by_the_leaders_settings() {
        let own = env(&[
            ("CVSYNC_SCHEDULE", "* * * * * *"),
            ("CVSYNC_SYNC_FROM", "2020-01-01"),
        ]);
        let leader = [
            ("CVSYNC_SCHEDULE", Some("0 0 3 * * *")),
            ("CVSYNC_SYNC_FROM", Some("2019-01-01")),
            ("CVSYNC_OF_A_LATER_VERSION", Some("x")),
        ];
        let judging = own.judging(leader);
        assert!(judging.unknown().is_empty());
        let reader = Reader::new(&judging);
        let value = |name| reader.value(name).unwrap();
        assert_eq!(value("CVSYNC_SCHEDULE"), "0 0 3 * * *");
        assert_eq!(value("CVSYNC_SYNC_FROM"), "2020-01-01");
    }

    #[test]
    fn all_that_differs_is_said_at_once_and_unknown_names_are_left_out() {
        let command = env(&[
            ("CVSYNC_DOCUMENT_EXCLUDE", "/a"),
            ("CVSYNC_API_PAGING", "page-from-0"),
        ]);
        let leader = [
            ("CVSYNC_DOCUMENT_EXCLUDE", Some("/b"), "environment"),
            ("CVSYNC_API_PAGING", Some("offset-from-0"), "default"),
            ("CVSYNC_OF_A_LATER_VERSION", Some("x"), "default"),
        ];
        let said = command.under(leader).unwrap_err().to_string();
        assert_eq!(said.lines().count(), 3, "{said}");
        let plain = env(&[]).under(leader).unwrap();
        assert!(plain.unknown().is_empty());
    }
}
