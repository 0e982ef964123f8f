//! The settings that the leading daemon records, so that commands act and judge as it does.

use std::fmt;

use serde::Serialize;

use super::reader::{Origin, Reader};
use super::{Env, rules, sync, urls};

/// A command never takes this URL from the database, because it sends the API key there.
const SOURCE: &str = "CVSYNC_API_BASE_URL";

/// Writers with different values of one of these store different data.
const SHAPING: [&str; 11] = [
    SOURCE,
    "CVSYNC_API_LIVE_STATUSES",
    "CVSYNC_API_GONE_STATUSES",
    "CVSYNC_API_NAMES",
    "CVSYNC_API_TIME_FORMAT",
    "CVSYNC_API_PAGING",
    "CVSYNC_SYNC_FROM",
    "CVSYNC_DOCUMENT_EXCLUDE",
    "CVSYNC_KEEP",
    "CVSYNC_REFERENCE_LISTS",
    "CVSYNC_REFERENCE_LABEL_FIELD",
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
    /// Whether writers with different values store different data.
    pub shapes: bool,
}

/// A setting that a leader has recorded, maybe one of another version of cvsync.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    pub name: &'a str,
    pub value: Option<&'a str>,
    /// As [`Origin`] is shown.
    pub origin: &'a str,
    pub shapes: bool,
}

/// A variable in which this process and the leader differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub name: String,
    /// With its origin; `None` if this version does not know the variable.
    ours: Option<(Option<String>, Origin)>,
    theirs: Option<String>,
    origin: String,
}

/// The variables in which a command and the leader differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Differs(pub Vec<Difference>);

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the settings of this command differ from the daemon's, so it would store other data; nothing was changed:",
        )?;
        self.0.iter().try_for_each(|it| {
            let remedy = if it.ours.is_none() {
                "run a command of the daemon's version"
            } else if it.name == SOURCE {
                "set it for this command too, if the API key may be sent to the daemon's address"
            } else {
                "unset it here to use the daemon's value, or restart the daemon with yours"
            };
            write!(f, "\n  {it}; {remedy}")
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted =
            |value: Option<&str>| value.map_or("no value".to_owned(), |value| format!("{value:?}"));
        write!(f, "{} ", self.name)?;
        match &self.ours {
            None => f.write_str("is unknown to this version of cvsync")?,
            Some((value, origin)) => {
                let origin = match origin {
                    Origin::Environment => "environment",
                    _ => "default",
                };
                let value = quoted(value.as_deref());
                write!(f, "is {value} here ({origin})")?;
            }
        }
        let (theirs, origin) = (quoted(self.theirs.as_deref()), &self.origin);
        write!(f, " and {theirs} in the daemon ({origin})")
    }
}

/// The variables in which `own` settings, of those that `counts` names, and the recorded ones would store different data.
fn differences<'a>(
    own: &[Shaping],
    leader: impl IntoIterator<Item = Recorded<'a>>,
    counts: impl Fn(&Shaping) -> bool,
) -> Vec<Difference> {
    let different = leader.into_iter().filter_map(|theirs| {
        let ours = own.iter().find(|own| own.name == theirs.name);
        let differs = match ours {
            Some(own) => own.shapes && counts(own) && own.value.as_deref() != theirs.value,
            // A variable of a newer version matters if somebody has set it.
            None => theirs.shapes && theirs.origin == Origin::Environment.to_string(),
        };
        differs.then(|| Difference {
            name: theirs.name.to_owned(),
            ours: ours.map(|own| (own.value.clone(), own.origin.clone())),
            theirs: theirs.value.map(ToOwned::to_owned),
            origin: theirs.origin.to_owned(),
        })
    });
    different.collect()
}

/// The variables in which an instance with these settings would store other data than the leader that recorded `leader`.
#[must_use]
pub(crate) fn conflicts<'a>(
    own: &[Shaping],
    leader: impl IntoIterator<Item = Recorded<'a>>,
) -> Vec<Difference> {
    differences(own, leader, |_| true)
}

