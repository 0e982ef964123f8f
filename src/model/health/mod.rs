//! The verdict on cvsync: whether the copy is in step, and if not, why, since when, what happens next and what to do. Pure.
//!
//! The page, `/api/status`, `/readyz` and `cvsync status` show the same verdict. Without the admin token, `public` facts lead to it.

mod facts;
pub mod limits;
mod odd;
mod public;
#[cfg(test)]
mod tests;
mod work;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

pub(crate) use self::facts::{
    Consumer, Facts, Gate, Limits, Memory, Pause, Role, Stored, Trouble, UnderWay,
};

use super::words::{moment, span};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Light {
    /// The copy is in step.
    Green,
    /// cvsync works, and you should know something, or decide.
    Amber,
    /// The copy is late or will be: you must act.
    Red,
}

impl Light {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }
}

/// One fact that you should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable identifier of the kind of finding.
    pub reason: &'static str,
    pub light: Light,
    /// Whether it keeps this instance from working.
    pub unready: bool,
    /// One sentence; part of one if it follows "In step with VDAB as of …, but".
    pub headline: String,
    pub since: Option<DateTime<Utc>>,
    /// The next step of cvsync itself.
    pub next: Option<String>,
    /// The step that you should take.
    pub action: Option<String>,
}

impl Finding {
    fn new(light: Light, reason: &'static str, headline: impl Into<String>) -> Self {
        Self {
            reason,
            light,
            unready: false,
            headline: headline.into(),
            since: None,
            next: None,
            action: None,
        }
    }

    fn since(self, since: impl Into<Option<DateTime<Utc>>>) -> Self {
        let since = since.into();
        Self { since, ..self }
    }

    fn next(self, next: impl Into<String>) -> Self {
        let next = Some(next.into());
        Self { next, ..self }
    }

    fn action(self, action: impl Into<String>) -> Self {
        let action = Some(action.into());
        Self { action, ..self }
    }

    fn unready(self, unready: bool) -> Self {
        Self { unready, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.headline.trim_end_matches('.'))?;
        if let Some(since) = self.since {
            write!(f, ". Since {}", moment(since))?;
        }
        for sentence in self.next.iter().chain(&self.action) {
            write!(f, ". {}", sentence.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The worst light of all findings.
    pub light: Light,
    /// Whether this instance can work.
    pub ready: bool,
    /// Whether the copy is as fresh as its schedule promises, and stays so.
    pub in_step: bool,
    /// The cause of the trouble, or that the copy is in step.
    pub first: Finding,
    pub others: Vec<Finding>,
}

impl Health {
    #[must_use]
    pub fn judge(facts: &Facts) -> Self {
        let mut obstacles = Vec::new();
        work::judge(facts, &mut obstacles);
        let mut oddities = Vec::new();
        odd::judge(facts, &mut oddities);
        let lag = facts.lag().filter(|lag| *lag <= facts.limits.lag);
        let all = || obstacles.iter().chain(&oddities);
        let light = all().map(|finding| finding.light).max();
        let light = light.unwrap_or(Light::Green);
        let ready = !all().any(|finding| finding.unready);
        let in_step = lag.is_some() && light < Light::Red && facts.pause.is_none();
        let mut others = obstacles;
        let first = match lag.filter(|_| others.is_empty()) {
            Some(lag) => facts.in_step(lag, &mut oddities),
            None if others.is_empty() => {
                Finding::new(Light::Amber, "starting", "Starting: reading the database.")
            }
            None => others.remove(0),
        };
        others.append(&mut oddities);
        Self {
            light: light.max(first.light),
            ready,
            in_step,
            first,
            others,
        }
    }

    /// One line per finding; empty if the copy is in step without any.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let first = Some(&self.first).filter(|first| first.reason != IN_STEP);
        let all = first.into_iter().chain(&self.others);
        all.map(Finding::to_string).collect()
    }
}

const IN_STEP: &str = "in_step";

impl Facts {
    /// The source's time now, minus the watermark.
    fn lag(&self) -> Option<TimeDelta> {
        Some(self.now - self.stored.as_ref()?.coverage.watermark?)
    }

    /// The finding if nothing obstructs syncs; takes the most important of `oddities` into its headline.
    fn in_step(&self, lag: TimeDelta, oddities: &mut Vec<Finding>) -> Finding {
        let upto = format!("In step with VDAB as of {} ago", span(lag));
        let worth_telling = |finding: &Finding| finding.light > Light::Green;
        if let Some(at) = oddities.iter().position(worth_telling) {
            let odd = oddities.remove(at);
            let headline = format!("{upto}, but {}", odd.headline);
            return Finding { headline, ..odd };
        }
        let next = self.leader.next_run_at.filter(|at| *at > self.now);
        let next = next.map(|at| format!("Sync in {}", span(at - self.now)));
        let standby = oddities
            .iter()
            .position(|finding| finding.reason == STANDBY);
        let (reason, headline) = match standby.map(|at| oddities.remove(at)) {
            Some(standby) => (STANDBY, format!("{upto}; {}.", standby.headline)),
            None => (IN_STEP, format!("{upto}.")),
        };
        Finding {
            next,
            ..Finding::new(Light::Green, reason, headline)
        }
    }
}

const STANDBY: &str = "standby";
