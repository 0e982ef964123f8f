//! The state of things in one sentence: is it in step, and if not, why; pure.

use chrono::TimeDelta;

use super::words::{Now, count, number, span};
use crate::admin::{Phase, Status};
use crate::sync::Snapshot;
use crate::vdab::Reason;

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// On its way there.
    Busy,
    /// It goes on by itself, or waits for a person who need not hurry.
    Warn,
    /// It cannot work.
    Bad,
}

impl Tone {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// What is told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// A word for the state, which changes less often than the text.
    pub state: &'static str,
    pub tone: Tone,
    pub text: String,
}

/// The sentence; `limit` is how far behind it may be by its schedule, `database` what the database has, if anything.
pub fn sentence(status: &Status, limit: TimeDelta, database: Option<&str>, now: Now) -> Sentence {
    let lag = status.lag_seconds.map(TimeDelta::seconds);
    if status.phase == Phase::Stopping {
        let text = "Stopping: finishing what is in hand.";
        return say("stopping", Tone::Busy, text);
    }
    if let Some(error) = database {
        let text =
            format!("Waiting for the database: {error}. Nothing is lost; it goes on by itself.");
        return say("database", Tone::Bad, text);
    }
    if status.phase == Phase::Starting {
        return say("starting", Tone::Busy, "Starting: preparing the database.");
    }
    if let Some(waiting) = waiting(status, now) {
        return waiting;
    }
    match (lag.filter(|lag| *lag <= limit), &status.run) {
        (Some(lag), _) => in_step(status, lag),
        (None, Some(run)) => syncing(status, run),
        (None, None) => behind(status, lag, now),
    }
}

fn say(state: &'static str, tone: Tone, text: impl Into<String>) -> Sentence {
    Sentence {
        state,
        tone,
        text: text.into(),
    }
}

/// For VDAB, or for a person.
fn waiting(status: &Status, now: Now) -> Option<Sentence> {
    let upto = status.watermark.map_or_else(String::new, |at| {
        format!(" What changed up to {} is here.", now.clock(at))
    });
    let gate = |reason| {
        let mut gates = status.closed_gates.values();
        let gate = gates.find(|gate| gate.reason == reason)?;
        let probe = match gate.probe_in_seconds {
            0 => format!("it is being asked again.{upto}"),
            seconds => format!("asked again in {}.{upto}", span(delta(seconds))),
        };
        Some((probe, &gate.message))
    };
    if let Some((probe, message)) = gate(Reason::Auth) {
        let text = if message.contains("CVSYNC_OAUTH_") {
            format!("Waiting, since {message}; {probe}")
        } else {
            format!(
                "VDAB refuses the key: put a new one into the file of CVSYNC_API_KEY_FILE, or set CVSYNC_API_KEY and restart; {probe}"
            )
        };
        return Some(say("key", Tone::Bad, text));
    }
    if let Some(pause) = &status.pause {
        let until = pause.until.map_or_else(
            || "until somebody resumes it".to_owned(),
            |until| format!("until {}", now.clock(until)),
        );
        let reason = pause.reason.trim_end_matches('.');
        let text = format!("Paused {until}: {reason}.{upto}");
        return Some(say("paused", Tone::Warn, text));
    }
    if let Some((probe, _)) = gate(Reason::Outage) {
        let text = format!("Waiting for VDAB, which does not answer as it should; {probe}");
        return Some(say("source", Tone::Warn, text));
    }
    let (probe, _) = gate(Reason::RateLimit)?;
    let text = format!("Waiting for quota at VDAB; {probe}");
    Some(say("quota", Tone::Warn, text))
}

fn in_step(status: &Status, lag: TimeDelta) -> Sentence {
    if let Some(held) = status.held_deletes.filter(|held| *held > 0) {
        let held = count(held, "delete");
        let text = format!("In step with VDAB, but {held} wait for your decision.");
        return say("held", Tone::Warn, text);
    }
    let upto = format!("In step with VDAB up to {} ago", span(lag));
    if status.phase == Phase::Standby {
        return match &status.leader {
            Some(leader) => {
                let text = format!("{upto}; {leader} leads, this instance stands by.");
                say("standby", Tone::Good, text)
            }
            None => say(
                "standby",
                Tone::Warn,
                format!("{upto}, but no instance leads."),
            ),
        };
    }
    let tone = if status.reasons.is_empty() {
        Tone::Good
    } else {
        Tone::Warn
    };
    say("in_step", tone, upto + ".")
}

