//! All that the database knows of one candidate, for an access request: what is held, who received changes of it, and who read it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::StoreError;
use super::cv_search;
use super::explain::Confirmed;
use super::held_delete::{self, HeldDelete};
use super::parked_cv::{self, ParkedCv};
use super::sql::{query_as, query_scalar};
use super::suppressed_cv::{self, Suppression};
use crate::model::CvId;

/// The most rows of each list.
const MOST: i64 = 200;

#[derive(Debug)]
pub(crate) struct Known {
    pub stored: Option<Stored>,
    /// The latest response of the source. A tombstone if it is gone.
    pub seen: Option<Confirmed>,
    pub suppressed: Option<Suppression>,
    pub parked: Option<ParkedCv>,
    pub held_delete: Option<HeldDelete>,
    pub changes: Changes,
    pub consumers: Vec<Consumer>,
    pub replication: Vec<Slot>,
    pub read: Vec<Read>,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Stored {
    pub first_seen_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
    /// JSON.
    pub document: String,
    /// Whether its words and codes are in the search index.
    pub searchable: bool,
}

/// The changes of this CV that the feed still has.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Changes {
    pub upserts: i64,
    pub deletes: i64,
    pub first_at: Option<DateTime<Utc>>,
    pub last_at: Option<DateTime<Utc>>,
}

/// A consumer of the feed.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Consumer {
    pub name: String,
    /// The latest change of this CV that it has processed; `None` if the feed has no such change.
    pub seq: Option<i64>,
    /// When that change was written.
    pub at: Option<DateTime<Utc>>,
    /// Changes of this CV that it has not processed.
    pub waiting: i64,
}

/// A replication slot, through which another server or program receives rows.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Slot {
    pub name: String,
    /// `logical` or `physical`
    pub kind: String,
    pub active: bool,
}

/// A client of the mirror.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Read {
    /// Empty for the admin token.
    pub client: String,
    pub times: i64,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
    /// Whether it was given the whole document.
    pub document: bool,
    /// The fields that searches gave it.
    pub fields: Vec<String>,
}

pub(crate) async fn known(tx: &mut PgConnection, id: CvId) -> Result<Known, StoreError> {
    Ok(Known {
        stored: query_as(
            "select first_seen_at, changed_at, document::text as document,
                    exists (select from cvsync.cv_search where cv_search.cv_id = cv.cv_id) as searchable
               from cvsync.cv
              where cv_id = $1",
        )
        .bind(id.0)
        .fetch_optional(&mut *tx)
        .await?,
        seen: query_as("select as_of, gone, withheld from cvsync.cv_seen where cv_id = $1")
            .bind(id.0)
            .fetch_optional(&mut *tx)
            .await?,
        suppressed: suppressed_cv::find(&mut *tx, id).await?,
        parked: parked_cv::find(&mut *tx, &id.to_string()).await?,
        held_delete: held_delete::find(&mut *tx, id.0).await?,
        changes: query_as(
            "select count(*) filter (where kind = 'upsert') as upserts,
                    count(*) filter (where kind = 'delete') as deletes,
                    min(at) as first_at,
                    max(at) as last_at
               from cvsync.cv_change
              where cv_id = $1",
        )
        .bind(id.0)
        .fetch_one(&mut *tx)
        .await?,
        consumers: consumers(&mut *tx, id).await?,
        replication: slots(&mut *tx).await?,
        read: read(tx, id).await?,
    })
}

/// The consumers of the feed, without the one that is part of cvsync.
async fn consumers(tx: &mut PgConnection, id: CvId) -> Result<Vec<Consumer>, StoreError> {
    Ok(query_as(
        "select name, latest.seq, latest.at,
                (select count(*)
                   from cvsync.cv_change
                  where cv_id = $1
                    and cv_change.seq > feed_consumer.seq) as waiting
           from cvsync.feed_consumer
           left join lateral (
                select cv_change.seq, cv_change.at
                  from cvsync.cv_change
                 where cv_id = $1
                   and cv_change.seq <= feed_consumer.seq
                 order by cv_change.seq desc
                 limit 1) as latest on true
          where name <> $3
          order by name
          limit $2",
    )
    .bind(id.0)
    .bind(MOST)
    .bind(cv_search::CONSUMER)
    .fetch_all(tx)
    .await?)
}

/// The slots through which rows of this database leave the server.
pub(crate) async fn slots(tx: &mut PgConnection) -> Result<Vec<Slot>, StoreError> {
    Ok(query_as(
        "select slot_name::text as name, slot_type as kind, active
           from pg_replication_slots
          where slot_type = 'physical'
             or database = current_database()
          order by slot_name
          limit $1",
    )
    .bind(MOST)
    .fetch_all(tx)
    .await?)
}

async fn read(tx: &mut PgConnection, id: CvId) -> Result<Vec<Read>, StoreError> {
    Ok(query_as(
        "with given as materialized (
             select client, at, fields
               from cvsync.cv_access
              where cv_id = $1
         )
         select client,
                count(*) as times,
                min(at) as first_at,
                max(at) as last_at,
                bool_or(fields is null) as document,
                array(select distinct field
                        from given as part, unnest(part.fields) as field
                       where part.client = given.client
                       order by field) as fields
           from given
          group by client
          order by client
          limit $2",
    )
    .bind(id.0)
    .bind(MOST)
    .fetch_all(tx)
    .await?)
}

/// The address of the source, as the latest leader recorded it.
pub(crate) async fn source(tx: &mut PgConnection) -> Result<Option<String>, StoreError> {
    let value: Option<Option<String>> =
        query_scalar("select value from cvsync.leader_setting where name = 'CVSYNC_API_BASE_URL'")
            .fetch_optional(tx)
            .await?;
    Ok(value.flatten())
}
