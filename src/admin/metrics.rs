//! `/metrics`: Prometheus' text format.

use std::sync::{Arc, Weak};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry::KeyValue;

use super::facts::{self, watermark};
use super::sample::QUANTILES;
use super::{Admin, Numbers, Phase};
use crate::model::OddClock;
use crate::store::feed_consumer::Consumer;
use crate::store::watermark::KANDIDATEN;
use crate::sync::RELIST_EVERY;
use crate::telemetry::{
    CHANGES_LATELY, CHANGES_USUAL, CLOCK_DISAGREEMENT, CLOCK_OFFSET, CONFIRMED_AGE,
    DELETES_WITHHELD, FEED_CONSUMER_LAG, FEED_CONSUMER_WAIT, FEED_SEQ, LAST_SUCCESS, LEADER,
    PARKED, PARKED_OLDEST, PAUSED, QUEUE_CAPACITY, QUEUE_DEPTH, READY, RECONCILE_DIFFERENCE,
    SCHEDULE_INTERVAL, SCHEMA_DRIFT, SETTLE_LAG, SOURCE_LAG, STORED, UNSEARCHABLE, VERIFIED_AGE,
    WATERMARK, WINDOWS_PENDING, WORKERS, Watched,
};

/// Everything, as of now.
pub async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    admin.pipeline.vdab.count_closed_time();
    match admin.pipeline.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Registers the gauges that are read when somebody scrapes.
pub fn watch(admin: &Arc<Admin>) {
    watch_state(admin);
    watch_stored(admin);
    watch_work(admin);
}

/// Is it in step?
fn watch_state(admin: &Arc<Admin>) {
    let stream = || vec![KeyValue::new("stream", KANDIDATEN)];
    register(admin, WATERMARK, move |admin| {
        let at = watermark(admin)?;
        Some(vec![(as_f64(at.timestamp_millis()) / 1e3, stream())])
    });
    register(admin, SOURCE_LAG, move |admin| {
        // One that stands by hears nothing of the source, and would tell by how much its own clock is wrong.
        if admin.phase() == Phase::Standby {
            return None;
        }
        let lag = admin.pipeline.vdab.time().now() - watermark(admin)?;
        Some(vec![(as_f64(lag.num_milliseconds()) / 1e3, stream())])
    });
    register(admin, CLOCK_OFFSET, |admin| {
        let ahead = admin.pipeline.vdab.time().local_clock_ahead()?;
        Some(vec![(as_f64(ahead.num_milliseconds()) / 1e3, vec![])])
    });
    register(admin, CLOCK_DISAGREEMENT, |admin| {
        let clocks = admin.pipeline.vdab.time().clocks().compared();
        let value = |clock: OddClock| {
            let ahead = as_f64(clock.ahead.num_milliseconds()) / 1e3;
            (ahead, vec![KeyValue::new("clock", clock.name)])
        };
        Some(clocks.into_iter().map(value).collect())
    });
    register(admin, LAST_SUCCESS, |admin| {
        let jobs = numbers(admin)?.last_success.into_iter();
        Some(
            jobs.map(|(job, at)| (as_f64(at.timestamp()), vec![KeyValue::new("job", job)]))
                .collect(),
        )
    });
    register(admin, PAUSED, |admin| {
        Some(vec![(flag(admin.board.pause().is_some()), vec![])])
    });
    register(admin, READY, |admin| {
        let ready = facts::health(admin).ready;
        Some(vec![(flag(ready), vec![])])
    });
    register(admin, LEADER, |admin| {
        let leads = admin.board.phase() == Phase::Leading;
        Some(vec![(flag(leads), vec![])])
    });
}

/// What the database holds.
fn watch_stored(admin: &Arc<Admin>) {
    register(admin, PARKED, |admin| {
        let parked = numbers(admin)?.parked.into_iter();
        Some(
            parked
                .map(|(class, ids)| (as_f64(ids), vec![KeyValue::new("error_class", class)]))
                .collect(),
        )
    });
    register(admin, PARKED_OLDEST, |admin| {
        Some(vec![(numbers(admin)?.parked_oldest_age, vec![])])
    });
    register(admin, STORED, |admin| {
        let numbers = numbers(admin)?;
        let state = |state| vec![KeyValue::new("state", state)];
        Some(vec![
            (as_f64(numbers.stored), state("live")),
            (as_f64(numbers.ages.tombstones), state("tombstone")),
        ])
    });
    register(admin, CONFIRMED_AGE, |admin| ages(admin, "share"));
    register(admin, VERIFIED_AGE, |admin| ages(admin, "quantile"));
    register(admin, FEED_SEQ, |admin| {
        Some(vec![(as_f64(numbers(admin)?.feed_seq), vec![])])
    });
    register(admin, FEED_CONSUMER_LAG, |admin| {
        consumers(admin, |one| as_f64(one.behind))
    });
    register(admin, FEED_CONSUMER_WAIT, |admin| {
        consumers(admin, |one| one.waiting_seconds)
    });
    register(admin, UNSEARCHABLE, |admin| {
        Some(vec![(as_f64(numbers(admin)?.unsearchable), vec![])])
    });
    register(admin, CHANGES_LATELY, |admin| {
        Some(vec![(as_f64(numbers(admin)?.changes?.0), vec![])])
    });
    register(admin, CHANGES_USUAL, |admin| {
        Some(vec![(as_f64(numbers(admin)?.changes?.1?), vec![])])
    });
    register(admin, DELETES_WITHHELD, |admin| {
        Some(vec![(as_f64(numbers(admin)?.held_deletes), vec![])])
    });
    register(admin, SCHEMA_DRIFT, |admin| {
        let seen = admin.pipeline.vdab.drift().into_iter();
        let count = |names: usize| as_f64(i64::try_from(names).unwrap_or(i64::MAX));
        Some(
            seen.map(|(kind, names)| {
                (
                    count(names.len()),
                    vec![KeyValue::new("kind", kind.as_str())],
                )
            })
            .collect(),
        )
    });
    register(admin, RECONCILE_DIFFERENCE, |admin| {
        let numbers = numbers(admin)?;
        let run = numbers.page.reconciled.as_ref()?;
        let kind = |kind| vec![KeyValue::new("kind", kind)];
        Some(vec![
            (as_f64(run.missing), kind("missing")),
            (as_f64(run.extra), kind("extra")),
            (as_f64(run.stale), kind("stale")),
        ])
    });
}

