//! Findings that do not obstruct syncs: they pass by themselves, or you should look or decide.
//!
//! Each headline can follow "In step with VDAB as of …, but ".

use super::{Facts, Finding, Light, Role, STANDBY, Stored, limits};
use crate::model::words::{count, moment, number, span};
use crate::model::{Job, clocks, volume};

pub(super) fn judge(facts: &Facts, found: &mut Vec<Finding>) {
    if let Some(stored) = &facts.stored {
        found.extend(leadership(facts, stored));
        found.extend(outdated(stored));
        found.extend(held(stored));
        found.extend(parked(facts, stored));
        found.extend(overdue(facts, stored));
        found.extend(quiet(stored));
        found.extend(ahead(facts, stored));
        found.extend(consumers(stored));
        found.extend(unsearchable(stored));
        found.extend(history(stored));
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
        let headline = format!("two instances act as the leader: {leader} and {rival}");
        return Some(
            amber("two_leaders", headline)
                .next("Nothing wrong is written, but each spends the whole quota at VDAB")
                .action(format!("Restart {rival}, and report it with its log")),
        );
    }
    match (&stored.leader, facts.role) {
        (Some((leader, _)), Role::Standby) => {
            let headline = format!("{leader} leads, this instance is a standby");
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

/// Instances that cannot take over.
fn outdated(stored: &Stored) -> Option<Finding> {
    let (first, settings) = stored.outdated.first()?;
    let headline = match stored.outdated.len() {
        1 => format!("{first} has older settings than the latest leader and cannot take over"),
        many => format!(
            "{} have older settings than the latest leader and cannot take over",
            count(many, "instance")
        ),
    };
    Some(amber("outdated_settings", headline).action(format!(
        "Restart {first} with the settings of the leader. They differ in {}",
        settings.join(", ")
    )))
}

/// Commits that a failover or a restore took back.
fn history(stored: &Stored) -> Option<Finding> {
    let at = stored.history_lost_at?;
    Some(
        amber(
            "history_lost",
            "the database lost its latest commits (failover or restore)",
        )
        .since(Some(at))
        .next("cvsync lists again from the stored watermark, and announces every CV that it confirms in the feed"),
    )
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
            .next("These CVs stay in the database; everything else keeps syncing")
            .action("Run `cvsync deletes list`, then approve or discard them")
    })
}

fn parked(facts: &Facts, stored: &Stored) -> Option<Finding> {
    (stored.parked > 0 && stored.parked_for > limits::PARKED).then(|| {
        let headline = format!(
            "a CV has been parked for {} ({} in all)",
            span(stored.parked_for),
            number(stored.parked)
        );
        amber("parked", headline)
            .since(facts.now - stored.parked_for)
            .next("cvsync retries it at least once a day; other CVs do not wait for it")
            .action(
                "Run `cvsync parked list` for the reason; docs/runbook.md says what to do about each",
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
                .next("cvsync tries again after 20 minutes. Until it succeeds, changes that the syncs missed stay missing")
                .action("Search the log for `a run failed` and remove the cause, or run `cvsync reconcile`"),
        );
    }
    // Before the backlog is settled, nothing is listed a second time.
    let is_settled = stored.coverage.gaps(facts.limits.from).is_empty();
    if !facts.limits.relists || stored.coverage.watermark.is_none() || !is_settled {
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
            .next("cvsync tries again after 20 minutes. Until it succeeds, changes that VDAB shows late may be missing")
            .action("Search the log for `run=relist` and remove the cause"),
    );
    found
}

fn quiet(stored: &Stored) -> Option<Finding> {
    let (lately, usual) = stored.changes?;
    let usual = usual.filter(|usual| volume::is_quiet(lately, *usual))?;
    let headline = format!(
        "VDAB listed only {lately} changes in six hours; {usual} are usual at this time of the week"
    );
    Some(
        amber("quiet", headline)
            .next("Nothing is deleted because of a short list")
            .action("Unless it is a holiday, ask VDAB whether the key has lost rights"),
    )
}

fn ahead(facts: &Facts, stored: &Stored) -> Option<Finding> {
    let ahead = stored.coverage.live_edge()? - facts.latest;
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
            .next("The changes are kept until the consumer has read them")
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
            .next("cvsync indexes each again after its next change")
            .action("The table cvsync.cv_unsearchable names them and the cause")
    })
}

/// Findings that only the leader's process knows.
fn remembered(facts: &Facts) -> Vec<Finding> {
    let memory = &facts.leader;
    let mut found = Vec::new();
    let statement = facts.database.iter().chain(&memory.database);
    found.extend(
        statement
            .filter(|trouble| trouble.one_statement)
            .take(1)
            .map(|trouble| amber("statement", trouble.message.clone()).next("cvsync retries it")),
    );
    found.extend(memory.odd_clock.iter().map(|odd| {
        amber("clock", odd.clone())
            .next("No change is lost while only one clock is wrong")
            .action("Check its time synchronization (NTP)")
    }));
    found.extend(memory.side_errors.iter().map(|error| {
        amber("side_error", error.clone()).next("cvsync retries it; syncs do not wait for it")
    }));
    found.extend(memory.webhook.iter().map(|trouble| {
        amber("webhook", trouble.clone())
            .next("cvsync sends the changes again until the receiver accepts them")
    }));
    found.extend(memory.replica.iter().map(|trouble| {
        amber("mirror_replica", trouble.clone())
            .next("The mirror returns 503 where it cannot answer, and says in X-Cvsync-As-Of how old its answers are; syncs do not wait for it")
            .action("Run `cvsync check`, and check that the standby in CVSYNC_DATABASE_READ_URL runs and follows the primary")
    }));
    if let Some(minutes) = memory.narrow_windows {
        let headline = format!(
            "VDAB rejects windows as wide as CVSYNC_WINDOW, so listing takes more calls: windows have at most {minutes} min"
        );
        found.push(
            amber("narrow_windows", headline).next("cvsync tries the full width again after a day"),
        );
    }
    if let Some(dropped) = memory.log_lines_dropped {
        let headline = format!("{dropped} log lines were dropped");
        found.push(
            amber("log_lines_dropped", headline).action(
                "Restart the log collector: the reader of stderr is too slow, stuck or gone",
            ),
        );
    }
    if memory.drift > 0 {
        let headline = format!(
            "VDAB's responses have {} that the contract does not have",
            count(memory.drift, "name")
        );
        found.push(
            Finding::new(Light::Green, "schema_drift", headline)
                .next("No data is lost; the status page lists them"),
        );
    }
    found
}
