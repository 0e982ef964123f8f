//! Judges each assumption by the observations; pure.

mod bulk;
mod documents;
mod search;
mod wire;

use super::Setting;
use super::seen::{Sample, Seen};
use crate::config::Source;
use crate::model::{Names, StatusWords};

/// The judgement of one assumption.
pub(super) enum Judgement {
    Holds(String),
    Tolerated(String),
    /// The variables to set, each with whether it is set already. If there are none, no variable can help.
    Differs(String, Vec<(Setting, bool)>),
    CannotTell(String),
}

use Judgement::{CannotTell, Differs, Holds};

/// The observations and the configuration.
pub(super) struct Eye<'a> {
    pub(super) seen: &'a Seen,
    pub(super) source: &'a Source,
}

fn setting(variable: &'static str, value: impl Into<Option<String>>) -> Setting {
    Setting {
        variable,
        value: value.into(),
    }
}

fn differs(seen: impl Into<String>, setting: Setting, is_set: bool) -> Judgement {
    Differs(seen.into(), vec![(setting, is_set)])
}

fn no_cvs() -> Judgement {
    CannotTell("the listed windows contain too few CVs".to_owned())
}

impl Eye<'_> {
    /// Compares the names that were found with the contract's and with the configured ones.
    fn names(&self, ours: &[&'static str]) -> Judgement {
        let (found, configured) = (&self.seen.dialect.names, &self.source.api.dialect.names);
        let same =
            |one: &Names, other: &Names| ours.iter().all(|name| one.of(name) == other.of(name));
        let seen: Vec<_> = ours.iter().map(|name| found.of(name)).collect();
        let seen = format!("uses {}", seen.join(", "));
        let is_set = same(found, configured);
        if is_set && same(found, &Names::default()) {
            return Holds(seen);
        }
        differs(seen, setting("CVSYNC_API_NAMES", found.to_string()), is_set)
    }

    fn sample(&self) -> Option<&Sample> {
        self.seen.sample.as_ref().filter(|sample| sample.items > 0)
    }

    fn words(&self) -> &StatusWords {
        &self.source.api.statuses
    }
}

