//! Settings of the pipeline.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::reader::Reader;
use super::rules::{self, LONGEST, days, duration, unless_off, whole};
use super::schedule::{Schedule, cron, zone};
use super::{Env, Problems, Reference, load};
use crate::contract::{MAX_BULK_PAGE, MAX_WINDOW_DAYS};
use crate::model::health::limits;
use crate::model::{JsonPointer, Keep, when};

const KEEP: &str = "CVSYNC_KEEP";

#[derive(Clone, Debug)]
pub struct Sync {
    /// The first sync fetches changes from this time on.
    pub from: DateTime<Utc>,
    pub schedule: Schedule,
    /// `None` for never.
    pub reconcile_schedule: Option<Schedule>,
    /// The widest window that is listed at once.
    pub window: Duration,
    /// How far before the watermark each sync lists again.
    pub window_overlap: Duration,
    /// How far before VDAB's time a window ends.
    pub settle_lag: Duration,
    /// How far back windows are listed again once a day; `None` for never.
    pub relist: Option<Duration>,
    pub page_size: u16,
    pub workers: usize,
    /// Ids that may wait between listing and fetching.
    pub channel_capacity: usize,
    /// How long one CV is retried within a window before it is parked.
    pub retry_max_elapsed: Duration,
    /// Fields that are removed from documents before they are stored.
    pub document_exclude: Vec<JsonPointer>,
    /// Only CVs that match are stored.
    pub keep: Keep,
    /// Documents not confirmed for this long are fetched again with spare quota; `None` for never.
    pub recheck_after: Option<Duration>,
    /// The share of the table beyond which deletes of a day wait for approval.
    pub max_delete_share: f64,
    /// How long the id of a deleted CV is remembered.
    pub tombstone_retention: Duration,
    pub reference: Reference,
    /// How long rows of the change feed are kept.
    pub change_retention: Duration,
    /// How long it is known which CVs the mirror gave to whom; `None` if that is not recorded.
    pub access_retention: Option<Duration>,
}

impl Sync {
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    /// The largest lag with which the copy still counts as in step.
    #[must_use]
    pub fn in_step_within(&self, now: DateTime<Utc>) -> TimeDelta {
        let interval = self.schedule.interval(now).unwrap_or_default();
        let on_purpose = TimeDelta::from_std(self.settle_lag).unwrap_or_default();
        limits::lag(interval, on_purpose)
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        const SECOND: Duration = Duration::from_secs(1);
        let from = reader.required("CVSYNC_SYNC_FROM", instant);
        let zone = reader.required("CVSYNC_TIMEZONE", zone);
        let schedule = reader.required("CVSYNC_SCHEDULE", cron);
        let reconcile = reader.required("CVSYNC_RECONCILE_SCHEDULE", unless_off(cron));
        let window = reader.required("CVSYNC_WINDOW", window);
        let window_overlap =
            reader.required("CVSYNC_WINDOW_OVERLAP", duration(Duration::ZERO..=LONGEST));
        let settle_lag = reader.required("CVSYNC_SETTLE_LAG", duration(Duration::ZERO..=days(1)));
        let relist = reader.required("CVSYNC_RELIST", unless_off(duration(SECOND..=LONGEST)));
        let page_size = reader.required("CVSYNC_PAGE_SIZE", whole(1..=MAX_BULK_PAGE));
        let workers = reader.required("CVSYNC_WORKERS", whole(1..=1024));
        let channel_capacity = reader.required("CVSYNC_CHANNEL_CAPACITY", whole(1..=1_000_000));
        let retry_max_elapsed = reader.required(
            "CVSYNC_RETRY_MAX_ELAPSED",
            duration(Duration::ZERO..=days(1)),
        );
        let shape = shape(reader);
        let recheck_after = reader.required(
            "CVSYNC_RECHECK_AFTER",
            unless_off(duration(SECOND..=LONGEST)),
        );
        let max_delete_share = reader.required("CVSYNC_MAX_DELETE_SHARE", share);
        let tombstone_retention =
            reader.required("CVSYNC_TOMBSTONE_RETENTION", duration(SECOND..=LONGEST));
        let reference = Reference::read(reader, zone);
        // At least a day, because the delete brake counts the deletes of a day in the feed.
        let change_retention =
            reader.required("CVSYNC_CHANGE_RETENTION", duration(days(1)..=LONGEST));
        let access_retention = reader.required(
            "CVSYNC_ACCESS_RETENTION",
            unless_off(duration(days(1)..=LONGEST)),
        );
        let (zone, reconcile, (document_exclude, keep)) = (zone?, reconcile?, shape?);
        Some(Self {
            from: from?,
            schedule: Schedule {
                cron: schedule?,
                zone,
            },
            reconcile_schedule: reconcile.map(|cron| Schedule { cron, zone }),
            window: window?,
            window_overlap: window_overlap?,
            settle_lag: settle_lag?,
            relist: relist?,
            page_size: u16::try_from(page_size?).ok()?,
            workers: workers?,
            channel_capacity: channel_capacity?,
            retry_max_elapsed: retry_max_elapsed?,
            document_exclude,
            keep,
            recheck_after: recheck_after?,
            max_delete_share: max_delete_share?,
            tombstone_retention: tombstone_retention?,
            reference: reference?,
            change_retention: change_retention?,
            access_retention: access_retention?,
        })
    }
}

pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    when::absolute(text)
        .ok_or_else(|| "must be a date or an RFC 3339 time, between 1970 and 9999".to_owned())
}

fn window(text: &str) -> Result<Duration, String> {
    let widest = days(MAX_WINDOW_DAYS.unsigned_abs());
    duration(Duration::from_secs(1)..=widest)(text)
        .map_err(|what| format!("{what}; VDAB allows at most {MAX_WINDOW_DAYS} days"))
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "must be a number between 0 and 1".to_owned())
}

/// The fields that are not stored, and the filter of CVs.
fn shape(reader: &mut Reader) -> Option<(Vec<JsonPointer>, Keep)> {
    let exclude = reader.optional("CVSYNC_DOCUMENT_EXCLUDE", rules::list(excludable));
    let keep = reader.optional(KEEP, rules::list(term));
    let exclude = exclude?.unwrap_or_default();
    let keep = keep?.unwrap_or_default().into_iter().collect();
    refuse_excluded(reader, &keep, &exclude);
    Some((exclude, keep))
}

fn term(text: &str) -> Result<(&'static str, String), String> {
    rules::word(text)?;
    Keep::parse_term(text)
}

/// A filter on a field that is not stored would match no CV.
fn refuse_excluded(reader: &mut Reader, keep: &Keep, exclude: &[JsonPointer]) {
    for (kind, field) in keep.fields() {
        let field = JsonPointer::parse(field);
        let excluded = |pointer: &&JsonPointer| {
            field
                .as_ref()
                .is_some_and(|field| pointer.contains(field) || field.contains(pointer))
        };
        if let Some(pointer) = exclude.iter().find(excluded) {
            reader.refuse(
                KEEP,
                format!(
                    "must not have terms of the kind {kind}, because CVSYNC_DOCUMENT_EXCLUDE drops their field {}; remove one of the two",
                    pointer.path()
                ),
            );
        }
    }
}

/// A JSON pointer, except the one to the id, which each stored document must have.
fn excludable(text: &str) -> Result<JsonPointer, String> {
    rules::word(text)?;
    let pointer = JsonPointer::parse(text)
        .ok_or_else(|| "must be a JSON pointer such as /natuurlijkPersoon/email".to_owned())?;
    if Some(&pointer) == JsonPointer::parse("/cvId").as_ref() {
        return Err("must not be /cvId, which identifies the CV".to_owned());
    }
    Ok(pointer)
}
