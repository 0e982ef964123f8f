//! Findings that obstruct syncs, the cause before its effects.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Facts, Finding, Gate, Light, Role, Stored, UnderWay, limits};
use crate::model::words::{count, moment, number, span};

pub(super) fn judge(facts: &Facts, found: &mut Vec<Finding>) {
    if facts.role == Role::Stopping {
        let stopping = "Stopping: finishing the current work.";
        found.push(Finding::new(Light::Amber, "stopping", stopping).unready(true));
    }
    found.extend(database(facts));
    if facts.role == Role::Starting {
        let starting = "Starting: preparing the database.";
        found.push(Finding::new(Light::Amber, "starting", starting).unready(true));
    }
    found.extend(key(facts));
    found.extend(pause(facts));
    found.extend(source(facts));
    found.extend(quota(facts));
    if let Some(stored) = &facts.stored {
        found.extend(leaderless(facts, stored));
        found.extend(late(facts, stored));
    }
}

/// This process or the leader cannot use the database. An error of a single statement is an oddity.
fn database(facts: &Facts) -> Option<Finding> {
    let everywhere = |trouble: &&super::Trouble| !trouble.one_statement;
    let here = facts.database.as_ref().filter(everywhere);
    let of_leader = facts.leader.database.as_ref().filter(everywhere);
    let (headline, trouble) = match (here, of_leader) {
        (Some(here), _) => (sentence(&here.message), here),
        (None, leader) => {
            let leader = leader?;
            let message = leader.message.trim_end_matches('.');
            (format!("The leader cannot work: {message}."), leader)
        }
    };
    Some(
        Finding::new(Light::Red, "database", headline)
            .since(trouble.since)
            .next("No data is lost, and syncing resumes by itself once the database works")
            .action("Run `cvsync check`: its line `database` says what is wrong and what to do")
            .unready(here.is_some()),
    )
}

/// An error message as a sentence.
fn sentence(message: &str) -> String {
    let mut rest = message.trim_end_matches('.').chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).chain(['.']).collect()
}

fn key(facts: &Facts) -> Option<Finding> {
    let gate = facts.leader.key_refused.as_ref()?;
    Some(
        Finding::new(Light::Red, "key", gate.message.clone())
            .since(gate.since)
            .next(format!(
                "{}. Meanwhile cvsync fetches and deletes nothing{}",
                again(gate, facts.now),
                complete_up_to(facts)
            ))
            .action(if gate.is_of_token_server() {
                "Correct CVSYNC_OAUTH_CLIENT_ID and CVSYNC_OAUTH_CLIENT_SECRET. cvsync reads the file of a secret again by itself; any other change needs a restart"
            } else {
                "Ask VDAB for a new key, or to renew the subscription. Put the key into the file that CVSYNC_API_KEY_FILE names, or set CVSYNC_API_KEY and restart"
            })
            .unready(facts.role == Role::Leading),
    )
}

fn pause(facts: &Facts) -> Option<Finding> {
    let pause = facts.pause.as_ref()?;
    let until = pause.until.map_or_else(
        || "until somebody resumes".to_owned(),
        |until| format!("until {}", moment(until)),
    );
    let begun = pause.begun_by.as_ref();
    let begun = begun.map_or_else(String::new, |by| format!("It was started {by}. "));
    let reason = pause.reason.trim_end_matches('.');
    let forgotten = if facts.now - pause.since > limits::PAUSE {
        "Was it forgotten? End it with `cvsync resume`"
    } else {
        "End it with `cvsync resume`"
    };
    Some(
        Finding::new(Light::Amber, "paused", format!("Paused {until}: {reason}."))
            .since(pause.since)
            .next(format!("No instance syncs{}", complete_up_to(facts)))
            .action(format!("{begun}{forgotten}")),
    )
}

fn source(facts: &Facts) -> Option<Finding> {
    let gate = facts.leader.source_down.as_ref()?;
    let headline = format!(
        "VDAB is unavailable ({}).",
        gate.message.trim_end_matches('.')
    );
    Some(
        Finding::new(Light::Amber, "source", headline)
            .since(gate.since)
            .next(format!(
                "{}. cvsync then catches up by itself{}",
                again(gate, facts.now),
                complete_up_to(facts)
            ))
            .action("Wait. If VDAB works from elsewhere, run `cvsync check` to test the connection from here"),
    )
}

fn quota(facts: &Facts) -> Option<Finding> {
    let gate = facts.leader.quota_closed.as_ref()?;
    let quota = Finding::new(Light::Amber, "quota", "Waiting for VDAB's rate limit.")
        .since(gate.since)
        .next(format!(
            "{}{}",
            again(gate, facts.now),
            complete_up_to(facts)
        ));
    let is_long = facts.now - gate.since > limits::QUOTA;
    Some(if is_long {
        quota.action("Set CVSYNC_API_RATE_PER_MINUTE to the quota that VDAB grants, or stop the other program that uses this key")
    } else {
        quota
    })
}

/// When the gate lets the next call pass.
fn again(gate: &Gate, now: DateTime<Utc>) -> String {
    match gate.again_at - now {
        wait if wait >= TimeDelta::seconds(1) => format!("Retrying in {}", span(wait)),
        _ => "Retrying now".to_owned(),
    }
}

