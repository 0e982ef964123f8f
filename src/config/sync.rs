//! The pipeline: when it runs, how far it reaches, how wide it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;

use crate::model::JsonPointer;

/// How to sync.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Where the first sync begins.
    pub from: DateTime<Utc>,
    /// When incremental syncs start.
    pub schedule: Schedule,
    /// When the whole source is compared with the database; `None` for never.
    pub reconcile_schedule: Option<Schedule>,
    /// The widest window asked for.
    pub window: Duration,
    /// How far a sync reaches back behind the watermark.
    pub window_overlap: Duration,
    /// How far behind the source's now a window ends.
    pub settle_lag: Duration,
    /// How far back a daily second listing goes; `None` for none.
    pub relist: Option<Duration>,
    /// Ids on a bulk page.
    pub page_size: u16,
    /// Concurrent detail fetches.
    pub workers: usize,
    /// Ids waiting between lister and workers.
    pub channel_capacity: usize,
    /// How long one CV is retried within a window before it is parked.
    pub retry_max_elapsed: Duration,
    /// Places that are dropped from documents before they are stored.
    pub document_exclude: Vec<JsonPointer>,
    /// Documents not confirmed for this long are fetched again with spare quota; `None` for never.
    pub recheck_after: Option<Duration>,
    /// The share of the table that may go in a day before a person is asked.
    pub max_delete_share: f64,
    /// How long the id of a deleted CV is remembered.
    pub tombstone_retention: Duration,
}

/// A cron pattern with seconds, in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The pattern.
    pub cron: Cron,
    /// Where its hours are.
    pub zone: Tz,
}