/// The settings of this environment.
#[must_use]
pub(crate) fn shaping(env: &Env) -> Vec<Shaping> {
    let reader = Reader::new(env);
    let values = SHAPING.iter().chain(&FOLLOWED).map(|name| Shaping {
        name,
        value: reader.value(name).map(|value| canonical(name, &value)),
        origin: reader.origin(super::variables::variable(name)),
        shapes: SHAPING.contains(name),
    });
    values.collect()
}

impl Env {
    /// This environment, with the leader's settings where it has no value of its own, except for the URL of the source.
    ///
    /// # Errors
    /// `Differs` if both have a value and the values differ, if the sources differ, or if the leader has a setting that this
    /// version does not know.
    pub fn under<'a>(
        &self,
        leader: impl IntoIterator<Item = Recorded<'a>>,
    ) -> Result<Self, Differs> {
        let own = shaping(self);
        let leader: Vec<_> = leader.into_iter().collect();
        let is_fixed = |own: &Shaping| own.origin == Origin::Environment || own.name == SOURCE;
        let differ = differences(&own, leader.iter().copied(), is_fixed);
        if !differ.is_empty() {
            return Err(Differs(differ));
        }
        let free = own.iter().filter(|own| !is_fixed(own));
        let given = free.filter_map(|own| {
            let theirs = leader.iter().find(|theirs| theirs.name == own.name)?;
            Some((own.name, theirs.value?))
        });
        Ok(self.with(given))
    }

    /// Refuses values of this environment that differ from the leader's, for commands that only read the database: there they
    /// would have no effect.
    ///
    /// # Errors
    /// `Differs` if both have a value and the values differ.
    pub fn contradicts<'a>(
        &self,
        leader: impl IntoIterator<Item = Recorded<'a>>,
    ) -> Result<(), Differs> {
        let differ = differences(&shaping(self), leader, |own| {
            own.origin == Origin::Environment
        });
        if differ.is_empty() {
            Ok(())
        } else {
            Err(Differs(differ))
        }
    }
}

