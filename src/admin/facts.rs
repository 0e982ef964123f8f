//! The facts for the verdict, from this process and its sample of the database.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::guard::Audience;
use super::{Admin, Numbers, Phase};
use crate::config;
use crate::model::health::{
    Consumer, Facts, Gate, Limits, Memory, Role, Stored, Trouble, UnderWay, limits,
};
use crate::model::{Coverage, Health};
use crate::store::feed_consumer::WEBHOOK;
use crate::store::{StoreError, cv_search};
use crate::sync::{ClosedGate, Reason};
use crate::telemetry::STDERR;

/// The verdict, for the owner of the admin token or for everyone.
pub(super) fn health(admin: &Admin, audience: Audience) -> Health {
    let facts = facts(admin);
    Health::judge(&match audience {
        Audience::Operator => facts,
        Audience::Public => facts.public(),
    })
}

fn facts(admin: &Admin) -> Facts {
    let role = match admin.phase() {
        Phase::Starting => Role::Starting,
        Phase::Standby => Role::Standby,
        Phase::Leading => Role::Leading,
        Phase::Stopping => Role::Stopping,
    };
    let own = memory(admin);
    let numbers = if role == Role::Leading {
        // If the latest sample failed, the leader uses the one before.
        admin.board.numbers()
    } else {
        admin.board.sample().and_then(Result::ok)
    };
    let mut stored = numbers.as_ref().map(Numbers::stored);
    let leader = if role == Role::Leading {
        if let Some(stored) = &mut stored {
            // The sample may be older than the lease.
            stored.coverage = coverage(admin).unwrap_or_default();
            let runs_since = stored.leader.take().and_then(|(_, since)| since);
            stored.leader = Some((admin.board.name(), runs_since));
            stored.leaderless_since = None;
        }
        Memory {
            database: None,
            ..own.clone()
        }
    } else {
        let leader = numbers.as_ref().and_then(Numbers::leaders_memory);
        Memory {
            odd_clock: own.odd_clock.clone(),
            replica: own.replica.clone(),
            log_lines_dropped: own.log_lines_dropped,
            ..leader.unwrap_or_default()
        }
    };
    let now = admin.view.now();
    Facts {
        now,
        latest: admin.view.latest_now(),
        role,
        limits: limits_of(admin.view.settings(), now),
        database: own.database,
        stored,
        pause: admin.board.pause().map(Into::into),
        leader,
    }
}

/// The settled spans: by the latest sample, or by the current run if that is newer. `cvsync rewind` may have taken some back.
pub(super) fn coverage(admin: &Admin) -> Option<Coverage> {
    let leads = admin.phase() == Phase::Leading;
    let of_run = Some(admin.view.coverage()).filter(|it| leads && it.live_edge().is_some());
    match admin.board.sample() {
        Some(Ok(numbers)) if of_run.is_none() || of_run == admin.board.coverage_of_run() => {
            Some(numbers.coverage)
        }
        _ => of_run,
    }
}

#[must_use]
pub(crate) fn limits_of(settings: &config::Sync, now: DateTime<Utc>) -> Limits {
    let reconcile = settings.reconcile_schedule.as_ref();
    Limits {
        lag: settings.in_step_within(now),
        reconcile_every: reconcile.and_then(|schedule| schedule.interval(now)),
        relists: settings.relist.is_some(),
        overlap: TimeDelta::from_std(settings.window_overlap).unwrap_or_default(),
        from: settings.from,
    }
}

pub(super) fn memory(admin: &Admin) -> Memory {
    let board = &admin.board;
    let now = admin.view.now();
    let gates = admin.view.closed_gates();
    let gate = |reason| {
        let longest = gates
            .values()
            .filter(|gate| gate.reason == reason)
            .max_by_key(|gate| gate.closed_for_seconds);
        longest.map(|gate| as_fact(gate, now))
    };
    let leads = board.phase() == Phase::Leading;
    let (failure, failure_class) = board.failure().filter(|_| leads).unzip();
    let side_errors = admin.view.side_errors();
    Memory {
        leads_for_seconds: board.leads_for_seconds(),
        idle_seconds: board.idle_seconds().filter(|_| leads),
        database: trouble(admin),
        key_refused: gate(Reason::Auth),
        source_down: gate(Reason::Outage),
        quota_closed: gate(Reason::RateLimit),
        run: admin.view.run().map(|run| UnderWay {
            done: run.tally.done(),
            expected: run.expected,
            eta_seconds: run.eta_seconds,
        }),
        failure,
        failure_class: failure_class.map(ToOwned::to_owned),
        next_run_at: board.next_run_at().filter(|_| leads),
        narrow_windows: admin.view.window_limit().map(|limit| limit.num_minutes()),
        side_errors: if leads { side_errors } else { Vec::new() },
        webhook: board.webhook(),
        replica: admin.mirror.standby().and_then(|standby| standby.trouble()),
        odd_clock: admin.view.clocks().odd_one().map(|odd| odd.to_string()),
        log_lines_dropped: STDERR.drops().then(|| STDERR.dropped()),
        outdated: board.outdated(),
        drift: admin.view.drift().values().map(BTreeSet::len).sum(),
    }
}

