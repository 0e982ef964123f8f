//! `/metrics`: Prometheus' text format.

use std::sync::{Arc, Weak};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry::KeyValue;

use super::status::watermark;
use super::{Admin, Numbers, Phase};
use crate::store::watermark::KANDIDATEN;
use crate::telemetry::{
    CLOCK_OFFSET, DELETES_WITHHELD, LAST_SUCCESS, LEADER, PARKED, QUEUE_CAPACITY, QUEUE_DEPTH,
    RECONCILE_DIFFERENCE, SOURCE_LAG, STORED, WATERMARK, Watched,
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
    let stream = || vec![KeyValue::new("stream", KANDIDATEN)];
    register(admin, WATERMARK, move |admin| {
        let at = watermark(admin)?;
        Some(vec![(as_f64(at.timestamp_millis()) / 1e3, stream())])
    });
    register(admin, SOURCE_LAG, move |admin| {
        let lag = admin.pipeline.vdab.time().now() - watermark(admin)?;
        Some(vec![(as_f64(lag.num_milliseconds()) / 1e3, stream())])
    });
    register(admin, CLOCK_OFFSET, |admin| {
        let ahead = admin.pipeline.vdab.time().local_clock_ahead()?;
        Some(vec![(as_f64(ahead.num_milliseconds()) / 1e3, vec![])])
    });
    register(admin, LAST_SUCCESS, |admin| {
        let jobs = numbers(admin)?.last_success.into_iter();
        Some(
            jobs.map(|(job, at)| (as_f64(at.timestamp()), vec![KeyValue::new("job", job)]))
                .collect(),
        )
    });
    register(admin, PARKED, |admin| {
        let parked = numbers(admin)?.parked.into_iter();
        Some(
            parked
                .map(|(class, ids)| (as_f64(ids), vec![KeyValue::new("error_class", class)]))
                .collect(),
        )
    });
    register(admin, STORED, |admin| {
        let live = vec![KeyValue::new("state", "live")];
        Some(vec![(as_f64(numbers(admin)?.stored), live)])
    });
    register(admin, DELETES_WITHHELD, |admin| {
        Some(vec![(as_f64(numbers(admin)?.held_deletes), vec![])])
    });
    register(admin, RECONCILE_DIFFERENCE, |admin| {
        let (missing, extra) = numbers(admin)?.difference?;
        let kind = |kind| vec![KeyValue::new("kind", kind)];
        Some(vec![
            (as_f64(missing), kind("missing")),
            (as_f64(extra), kind("extra")),
        ])
    });
    register(admin, LEADER, |admin| {
        let leads = admin.board.phase() == Phase::Leading;
        Some(vec![(f64::from(u8::from(leads)), vec![])])
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

fn numbers(admin: &Admin) -> Option<Numbers> {
    admin.board.sample()?.ok()
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
