//! Tests which assumptions of the contract hold at the real source, with a few dozen harmless calls.
//!
//! `look` makes the calls and `seen` holds their results. `judge` is pure: it decides what they mean, and which variable to set to
//! which value. VDAB has no test environment, so this is a partner's first command.

mod assumptions;
mod judge;
mod look;
mod seen;

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

pub use self::assumptions::ASSUMPTIONS;
pub(crate) use self::assumptions::Assumption;

use self::judge::{Eye, Judgement};
use self::look::Looker;
use crate::clock::Clock;
use crate::config::{Api, Source};
use crate::model::Dialect;
use crate::telemetry::Metrics;
use crate::vdab::Client;
use crate::vdab::probe::Probe;

/// Maximum wait for a source that asks for a pause.
const PATIENCE: Duration = Duration::from_secs(75);

/// The result for one assumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The source follows the contract.
    Holds,
    /// It differs, and you need to do nothing.
    Tolerated,
    /// It differs, and the configuration is right for that.
    Configured,
    /// It differs, and a variable must be set, or no variable can help.
    Differs,
    /// A few calls cannot show it.
    CannotTell,
}

/// A variable and the value to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub variable: &'static str,
    /// `None` if only VDAB knows the value; empty if the variable must be unset.
    pub value: Option<String>,
}

/// One assumption and its result, without personal data.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub assumption: &'static str,
    /// The certainty of the fact: S, V, G or A, as in docs/contract.md.
    pub origin: &'static str,
    /// The fact, as the contract has it.
    pub claim: &'static str,
    pub verdict: Verdict,
    /// The observation, or the reason why nothing was observed.
    pub seen: String,
    pub set: Vec<Setting>,
}

/// The results of all assumptions.
#[derive(Debug, Serialize)]
pub struct Report {
    /// In the order of the contract.
    pub findings: Vec<Finding>,
    /// All variables to set. A variable is here twice only if findings contradict each other.
    pub set: Vec<Setting>,
    pub calls: u64,
}

impl Report {
    fn new(findings: Vec<Finding>, calls: u64) -> Self {
        let mut set: Vec<Setting> = Vec::new();
        for setting in findings.iter().flat_map(|finding| &finding.set) {
            let known = set.iter_mut().find(|one| {
                one.variable == setting.variable
                    && (one.value.is_none()
                        || setting.value.is_none()
                        || one.value == setting.value)
            });
            match known {
                Some(one) => one.value = one.value.take().or_else(|| setting.value.clone()),
                None => set.push(setting.clone()),
            }
        }
        Self {
            findings,
            set,
            calls,
        }
    }

    /// Whether nothing needs to be set and CVs were listed. Without CVs, too little can be tested.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is = |finding: &Finding, verdict| finding.verdict == verdict;
        self.findings.iter().all(|finding| {
            !is(finding, Verdict::Differs)
                && (finding.assumption != "list-fields" || !is(finding, Verdict::CannotTell))
        })
    }
}

/// `in_full` shows VDAB's words about an error, and not only the sentences of the contract. It is for the terminal of a person.
///
/// # Errors
/// Only if no HTTP client can be built: a source that does not respond is a finding.
pub async fn run(source: &Source, clock: Clock, in_full: bool) -> anyhow::Result<Report> {
    let api = Api {
        dialect: Dialect::default(),
        ..source.api.clone()
    };
    let client = Client::new(&api, Vec::new(), Some(PATIENCE), clock, Metrics::new()?)
        .context("cannot build an HTTP client")?;
    let seen = Looker::new(Probe::new(client), source, in_full)
        .look()
        .await;
    let eye = Eye {
        seen: &seen,
        source,
    };
    let findings = ASSUMPTIONS.iter().map(|assumption| judge(&eye, assumption));
    Ok(Report::new(findings.collect(), seen.calls))
}

fn judge(eye: &Eye<'_>, assumption: &Assumption) -> Finding {
    let is_about_trouble = matches!(assumption.name, "answers" | "key-alone");
    let judgement = if eye.seen.trouble.is_some() && !is_about_trouble {
        Judgement::CannotTell("not tested, because the API gives no usable responses".to_owned())
    } else {
        (assumption.judge)(eye)
    };
    let (verdict, seen, set) = match judgement {
        Judgement::Holds(seen) => (Verdict::Holds, seen, Vec::new()),
        Judgement::Tolerated(seen) => (Verdict::Tolerated, seen, Vec::new()),
        Judgement::CannotTell(why) => (Verdict::CannotTell, why, Vec::new()),
        Judgement::Differs(seen, set)
            if !set.is_empty() && set.iter().all(|(_, is_set)| *is_set) =>
        {
            (Verdict::Configured, seen, Vec::new())
        }
        Judgement::Differs(seen, set) => {
            let set = set.into_iter().filter(|(_, is_set)| !is_set);
            let set = set.map(|(setting, _)| setting).collect();
            (Verdict::Differs, seen, set)
        }
    };
    Finding {
        assumption: assumption.name,
        origin: assumption.origin,
        claim: assumption.claim,
        verdict,
        seen,
        set,
    }
}