/// An error of the run, the sample or the lease; an error of a single statement only if there is no other.
fn trouble(admin: &Admin) -> Option<Trouble> {
    let of_run = admin.view.trouble();
    let of_sample = admin.board.sample().and_then(Result::err);
    let now = admin.view.now();
    let failing = admin.board.sample_fails_for();
    let since = failing.and_then(|failing| Some(now - TimeDelta::from_std(failing).ok()?));
    let of_lease = admin.board.lease_trouble();
    let met = of_run.into_iter().chain(of_sample).chain(of_lease);
    let met = met.map(|error| Trouble {
        one_statement: matches!(error, StoreError::Statement(_)),
        message: error.to_string(),
        class: error.class().to_owned(),
        since,
    });
    met.min_by_key(|trouble| trouble.one_statement)
}

fn as_fact(gate: &ClosedGate, now: DateTime<Utc>) -> Gate {
    let seconds = |seconds| TimeDelta::seconds(i64::try_from(seconds).unwrap_or(0));
    Gate {
        message: gate.message.clone(),
        class: gate.class.to_owned(),
        since: now - seconds(gate.closed_for_seconds),
        again_at: now + seconds(gate.probe_in_seconds),
    }
}

impl Numbers {
    /// The facts that the leader recorded, if it was seen within a minute.
    #[must_use]
    pub fn leaders_memory(&self) -> Option<Memory> {
        let leader = self.leader.as_ref().filter(|leader| leader.alive)?;
        let mut instances = self.page.instances.iter();
        let row = instances.find(|row| row.name == leader.holder && !row.silent)?;
        Some(row.memory.clone())
    }

    #[must_use]
    pub fn stored(&self) -> Stored {
        let alive = self.leader.as_ref().filter(|leader| leader.alive);
        let instances = &self.page.instances;
        let of_leader =
            alive.and_then(|leader| instances.iter().find(|row| row.name == leader.holder));
        // The row of a leader that died claims that it leads. It counts only once another instance has led for a while.
        let rival = of_leader.and_then(|leader| {
            let led_for = i64::try_from(leader.memory.leads_for_seconds?).ok()?;
            let since = leader.seen_at - TimeDelta::try_seconds(led_for)?;
            let mut others = instances.iter().filter(|row| row.name != leader.name);
            others.find(|row| {
                let leads = row.memory.leads_for_seconds.is_some() && !row.silent;
                leads && row.seen_at - since > limits::TWO_LEADERS
            })
        });
        let ended = self.leader.as_ref().filter(|leader| !leader.alive);
        let ended = ended.map(|leader| leader.expires_at);
        Stored {
            coverage: self.coverage.clone(),
            leader: alive.map(|leader| {
                let since = of_leader.map(|row| row.started_at);
                (leader.holder.clone(), since)
            }),
            leaderless_since: ended.filter(|_| !instances.is_empty()),
            rival: rival.map(|row| row.name.clone()),
            outdated: instances
                .iter()
                .filter(|row| !row.silent && !row.memory.outdated.is_empty())
                .map(|row| (row.name.clone(), row.memory.outdated.clone()))
                .collect(),
            last_success: self.last_success.clone(),
            parked: self.parked.values().sum(),
            parked_for: seconds(self.parked_oldest_age),
            held_deletes: self.held_deletes,
            held_since: self.held_since,
            consumers: self
                .consumers
                .iter()
                .map(|one| Consumer {
                    name: one.name.clone(),
                    is_own: matches!(&*one.name, cv_search::CONSUMER | WEBHOOK),
                    behind: one.behind,
                    waiting: seconds(one.waiting_seconds),
                })
                .collect(),
            unsearchable: self.unsearchable,
            changes: self.changes,
            clock_doubt: self.clock_doubt,
            history_lost_at: self
                .leader
                .as_ref()
                .and_then(|leader| leader.history_lost_at)
                .filter(|lost| {
                    self.announcing_since.is_some() && self.coverage.watermark <= Some(*lost)
                }),
        }
    }
}

fn seconds(seconds: f64) -> TimeDelta {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|duration| TimeDelta::from_std(duration).ok())
        .unwrap_or_default()
}