fn syncing(status: &Status, run: &Snapshot) -> Sentence {
    let what = match status.watermark {
        Some(_) => "Catching up",
        None => "First sync",
    };
    if run.expected == 0 {
        return say(
            "syncing",
            Tone::Busy,
            format!("{what}: listing what VDAB has."),
        );
    }
    let eta = run.eta_seconds.map_or_else(
        || "time to go is not known yet".to_owned(),
        |eta| format!("{} to go", span(delta(eta))),
    );
    let done = number(run.tally.done());
    let text = format!(
        "{what}: {done} of about {}, {eta}.",
        count(run.expected, "CV")
    );
    say("syncing", Tone::Busy, text)
}

fn behind(status: &Status, lag: Option<TimeDelta>, now: Now) -> Sentence {
    let failure = status
        .last_run
        .as_ref()
        .and_then(|run| run.error.as_deref());
    let why = match (failure, status.phase) {
        (Some(error), _) => format!("the last sync failed: {}", error.trim_end_matches('.')),
        (None, Phase::Standby) => match &status.leader {
            Some(leader) => format!("{leader} leads and does the work"),
            None => "no instance leads".to_owned(),
        },
        (None, _) => match status.next_run_at {
            Some(at) if at > now.at => format!("the next sync starts at {}", now.clock(at)),
            _ => "a sync is about to start".to_owned(),
        },
    };
    let text = match lag {
        Some(lag) => format!("Behind VDAB by {}: {why}.", span(lag)),
        None => format!("Nothing is synced yet: {why}."),
    };
    say("behind", Tone::Warn, text)
}

