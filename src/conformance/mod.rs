//! Which assumptions of the contract hold at the real source, told by a handful of harmless calls.
//!
//! `look` makes the calls and `seen` is what they showed; `judge` is pure and tells what it means, and which variable to
//! set to what. VDAB has no test environment, so this is a partner's first command.

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

/// How long a source that asks for a pause is waited for.
const PATIENCE: Duration = Duration::from_secs(75);

/// What became of an assumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The source does as the contract has it.
    Holds,
    /// It does not, and there is nothing to do about it.
    Tolerated,
    /// It does not, and the configuration says so.
    Configured,
    /// It does not, and a variable has to be set, or nothing helps.
    Differs,
    /// A handful of calls does not show it.
    CannotTell,
}

/// A variable, and what to set it to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name.
    pub variable: &'static str,
    /// Its value; `None` where only VDAB knows it, empty where it has to go.
    pub value: Option<String>,
}

/// One assumption, and what was seen of it. No personal data.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its name.
    pub assumption: &'static str,
    /// How sure the contract is of it.
    pub origin: &'static str,
    /// What the contract says.
    pub claim: &'static str,
    /// What became of it.
    pub verdict: Verdict,
    /// What was seen, or why nothing was.
    pub seen: String,
    pub set: Vec<Setting>,
}

/// All of them.
#[derive(Debug, Serialize)]
pub struct Report {
    /// In the order of the contract.
    pub findings: Vec<Finding>,
    /// Everything that is to be set; a variable twice only where findings contradict each other.
    pub set: Vec<Setting>,
    /// How many calls it took.
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

    /// Whether nothing is left to be done, and CVs were listed: without them too little is told.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is = |finding: &Finding, verdict| finding.verdict == verdict;
        self.findings.iter().all(|finding| {
            !is(finding, Verdict::Differs)
                && (finding.assumption != "list-fields" || !is(finding, Verdict::CannotTell))
        })
    }
}

/// Looks at the source, and tells.
///
/// # Errors
/// Only if no client can be built: a source that does not answer is a finding.
pub async fn run(source: &Source, clock: Clock) -> anyhow::Result<Report> {
    let api = Api {
        dialect: Dialect::default(),
        ..source.api.clone()
    };
    let client = Client::new(&api, Vec::new(), Some(PATIENCE), clock, Metrics::new()?)
        .context("no client can be built")?;
    let seen = Looker::new(Probe::new(client), source).look().await;
    let eye = Eye {
        seen: &seen,
        source,
    };
    let findings = ASSUMPTIONS.iter().map(|assumption| judge(&eye, assumption));
    Ok(Report::new(findings.collect(), seen.calls))
}

/// The finding about one assumption.
fn judge(eye: &Eye<'_>, assumption: &Assumption) -> Finding {
    let is_about_trouble = matches!(assumption.name, "answers" | "key-alone");
    let judgement = if eye.seen.trouble.is_some() && !is_about_trouble {
        Judgement::CannotTell("not asked, since the API does not answer as it should".to_owned())
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