/// What is under way, and when the next of it comes.
fn watch_work(admin: &Arc<Admin>) {
    register(admin, WORKERS, |admin| Some(workers(admin)));
    register(admin, WINDOWS_PENDING, |admin| {
        let pipeline = &admin.pipeline;
        let pending = pipeline.progress.pending(pipeline.settings.window);
        Some(by_state([
            ("planned", pending.planned),
            ("listing", pending.listing),
            ("applying", pending.applying),
        ]))
    });
    register(admin, SCHEDULE_INTERVAL, |admin| {
        let settings = &admin.pipeline.settings;
        let sync = ("sync", Some(&settings.schedule));
        let reconcile = ("reconcile", settings.reconcile_schedule.as_ref());
        let reference = ("reference", settings.reference.schedule.as_ref());
        let now = admin.pipeline.vdab.time().now();
        let scheduled = [sync, reconcile, reference]
            .into_iter()
            .filter_map(|(job, schedule)| Some((job, schedule?.interval(now)?)));
        let relist = settings.relist.map(|_| ("relist", RELIST_EVERY));
        let intervals = scheduled.chain(relist).map(|(job, interval)| {
            let seconds = as_f64(interval.num_milliseconds()) / 1e3;
            (seconds, vec![KeyValue::new("job", job)])
        });
        Some(intervals.collect())
    });
    register(admin, SETTLE_LAG, |admin| {
        let lag = admin.pipeline.settings.settle_lag;
        Some(vec![(lag.as_secs_f64(), vec![])])
    });
    register(admin, QUEUE_DEPTH, |admin| Some(queues(admin, |q| q.depth)));
    register(admin, QUEUE_CAPACITY, |admin| {
        Some(queues(admin, |q| q.capacity))
    });
}

type Values = Vec<(f64, Vec<KeyValue>)>;

/// A weak reference, since the registry itself hangs on the admin.
fn register(
    admin: &Arc<Admin>,
    watched: Watched,
    read: impl Fn(&Admin) -> Option<Values> + Send + Sync + 'static,
) {
    let weak: Weak<Admin> = Arc::downgrade(admin);
    admin.pipeline.metrics.watch(watched, move || {
        weak.upgrade()
            .and_then(|admin| read(&admin))
            .unwrap_or_default()
    });
}

/// How long ago documents were confirmed, with the label of this name.
fn ages(admin: &Admin, label: &'static str) -> Option<Values> {
    let ages = numbers(admin)?.ages;
    let ages = QUANTILES.iter().zip(&ages.verified);
    let value = |(share, age): (&f64, &f64)| (*age, vec![KeyValue::new(label, share.to_string())]);
    Some(ages.map(value).collect())
}

/// A number of each consumer of the change feed, with its name.
fn consumers(admin: &Admin, value: impl Fn(&Consumer) -> f64) -> Option<Values> {
    let consumers = numbers(admin)?.consumers.into_iter();
    let one = |one: Consumer| (value(&one), vec![KeyValue::new("consumer", one.name)]);
    Some(consumers.map(one).collect())
}

fn numbers(admin: &Admin) -> Option<Numbers> {
    admin.board.sample()?.ok()
}

fn workers(admin: &Admin) -> Values {
    let pipeline = &admin.pipeline;
    let all = pipeline.settings.workers;
    let workers = pipeline
        .queues
        .workers(all, pipeline.vdab.details_under_way());
    let count = |workers| u64::try_from(workers).unwrap_or(u64::MAX);
    by_state([
        ("idle", count(workers.idle)),
        ("quota", count(workers.quota)),
        ("fetching", count(workers.fetching)),
        ("writing", count(workers.writing)),
    ])
}

fn by_state<const N: usize>(counts: [(&'static str, u64); N]) -> Values {
    let number = |count| as_f64(i64::try_from(count).unwrap_or(i64::MAX));
    counts
        .map(|(state, count)| (number(count), vec![KeyValue::new("state", state)]))
        .into()
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

fn queues(admin: &Admin, number: impl Fn(&crate::sync::Queue) -> usize) -> Values {
    let queues = admin.pipeline.queues.look();
    let value = |queue| as_f64(i64::try_from(number(queue)).unwrap_or(i64::MAX));
    queues
        .iter()
        .map(|queue| (value(queue), vec![KeyValue::new("queue", queue.name)]))
        .collect()
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(number: i64) -> f64 {
    number as f64
}