fn delta(seconds: u64) -> TimeDelta {
    i64::try_from(seconds)
        .ok()
        .and_then(TimeDelta::try_seconds)
        .unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::admin::LastRun;
    use crate::model::Tally;
    use crate::store::pause::Pause;
    use crate::vdab::ClosedGate;

    const LIMIT: TimeDelta = TimeDelta::minutes(16);

    fn now() -> Now {
        Now {
            at: "2026-11-26T12:00:00Z".parse().unwrap(),
            zone: chrono_tz::Europe::Brussels,
        }
    }

    fn behind_by(lag: i64) -> Status {
        Status {
            version: "0",
            phase: Phase::Leading,
            ready: true,
            light: "green",
            reasons: vec![],
            watermark: Some(now().at - TimeDelta::seconds(lag)),
            lag_seconds: Some(lag),
            run: None,
            last_run: None,
            next_run_at: Some(now().at + TimeDelta::minutes(3)),
            since_start: Tally::default(),
            stored: Some(10),
            held_deletes: Some(0),
            leader: Some("one".to_owned()),
            pause: None,
            parked: BTreeMap::new(),
            last_success: BTreeMap::new(),
            quota_per_minute: 2_000,
            feed_behind: BTreeMap::new(),
            closed_gates: BTreeMap::new(),
            better_overlap_hours: None,
            schema_drift: std::collections::BTreeMap::new(),
            clock_ahead_seconds: None,
        }
    }

    fn with_gate(reason: Reason) -> Status {
        let gate = ClosedGate {
            reason,
            message: "it says so".to_owned(),
            closed_for_seconds: 5,
            probe_in_seconds: 40,
        };
        Status {
            closed_gates: BTreeMap::from([("bulk", gate)]),
            ..behind_by(60)
        }
    }

    fn running(lag: Option<i64>, expected: u64, eta_seconds: Option<u64>) -> Status {
        let tally = Tally {
            inserted: 1_234,
            ..Tally::default()
        };
        Status {
            lag_seconds: lag,
            watermark: lag.map(|lag| now().at - TimeDelta::seconds(lag)),
            run: Some(Snapshot {
                windows: 1,
                tally,
                per_second: 10.0,
                expected,
                eta_seconds,
                listed_to: None,
            }),
            ..behind_by(0)
        }
    }

    #[track_caller]
    fn assert_told(status: &Status, state: &str, tone: Tone, text: &str) {
        let told = sentence(status, LIMIT, None, now());
        assert_eq!((told.state, told.tone, &*told.text), (state, tone, text));
    }

    #[test]
    fn in_step() {
        let text = "In step with VDAB up to 62 s ago.";
        assert_told(&behind_by(62), "in_step", Tone::Good, text);
        let mut odd = behind_by(62);
        odd.reasons.push("VDAB listed few changes".to_owned());
        assert_told(&odd, "in_step", Tone::Warn, text);
        assert_told(
            &running(Some(62), 2_000, Some(9)),
            "in_step",
            Tone::Good,
            text,
        );
    }

    #[test]
    fn on_its_way() {
        assert_told(
            &running(None, 5_000, Some(130)),
            "syncing",
            Tone::Busy,
            "First sync: 1,234 of about 5,000 CVs, 2 min to go.",
        );
        assert_told(
            &running(Some(90_000), 5_000, None),
            "syncing",
            Tone::Busy,
            "Catching up: 1,234 of about 5,000 CVs, time to go is not known yet.",
        );
        let text = "First sync: listing what VDAB has.";
        assert_told(&running(None, 0, None), "syncing", Tone::Busy, text);
        let starting = Status {
            phase: Phase::Starting,
            ..behind_by(0)
        };
        let text = "Starting: preparing the database.";
        assert_told(&starting, "starting", Tone::Busy, text);
        let stopping = Status {
            phase: Phase::Stopping,
            ..with_gate(Reason::Auth)
        };
        let text = "Stopping: finishing what is in hand.";
        assert_told(&stopping, "stopping", Tone::Busy, text);
    }

    #[test]
    fn behind_and_why() {
        assert_told(
            &behind_by(1_500),
            "behind",
            Tone::Warn,
            "Behind VDAB by 25 min: the next sync starts at 13:03:00.",
        );
        let failed = Status {
            last_run: Some(LastRun {
                finished_at: now().at,
                summary: None,
                error: Some("listing failed.".to_owned()),
            }),
            ..behind_by(1_500)
        };
        let text = "Behind VDAB by 25 min: the last sync failed: listing failed.";
        assert_told(&failed, "behind", Tone::Warn, text);
        let standby = Status {
            phase: Phase::Standby,
            lag_seconds: None,
            ..behind_by(0)
        };
        let text = "Nothing is synced yet: one leads and does the work.";
        assert_told(&standby, "behind", Tone::Warn, text);
        let alone = Status {
            leader: None,
            ..standby
        };
        let text = "Nothing is synced yet: no instance leads.";
        assert_told(&alone, "behind", Tone::Warn, text);
    }

    #[test]
    fn waiting_for_others() {
        let upto = "What changed up to 12:59:00 is here.";
        for (reason, state, tone, text) in [
            (
                Reason::Auth,
                "key",
                Tone::Bad,
                "VDAB refuses the key: put a new one into the file of CVSYNC_API_KEY_FILE, or set CVSYNC_API_KEY and restart; asked again in 40 s.",
            ),
            (
                Reason::Outage,
                "source",
                Tone::Warn,
                "Waiting for VDAB, which does not answer as it should; asked again in 40 s.",
            ),
            (
                Reason::RateLimit,
                "quota",
                Tone::Warn,
                "Waiting for quota at VDAB; asked again in 40 s.",
            ),
        ] {
            let text = format!("{text} {upto}");
            assert_told(&with_gate(reason), state, tone, &text);
        }
        let database = sentence(&with_gate(Reason::Auth), LIMIT, Some("refused"), now());
        assert_eq!(
            (database.state, database.tone, &*database.text),
            (
                "database",
                Tone::Bad,
                "Waiting for the database: refused. Nothing is lost; it goes on by itself."
            )
        );
    }

    #[test]
    fn waiting_for_a_person() {
        let pause = Pause {
            reason: "moving house.".to_owned(),
            since: now().at,
            until: None,
        };
        let mut paused = Status {
            pause: Some(pause),
            ..with_gate(Reason::Outage)
        };
        let upto = "What changed up to 12:59:00 is here.";
        let text = format!("Paused until somebody resumes it: moving house. {upto}");
        assert_told(&paused, "paused", Tone::Warn, &text);
        if let Some(pause) = &mut paused.pause {
            pause.until = Some(now().at + TimeDelta::hours(20));
        }
        let text = format!("Paused until 27 Nov 09:00: moving house. {upto}");
        assert_told(&paused, "paused", Tone::Warn, &text);
        let held = Status {
            held_deletes: Some(1_200),
            ..behind_by(62)
        };
        let text = "In step with VDAB, but 1,200 deletes wait for your decision.";
        assert_told(&held, "held", Tone::Warn, text);
    }

    #[test]
    fn standing_by() {
        let standby = Status {
            phase: Phase::Standby,
            ..behind_by(62)
        };
        let text = "In step with VDAB up to 62 s ago; one leads, this instance stands by.";
        assert_told(&standby, "standby", Tone::Good, text);
        let alone = Status {
            leader: None,
            ..standby
        };
        let text = "In step with VDAB up to 62 s ago, but no instance leads.";
        assert_told(&alone, "standby", Tone::Warn, text);
    }
}
