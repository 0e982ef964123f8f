//! Findings that syncs do not wait for: they pass by themselves, or a person should look or decide.
//!
//! Each headline can follow "In step with VDAB, but ".

use super::{Facts, Finding, Light, Role, STANDBY, Stored, limits};
use crate::model::words::{count, moment, number, span};
use crate::model::{Job, clocks, volume};

pub(super) fn judge(facts: &Facts, found: &mut Vec<Finding>) {
    if let Some(stored) = &facts.stored {
        found.extend(leadership(facts, stored));
        found.extend(held(stored));
        found.extend(parked(facts, stored));
        found.extend(overdue(facts, stored));
        found.extend(quiet(stored));
        found.extend(ahead(facts, stored));
        found.extend(consumers(stored));
        found.extend(unsearchable(stored));
        if stored.clock_doubt {
            found.push(
                amber("clock_doubt", "clocks disagreed while CVs were fetched").next(
                    "Once the clocks agree, the next relist or reconcile fetches these CVs again",
                ),
            );
        }
    }
    found.extend(remembered(facts));
}

fn amber(reason: &'static str, headline: impl Into<String>) -> Finding {
    Finding::new(Light::Amber, reason, headline)
}

fn leadership(facts: &Facts, stored: &Stored) -> Option<Finding> {
    if let (Some((leader, _)), Some(rival)) = (&stored.leader, &stored.rival) {
        let headline = format!("two instances say that they lead: {leader} and {rival}");
        return Some(
            amber("two_leaders", headline)
                .next("Nothing wrong is written, but each spends the whole quota at VDAB")
                .action(format!("Restart {rival}, and report it with its log")),
        );
    }
    match (&stored.leader, facts.role) {
        (Some((leader, _)), Role::Standby) => {
            let headline = format!("{leader} leads, this instance stands by");
            Some(Finding::new(Light::Green, STANDBY, headline))
        }
        (None, _)
            if stored
                .leaderless_since
                .is_none_or(|since| facts.now - since <= limits::NO_LEADER) =>
        {
            Some(
                amber("no_leader", "no instance leads")
                    .next("A standby, if there is one, takes over within 15 seconds")
                    .action("Start the daemon with `cvsync run`, unless you sync by hand"),
            )
        }
        _ => None,
    }
}

fn held(stored: &Stored) -> Option<Finding> {
    (stored.held_deletes > 0).then(|| {
        let held = count(stored.held_deletes, "delete");
        let wait = if stored.held_deletes == 1 {
            "waits"
        } else {
            "wait"
        };
        amber("held_deletes", format!("{held} {wait} for your decision"))
            .since(stored.held_since)
            .next("These CVs stay, and all else is synced")
            .action("Look at them with `cvsync deletes list`; then approve or discard them")
    })
}

fn parked(facts: &Facts, stored: &Stored) -> Option<Finding> {
    (stored.parked > 0 && stored.parked_for > limits::PARKED).then(|| {
        let headline = format!(
            "a CV has been parked for {}, of {} in all",
            span(stored.parked_for),
            number(stored.parked)
        );
        amber("parked", headline)
            .since(facts.now - stored.parked_for)
            .next("It is retried at least once a day, and holds up no other CV")
            .action(
                "`cvsync parked list` names the reason; docs/runbook.md says what to do about each",
            )
    })
}

/// The comparison and the second listing.
fn overdue(facts: &Facts, stored: &Stored) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.pause.is_some() {
        return found;
    }
    let last = |job| stored.last_success.get(&job).copied();
    if let Some((every, at)) = facts.limits.reconcile_every.zip(last(Job::Reconcile))
        && facts.now - at > every * limits::SCHEDULES
    {
        let headline = format!("the comparison with VDAB last succeeded on {}", moment(at));
        found.push(
            amber("reconcile_overdue", headline)
                .since(at)
                .next("It is tried again after 20 minutes. Until it succeeds, changes that the syncs missed stay missing")
                .action("Remove the cause that the log names (`a run failed`), or run `cvsync reconcile`"),
        );
    }
    // Before the first sync has ended there is nothing to list again.
    if !facts.limits.relists || last(Job::Sync).is_none() {
        return found;
    }
    let relist = match (last(Job::Relist), &stored.leader) {
        (Some(at), _) if facts.now - at > limits::RELIST => {
            let headline = format!("the daily second listing last succeeded on {}", moment(at));
            amber("relist_overdue", headline).since(at)
        }
        (None, Some((_, Some(since)))) if facts.now - *since > limits::FIRST_RELIST => amber(
            "relist_overdue",
            "the daily second listing has never succeeded",
        )
        .since(*since),
        _ => return found,
    };
    found.push(
        relist
            .next("It is tried again after 20 minutes. Until it succeeds, changes that VDAB shows late may be missing")
            .action("Remove the cause that the log names (`run=relist`)"),
    );
    found
}