/// Assumptions that are not tested, and why.
#[expect(clippy::unused_self, reason = "judged like the others")]
impl Eye<'_> {
    pub(super) fn key_refusal(&self) -> Judgement {
        CannotTell(
            "cvsync never sends a wrong key on purpose; 401 and 403 both count as a refusal"
                .to_owned(),
        )
    }

    pub(super) fn over_quota(&self) -> Judgement {
        CannotTell(
            "cvsync never uses up the quota on purpose; it waits with or without Retry-After"
                .to_owned(),
        )
    }

    pub(super) fn window_ends(&self) -> Judgement {
        CannotTell("it needs a change exactly at the end of a window".to_owned())
    }

    pub(super) fn late(&self) -> Judgement {
        CannotTell("the daemon counts late arrivals while it runs".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::{Kind, Leading, ListedDetail, Quota, Trouble};
    use super::super::{ASSUMPTIONS, Report};
    use super::*;
    use crate::config::Env;
    use crate::conformance::{Finding, Verdict};
    use crate::vdab::Operation;

    fn source(env: &[(&str, &str)]) -> Source {
        let key = [("CVSYNC_API_KEY", "k")];
        Source::load(&Env::new(key.iter().chain(env).copied())).unwrap()
    }

    fn report(seen: &Seen, source: &Source) -> Report {
        let eye = Eye { seen, source };
        let findings = ASSUMPTIONS
            .iter()
            .map(|assumption| crate::conformance::judge(&eye, assumption));
        Report::new(findings.collect(), seen.calls)
    }

    fn finding<'a>(report: &'a Report, name: &str) -> &'a Finding {
        report
            .findings
            .iter()
            .find(|finding| finding.assumption == name)
            .unwrap()
    }

    fn settings(report: &Report) -> Vec<(&str, Option<&str>)> {
        let set = report.set.iter();
        set.map(|setting| (setting.variable, setting.value.as_deref()))
            .collect()
    }

    fn told(listed: &str, kind: Kind) -> ListedDetail {
        ListedDetail {
            listed: Some(listed.to_owned()),
            status: 200,
            kind,
        }
    }

    fn document(word: &str) -> Kind {
        Kind::Document {
            word: Some(word.to_owned()),
            names: Leading::default(),
        }
    }

    fn listed(words: &[&str]) -> Seen {
        let words = words.iter().map(|word| (Some((*word).to_owned()), 1));
        Seen {
            sample: Some(Sample {
                items: 9,
                words: words.collect(),
                ..Sample::default()
            }),
            ..Seen::default()
        }
    }

    #[test]
    fn nothing_seen_tells_nothing_and_is_not_good() {
        let report = report(&Seen::default(), &source(&[]));
        assert!(!report.is_good());
        assert_eq!(finding(&report, "list-fields").verdict, Verdict::CannotTell);
        assert_eq!(finding(&report, "page-size").verdict, Verdict::CannotTell);
    }

    #[test]
    fn trouble_is_told_once_and_nothing_else_is() {
        let seen = Seen {
            trouble: Some(Trouble {
                what: "status 404".to_owned(),
                variables: vec!["CVSYNC_API_BASE_URL"],
                key: false,
            }),
            ..Seen::default()
        };
        let report = report(&seen, &source(&[]));
        assert_eq!(settings(&report), [("CVSYNC_API_BASE_URL", None)]);
        let others = report
            .findings
            .iter()
            .filter(|finding| finding.assumption != "answers");
        assert!(
            others
                .clone()
                .all(|finding| finding.verdict == Verdict::CannotTell)
        );
        assert!(others.count() > 30);
    }

    #[test]
    fn a_word_is_what_the_details_of_its_cvs_say_and_only_if_they_agree() {
        let source = source(&[]);
        let mut seen = listed(&["OPEN", "INACTIEF", "WACHT", "VERWIJDERD"]);
        seen.details = vec![
            told("OPEN", document("OPEN")),
            told("INACTIEF", Kind::Bare { word: None }),
            told("INACTIEF", Kind::Gone),
            told("WACHT", Kind::Gone),
            told("WACHT", document("WACHT")),
            told("VERWIJDERD", Kind::Gone),
        ];
        // Almost empty, but with a live status: that does not prove that the CV is gone.
        let word = Some("OPEN".to_owned());
        seen.sample = listed(&["OPEN", "INACTIEF", "WACHT", "SLAPEND", "VERWIJDERD"]).sample;
        seen.details.insert(0, told("SLAPEND", Kind::Bare { word }));
        let told_of = report(&seen, &source);
        let gone = Some("VERWIJDERD,GESLOTEN,AFGESLOTEN,INACTIEF");
        assert_eq!(settings(&told_of), [("CVSYNC_API_GONE_STATUSES", gone)]);
        assert_eq!(finding(&told_of, "live-words").verdict, Verdict::Holds);
        // A status for gone whose CVs are all live would delete them.
        seen.details.pop();
        seen.details
            .push(told("VERWIJDERD", document("VERWIJDERD")));
        assert_eq!(settings(&report(&seen, &source)), settings(&told_of));
        seen.details.pop();
        seen.details.push(told("VERWIJDERD", document("OPEN")));
        let gone = Some("GESLOTEN,AFGESLOTEN,INACTIEF");
        assert_eq!(
            settings(&report(&seen, &source)),
            [("CVSYNC_API_GONE_STATUSES", gone)]
        );
    }

    #[test]
    fn another_word_for_live_is_set_but_one_beside_the_known_one_is_asked_about() {
        let mut seen = listed(&["ACTIEF"]);
        seen.details = vec![told("ACTIEF", document("ACTIEF"))];
        let live = "CVSYNC_API_LIVE_STATUSES";
        let expected = [(live, Some("OPEN,ACTIEF"))];
        assert_eq!(settings(&report(&seen, &source(&[]))), expected);
        seen = listed(&["OPEN", "SLAPEND"]);
        seen.details = vec![
            told("OPEN", document("OPEN")),
            told("SLAPEND", document("SLAPEND")),
        ];
        let expected = [(live, None), ("CVSYNC_API_GONE_STATUSES", None)];
        assert_eq!(settings(&report(&seen, &source(&[]))), expected);
    }

    #[test]
    fn what_is_set_already_is_configured_and_what_is_set_wrongly_differs() {
        let mut seen = listed(&[]);
        seen.dialect.names.set("cvId", "id");
        let of = |value: &str| {
            let source = source(&[("CVSYNC_API_NAMES", value)]);
            let report = report(&seen, &source);
            (finding(&report, "list-fields").verdict, report.is_good())
        };
        assert_eq!(of("cvId=id"), (Verdict::Configured, true));
        assert_eq!(of(""), (Verdict::Differs, false));
        assert_eq!(of("cvId=uuid"), (Verdict::Differs, false));
    }

    #[test]
    fn a_quota_is_shared_where_one_endpoint_goes_on_from_what_another_left() {
        let shared = |left_before, first_remaining| {
            let quota = Quota {
                calls: 1,
                limit: Some(2_000),
                first_remaining: Some(first_remaining),
                left_before: Some(left_before),
            };
            let seen = Seen {
                quota: [(Operation::Detail, quota)].into(),
                ..Seen::default()
            };
            finding(&report(&seen, &source(&[])), "quota-apart").verdict
        };
        assert_eq!(shared(1_970, 1_999), Verdict::Holds);
        assert_eq!(shared(1_970, 1_969), Verdict::Differs);
        assert_eq!(
            shared(1_970, 500),
            Verdict::Holds,
            "the daemon fetches meanwhile"
        );
        assert_eq!(shared(1_970, 1_950), Verdict::CannotTell);
    }
}