impl Env {
    /// This environment, with all values of the leader instead of its own, for commands that describe the leader.
    #[must_use]
    pub fn of_leader<'a>(&self, leader: impl IntoIterator<Item = Recorded<'a>>) -> Self {
        let own = shaping(self);
        let known = leader.into_iter().filter_map(|theirs| {
            let own = own.iter().find(|own| own.name == theirs.name)?;
            // Empty counts as unset.
            Some((own.name, theirs.value.unwrap_or_default()))
        });
        self.with(known)
    }

    /// This environment, with the leader's values instead of its own, for commands that judge the leader.
    #[must_use]
    pub fn judging<'a>(&self, leader: impl IntoIterator<Item = Recorded<'a>>) -> Self {
        let followed = leader.into_iter().filter(|it| FOLLOWED.contains(&it.name));
        self.with(followed.filter_map(|it| Some((it.name, it.value?))))
    }
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
        "CVSYNC_DOCUMENT_EXCLUDE" | "CVSYNC_KEEP" | "CVSYNC_REFERENCE_LISTS" => list(str::to_owned),
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

    fn recorded(it: &Shaping) -> Recorded<'_> {
        Recorded {
            name: it.name,
            value: it.value.as_deref(),
            origin: match it.origin {
                Origin::Environment => "environment",
                Origin::Unset => "unset",
                _ => "default",
            },
            shapes: it.shapes,
        }
    }

    fn of_newer_version(origin: &'static str) -> Recorded<'static> {
        Recorded {
            name: "CVSYNC_OF_A_LATER_VERSION",
            value: Some("x"),
            origin,
            shapes: true,
        }
    }

    fn under(command: &[(&str, &str)], leader: &[(&str, &str)]) -> Result<Vec<Shaping>, String> {
        let leader = shaping(&env(leader));
        match env(command).under(leader.iter().map(recorded)) {
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
        assert!(said.contains("(default)"), "{said}");
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
            assert!(said.contains("here (environment)"), "{said}");
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
        let leader = shaping(&env(&[
            ("CVSYNC_SCHEDULE", "0 0 3 * * *"),
            ("CVSYNC_SYNC_FROM", "2019-01-01"),
        ]));
        let newer = of_newer_version("environment");
        let judging = own.judging(leader.iter().map(recorded).chain([newer]));
        assert!(judging.unknown().is_empty());
        let reader = Reader::new(&judging);
        let value = |name| reader.value(name).unwrap();
        assert_eq!(value("CVSYNC_SCHEDULE"), "0 0 3 * * *");
        assert_eq!(value("CVSYNC_SYNC_FROM"), "2020-01-01");
    }

    #[test]
    fn command_that_describes_the_leader_has_all_its_values() {
        let own = env(&[
            ("CVSYNC_DOCUMENT_EXCLUDE", "/a"),
            ("CVSYNC_SYNC_FROM", "2020-01-01"),
            ("CVSYNC_WORKERS", "3"),
        ]);
        let leader = shaping(&env(&[("CVSYNC_SYNC_FROM", "2019-01-01")]));
        let newer = of_newer_version("environment");
        let described = own.of_leader(leader.iter().map(recorded).chain([newer]));
        assert!(described.unknown().is_empty());
        let reader = Reader::new(&described);
        assert_eq!(reader.value("CVSYNC_DOCUMENT_EXCLUDE"), None);
        assert_eq!(
            reader.value("CVSYNC_SYNC_FROM").as_deref(),
            Some("2019-01-01T00:00:00+00:00")
        );
        assert_eq!(reader.value("CVSYNC_WORKERS").as_deref(), Some("3"));
    }

    #[test]
    fn all_that_differs_is_said_at_once() {
        let command = [
            ("CVSYNC_DOCUMENT_EXCLUDE", "/a"),
            ("CVSYNC_API_PAGING", "page-from-0"),
        ];
        let said = under(&command, &[("CVSYNC_DOCUMENT_EXCLUDE", "/b")]).unwrap_err();
        assert_eq!(said.lines().count(), 3, "{said}");
    }

    #[test]
    fn setting_of_a_newer_version_is_refused_if_somebody_has_set_it() {
        let own = env(&[]);
        let plain = own.under([of_newer_version("default")]).unwrap();
        assert!(plain.unknown().is_empty());
        let said = own.under([of_newer_version("environment")]);
        let said = said.unwrap_err().to_string();
        assert!(
            said.contains("CVSYNC_OF_A_LATER_VERSION is unknown to this version of cvsync"),
            "{said}"
        );
        let paces = Recorded {
            shapes: false,
            ..of_newer_version("environment")
        };
        assert!(own.under([paces]).is_ok());
    }

    #[test]
    fn command_that_only_reads_refuses_only_its_own_values() {
        let leader = shaping(&env(&[
            (SOURCE, "http://127.0.0.1:8090/v1"),
            ("CVSYNC_DOCUMENT_EXCLUDE", "/a"),
        ]));
        let with = |own: &[(&str, &str)]| env(own).contradicts(leader.iter().map(recorded));
        assert!(with(&[]).is_ok());
        assert!(with(&[("CVSYNC_DOCUMENT_EXCLUDE", " /a")]).is_ok());
        assert!(with(&[("CVSYNC_SETTLE_LAG", "1s")]).is_ok());
        assert!(with(&[("CVSYNC_DOCUMENT_EXCLUDE", "/b")]).is_err());
    }

    #[test]
    fn instances_conflict_in_defaults_too_and_only_about_data() {
        let leader = shaping(&env(&[
            ("CVSYNC_API_LIVE_STATUSES", "ACTIEF"),
            ("CVSYNC_SETTLE_LAG", "1s"),
        ]));
        let own = shaping(&env(&[("CVSYNC_WORKERS", "3")]));
        let found = conflicts(&own, leader.iter().map(recorded));
        let names: Vec<_> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["CVSYNC_API_LIVE_STATUSES"]);
        assert!(conflicts(&own, own.iter().map(recorded)).is_empty());
    }
}