fn quiet(stored: &Stored) -> Option<Finding> {
    let (lately, usual) = stored.changes?;
    let usual = usual.filter(|usual| volume::is_quiet(lately, *usual))?;
    let headline = format!(
        "VDAB listed {lately} changes in six hours, where {usual} are usual at this time of the week"
    );
    Some(
        amber("quiet", headline)
            .next("Nothing is deleted because of a short list")
            .action("Unless it is a holiday, ask VDAB whether the key has lost its rights"),
    )
}

fn ahead(facts: &Facts, stored: &Stored) -> Option<Finding> {
    let ahead = stored.watermark? - facts.latest;
    (ahead > clocks::TOLERANCE).then(|| {
        let headline = format!(
            "the watermark is {} in the future, because a clock was wrong when it was set",
            span(ahead)
        );
        let overlap = span(facts.limits.overlap);
        amber("watermark_ahead", headline).next(format!(
            "Until then each sync lists the last {overlap} again"
        ))
    })
}

fn consumers(stored: &Stored) -> Vec<Finding> {
    let late = stored.consumers.iter().filter(|one| {
        one.waiting
            >= if one.is_own {
                limits::OWN_CONSUMER
            } else {
                limits::FOREIGN_CONSUMER
            }
    });
    let told = late.map(|one| {
        let headline = format!(
            "the consumer {} is {} behind; the oldest has waited for {}",
            one.name,
            count(one.behind, "change"),
            span(one.waiting)
        );
        amber("consumer_late", headline)
            .next("The changes are kept until it has read them")
            .action(if one.is_own {
                "See docs/runbook.md under CvsyncFeedConsumerBehind".to_owned()
            } else {
                format!(
                    "Repair it. Only if it is no longer used, drop it with `cvsync feed forget {}`",
                    one.name
                )
            })
    });
    told.collect()
}

fn unsearchable(stored: &Stored) -> Option<Finding> {
    (stored.unsearchable > 0).then(|| {
        let headline = format!(
            "searches do not find {}: PostgreSQL cannot index them",
            count(stored.unsearchable, "CV")
        );
        amber("unsearchable", headline)
            .next("Each is indexed again after its next change")
            .action("The table cvsync.cv_unsearchable names them and the cause")
    })
}

/// Findings from the memory of the leader.
fn remembered(facts: &Facts) -> Vec<Finding> {
    let memory = &facts.leader;
    let mut found = Vec::new();
    let statement = facts.database.iter().chain(&memory.database);
    found.extend(
        statement
            .filter(|trouble| trouble.one_statement)
            .take(1)
            .map(|trouble| {
                amber("statement", trouble.message.clone()).next("cvsync tries it again")
            }),
    );
    found.extend(memory.odd_clock.iter().map(|odd| {
        amber("clock", odd.clone())
            .next("No change is lost while only one clock is wrong")
            .action("Check its time synchronization (NTP)")
    }));
    found.extend(memory.side_errors.iter().map(|error| {
        amber("side_error", error.clone()).next("It is tried again, and syncs do not wait for it")
    }));
    found.extend(memory.webhook.iter().map(|trouble| {
        amber("webhook", trouble.clone()).next("The changes are sent again until it takes them")
    }));
    if let Some(minutes) = memory.narrow_windows {
        let headline = format!(
            "VDAB refuses windows as wide as CVSYNC_WINDOW, so listing takes more calls: windows have at most {minutes} min"
        );
        found.push(
            amber("narrow_windows", headline).next("The full width is tried again after a day"),
        );
    }
    if let Some(dropped) = memory.log_lines_dropped {
        let headline = format!("{dropped} log lines were dropped");
        found.push(
            amber("log_lines_dropped", headline)
                .action("The reader of the log on stderr is too slow, stuck or gone: restart it"),
        );
    }
    if memory.drift > 0 {
        let headline = format!(
            "VDAB's responses have {} that the contract does not have",
            count(memory.drift, "name")
        );
        found.push(
            Finding::new(Light::Green, "schema_drift", headline)
                .next("Nothing is lost by it: the status page lists them"),
        );
    }
    found
}
