//! A gauge that is read at each scrape.

use opentelemetry::{KeyValue, Value};

use crate::admin::{Admin, Numbers};

/// A gauge; `docs/metrics.md` has a row for each.
pub(super) struct Gauge {
    /// With dots; Prometheus shows underscores, with the unit at the end.
    pub name: &'static str,
    /// `s`, or empty for a count.
    pub unit: &'static str,
    pub help: &'static str,
    /// `None` if the value is unknown; the gauge is then absent.
    pub read: fn(&Admin) -> Option<Values>,
}

/// The values of a gauge, each with its labels.
pub(super) type Values = Vec<(f64, Vec<KeyValue>)>;

pub(super) fn one(value: f64) -> Values {
    vec![(value, Vec::new())]
}

/// One value per value of `label`.
pub(super) fn by<L: Into<Value>>(
    label: &'static str,
    values: impl IntoIterator<Item = (L, f64)>,
) -> Values {
    let value = |(word, value)| (value, vec![KeyValue::new(label, word)]);
    values.into_iter().map(value).collect()
}

/// The latest sample of the database, unless reading it failed.
pub(super) fn numbers(admin: &Admin) -> Option<Numbers> {
    admin.board.sample()?.ok()
}

pub(super) fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn count(number: impl TryInto<i64>) -> f64 {
    number.try_into().unwrap_or(i64::MAX) as f64
}

/// A number of milliseconds, in seconds.
pub(super) fn seconds(milliseconds: i64) -> f64 {
    count(milliseconds) / 1e3
}
