//! All that the tables know of one CV: ids and times, not a word of it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::held_delete::{self, HeldDelete};
use super::parked_cv::{self, ParkedCv};
use super::sql::{query_as, query_scalar};
use super::suppressed_cv::{self, Suppression};
use crate::model::CvId;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Explanation {
    pub stored: Option<Stored>,
    /// The latest response of the source.
    pub seen: Option<Confirmed>,
    /// Why it must not be stored.
    pub suppressed: Option<Suppression>,
    /// Why it is set aside.
    pub parked: Option<ParkedCv>,
    /// The delete that is held back.
    pub held_delete: Option<HeldDelete>,
    /// The SQLSTATE with which PostgreSQL refuses to index it for search.
    pub unsearchable: Option<String>,
    /// Its rows in the feed, newest first, and the windows that were under way then.
    pub changes: Vec<Change>,
}

#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Stored {
    pub first_seen_at: DateTime<Utc>,
    /// When its content last changed here.
    pub changed_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Confirmed {
    /// The source's time when it was asked for.
    pub as_of: DateTime<Utc>,
    pub gone: bool,
    /// `suppressed` or `filtered` if cvsync does not store the CV.
    pub withheld: Option<String>,
}

/// A line of the feed.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Change {
    pub seq: i64,
    pub kind: String,
    pub at: DateTime<Utc>,
    /// Numbers of the windows that were under way then: one of them listed it, unless it was asked for by hand.
    pub windows: Vec<i64>,
}

/// Ids that a statement looks up at most.
const LOOKED_UP: usize = 10_000;

/// Those among `ids` of which there is no document, no parked row and no change in the feed: the database never had them, as far as
/// it remembers.
pub(crate) async fn unknown(tx: &mut PgConnection, ids: &[CvId]) -> Result<Vec<Uuid>, StoreError> {
    let mut unknown = Vec::new();
    for ids in ids.chunks(LOOKED_UP) {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let part: Vec<Uuid> = query_scalar(
            "select distinct id
               from unnest($1::uuid[]) as id
              where not exists (select from cvsync.cv where cv_id = id)
                and not exists (select from cvsync.parked_cv where cv_id = id::text)
                and not exists (select from cvsync.cv_change where cv_id = id)
                and not exists (select
                                  from cvsync.cv_seen
                                 where cv_id = id
                                   and withheld is not null)
              order by id",
        )
        .bind(ids)
        .fetch_all(&mut *tx)
        .await?;
        unknown.extend(part);
    }
    Ok(unknown)
}

/// Asks all tables.
pub(crate) async fn explain(tx: &mut PgConnection, id: CvId) -> Result<Explanation, StoreError> {
    Ok(Explanation {
        stored: query_as("select first_seen_at, changed_at from cvsync.cv where cv_id = $1")
            .bind(id.0)
            .fetch_optional(&mut *tx)
            .await?,
        seen: query_as("select as_of, gone, withheld from cvsync.cv_seen where cv_id = $1")
            .bind(id.0)
            .fetch_optional(&mut *tx)
            .await?,
        suppressed: suppressed_cv::find(tx, id).await?,
        held_delete: held_delete::find(tx, id.0).await?,
        unsearchable: query_scalar(
            "select error_code from cvsync.cv_unsearchable where cv_id = $1",
        )
        .bind(id.0)
        .fetch_optional(&mut *tx)
        .await?,
        changes: query_as(
            "select seq, kind, at,
                    array(select id
                            from cvsync.sync_window
                           where at between started_at and coalesce(finished_at, at)
                           order by id desc
                           limit 20) as windows
               from cvsync.cv_change
              where cv_id = $1
              order by seq desc
              limit 20",
        )
        .bind(id.0)
        .fetch_all(&mut *tx)
        .await?,
        parked: parked_cv::find(tx, &id.to_string()).await?,
    })
}
