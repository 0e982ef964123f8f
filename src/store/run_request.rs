//! The table `run_request`: runs that a person asked for, until the instance that leads has made them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};

/// The runs that a person may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An incremental sync.
    Sync,
    /// These CVs, fetched again.
    Resync,
    /// The held deletes that are approved.
    Approve,
}

impl What {
    /// The word for it in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Resync => "resync",
            Self::Approve => "approve",
        }
    }
}

impl TryFrom<String> for What {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let all = [Self::Sync, Self::Resync, Self::Approve];
        let known = all.into_iter().find(|what| what.as_str() == word);
        known.ok_or(word)
    }
}

/// How long what is done is remembered.
const KEPT: &str = "30 days";

/// A run that was asked for.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RunRequest {
    pub id: i64,
    #[sqlx(try_from = "String")]
    pub what: What,
    /// The CVs of a [`What::Resync`].
    pub ids: Vec<Uuid>,
    pub requested_at: DateTime<Utc>,
    /// When it was last taken up.
    pub taken_at: Option<DateTime<Utc>>,
    pub done_at: Option<DateTime<Utc>>,
    /// And whether that was a failure.
    pub failed: bool,
}

/// Asks for a run; for the same as one that nobody has taken up yet, once.
pub(crate) async fn ask(tx: &mut PgConnection, what: What, ids: &[Uuid]) -> Result<(), StoreError> {
    query(
        "insert into cvsync.run_request (what, ids)
         select $1, $2
          where not exists (select
                              from cvsync.run_request
                             where what = $1
                               and ids = $2
                               and taken_at is null)",
    )
    .bind(what.as_str())
    .bind(ids)
    .execute(&mut *tx)
    .await?;
    query("delete from cvsync.run_request where done_at < now() - $1::interval")
        .bind(KEPT)
        .execute(tx)
        .await?;
    Ok(())
}

/// Asks for a run; returns its number.
pub(crate) async fn add(
    tx: &mut PgConnection,
    what: What,
    ids: &[Uuid],
) -> Result<i64, StoreError> {
    Ok(
        query_scalar("insert into cvsync.run_request (what, ids) values ($1, $2) returning id")
            .bind(what.as_str())
            .bind(ids)
            .fetch_one(tx)
            .await?,
    )
}

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requested {
    Waits,
    Failed,
    /// The run succeeded, or the request is not there any more.
    Settled,
}

/// The state of a request, which is removed once its run has succeeded.
pub(crate) async fn state(tx: &mut PgConnection, id: i64) -> Result<Requested, StoreError> {
    query("delete from cvsync.run_request where id = $1 and done_at is not null and not failed")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    let failed = query_scalar("select failed from cvsync.run_request where id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await?;
    Ok(match failed {
        None => Requested::Settled,
        Some(false) => Requested::Waits,
        Some(true) => Requested::Failed,
    })
}

/// Asks again for a run that failed.
pub(crate) async fn again(tx: &mut PgConnection, id: i64) -> Result<(), StoreError> {
    query(
        "update cvsync.run_request
            set done_at  = null,
                taken_at = null,
                failed   = false
          where id = $1
            and failed",
    )
    .bind(id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether any request waits.
pub(crate) async fn any(tx: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(
        query_scalar("select exists (select from cvsync.run_request where done_at is null)")
            .fetch_one(tx)
            .await?,
    )
}

/// Takes up the request that has waited longest, also one that an earlier leader took up and did not finish.
pub(crate) async fn take(tx: &mut PgConnection) -> Result<Option<RunRequest>, StoreError> {
    Ok(query_as(
        "update cvsync.run_request
            set taken_at = now()
          where id = (select min(id) from cvsync.run_request where done_at is null)
         returning id, what, ids, requested_at, taken_at, done_at, failed",
    )
    .fetch_optional(tx)
    .await?)
}

/// Records the end of a run.
pub(crate) async fn done(tx: &mut PgConnection, id: i64, failed: bool) -> Result<(), StoreError> {
    query("update cvsync.run_request set done_at = now(), failed = $2 where id = $1")
        .bind(id)
        .bind(failed)
        .execute(tx)
        .await?;
    Ok(())
}

/// The latest, newest first.
pub(crate) async fn latest(
    tx: &mut PgConnection,
    limit: i64,
) -> Result<Vec<RunRequest>, StoreError> {
    Ok(query_as(
        "select id, what, ids, requested_at, taken_at, done_at, failed
           from cvsync.run_request
          order by id desc
          limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?)
}