fn complete_up_to(facts: &Facts) -> String {
    let watermark = facts
        .stored
        .as_ref()
        .and_then(|stored| stored.coverage.watermark);
    watermark.map_or_else(String::new, |at| {
        format!(". The copy is complete up to {}", moment(at))
    })
}

/// Instances run, and none leads. If none runs, somebody may sync by hand: that is an oddity.
fn leaderless(facts: &Facts, stored: &Stored) -> Option<Finding> {
    let since = stored.leaderless_since?;
    (facts.now - since > limits::NO_LEADER).then(|| {
        Finding::new(
            Light::Red,
            "no_leader",
            "No instance leads, so nothing is synced.",
        )
        .since(since)
        .action(match stored.outdated.first() {
            None => "Start the daemon. If one runs, search its log for `cannot try to lead`".to_owned(),
            Some((name, settings)) => format!(
                "The latest leader had other settings ({}) and started later than {name}. Restart {name}: it then leads with its settings",
                settings.join(", ")
            ),
        })
    })
}

fn late(facts: &Facts, stored: &Stored) -> Option<Finding> {
    // During a pause the lag is expected.
    if facts.lag().is_some_and(|lag| lag <= facts.limits.lag) || facts.pause.is_some() {
        return None;
    }
    let Some(edge) = stored.coverage.live_edge() else {
        return Some(backlog(facts, stored, "first_sync"));
    };
    let lag = facts.now - edge;
    if lag <= facts.limits.lag {
        let reason = match stored.coverage.watermark {
            None => "first_sync",
            Some(_) => "backlog",
        };
        return Some(backlog(facts, stored, reason));
    }
    let behind = format!("Behind VDAB by {}", span(lag));
    let late_since = edge + facts.limits.lag;
    let finding = |headline: String| Finding::new(Light::Red, "behind", headline).since(late_since);
    Some(match &facts.leader.run {
        Some(run) => finding(format!("{behind}. Catching up: {}.", progress(run)))
            .next("cvsync catches up by itself"),
        None => finding(format!("{behind}: {}.", why(facts, stored)))
            .next("cvsync catches up by itself once the cause is gone")
            .action("Look for the cause in docs/runbook.md under CvsyncBehind"),
    })
}

/// The live lane works, or has not begun; older changes are missing.
fn backlog(facts: &Facts, stored: &Stored, reason: &'static str) -> Finding {
    let run = facts.leader.run.as_ref();
    let idle = facts
        .leader
        .idle_seconds
        .and_then(|idle| i64::try_from(idle).ok());
    let gets_nowhere = idle.is_some_and(|idle| idle > limits::FIRST_SYNC.num_seconds());
    let light = if gets_nowhere || facts.leader.failure.is_some() && run.is_none() {
        Light::Red
    } else {
        Light::Amber
    };
    let gaps = stored.coverage.gaps(facts.limits.from);
    let headline = match (gaps.first().zip(gaps.last()), run) {
        (Some((newest, oldest)), _) => {
            let live = match reason {
                "first_sync" => "First sync: live since",
                _ => "Live since",
            };
            let state = match run {
                Some(run) => share(run),
                None => format!(": {}", why(facts, stored)),
            };
            format!(
                "{live} {}; backlog{state}, oldest missing change {}.",
                moment(newest.tot()),
                oldest.van().format("%Y-%m")
            )
        }
        (None, Some(run)) => format!("First sync: {}.", progress(run)),
        (None, None) => format!("Nothing is synced yet: {}.", why(facts, stored)),
    };
    let finding = Finding::new(light, reason, headline);
    if light == Light::Red {
        finding.action("Run `cvsync check`, then `cvsync conformance`: they name the cause")
    } else {
        finding.next("New changes are copied on schedule; the copy is complete once the backlog is")
    }
}

/// ` 61 % (1,234 of about 2,000 CVs), 2 min to go`
fn share(run: &UnderWay) -> String {
    if run.expected == 0 {
        return format!(": {}", progress(run));
    }
    let percent = u128::from(run.done) * 100 / u128::from(run.expected.max(run.done));
    format!(" {percent} % ({}), {}", counts(run), remaining(run))
}

/// `1,234 of about 5,000 CVs, 2 min to go`
fn progress(run: &UnderWay) -> String {
    if run.expected == 0 {
        return "listing the CVs at VDAB".to_owned();
    }
    format!("{}, {}", counts(run), remaining(run))
}

fn counts(run: &UnderWay) -> String {
    let done = number(run.done);
    format!("{done} of about {}", count(run.expected, "CV"))
}

fn remaining(run: &UnderWay) -> String {
    let eta = run.eta_seconds.and_then(|eta| i64::try_from(eta).ok());
    let eta = eta.and_then(TimeDelta::try_seconds);
    eta.map_or_else(
        || "remaining time not known yet".to_owned(),
        |eta| format!("{} to go", span(eta)),
    )
}

/// Why no run is under way.
fn why(facts: &Facts, stored: &Stored) -> String {
    if let Some(error) = &facts.leader.failure {
        return format!("the last sync failed: {}", error.trim_end_matches('.'));
    }
    match (&stored.leader, facts.role) {
        (None, _) => "no instance leads".to_owned(),
        (Some((leader, _)), Role::Standby) => format!("{leader} leads and syncs"),
        (Some(_), _) => match facts.leader.next_run_at {
            Some(at) if at > facts.now => {
                format!("the next sync starts in {}", span(at - facts.now))
            }
            _ => "a sync is about to start".to_owned(),
        },
    }
}
