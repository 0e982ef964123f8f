//! The table `lease`: one leader among many instances, and the epoch that fences the others off.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};

/// The one lease there is.
const NAME: &str = "sync";

/// How long a leader that says nothing keeps its place, in seconds.
pub const TTL: f64 = 10.0;

/// Who leads, as anybody may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The instance.
    pub holder: String,
    pub epoch: i64,
    /// When its time is over, or was.
    pub expires_at: DateTime<Utc>,
    /// Whether it is not over.
    pub alive: bool,
}

/// Takes the lease where nobody holds it; the new epoch, or `None`.
pub async fn take(tx: &mut PgConnection, holder: &str) -> Result<Option<i64>, StoreError> {
    Ok(query_scalar(
        "insert into cvsync.lease as held (name, holder, epoch, expires_at)
         values ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
         on conflict (name) do update
            set holder     = excluded.holder,
                epoch      = held.epoch + 1,
                expires_at = excluded.expires_at
          where held.expires_at <= clock_timestamp()
         returning epoch",
    )
    .bind(NAME)
    .bind(holder)
    .bind(TTL)
    .fetch_optional(tx)
    .await?)
}

/// Keeps it; false if somebody else has taken it. One that ran out is still its holder's until then.
///
/// # Errors
/// [`StoreError::Gone`] if there is no lease at all: nobody removes it from a database that cvsync works in.
pub async fn renew(tx: &mut PgConnection, epoch: i64) -> Result<bool, StoreError> {
    let kept = query(
        "update cvsync.lease
            set expires_at = clock_timestamp() + make_interval(secs => $3)
          where name = $1
            and epoch = $2",
    )
    .bind(NAME)
    .bind(epoch)
    .bind(TTL)
    .execute(&mut *tx)
    .await?;
    let kept = kept.rows_affected() == 1;
    if !kept && leader(tx).await?.is_none() {
        return Err(StoreError::Gone(
            "its lease is gone; was the database emptied or created anew?".to_owned(),
        ));
    }
    Ok(kept)
}

/// Gives it up, so that another instance need not wait until it runs out.
pub async fn give_up(tx: &mut PgConnection, epoch: i64) -> Result<(), StoreError> {
    query(
        "update cvsync.lease
            set expires_at = clock_timestamp()
          where name = $1
            and epoch = $2",
    )
    .bind(NAME)
    .bind(epoch)
    .execute(tx)
    .await?;
    Ok(())
}

/// Makes sure that this epoch still leads, and that none takes over before the transaction ends.
///
/// `for key share`, since `epoch` is part of a key (the index `lease_epoch`): a takeover, which changes it, waits, and the holder's own
/// renewal does not. `for share` would let a write that takes long cost its leader the lease.
///
/// # Errors
/// [`StoreError::Fenced`] if another one leads.
pub async fn hold(tx: &mut PgConnection, epoch: i64) -> Result<(), StoreError> {
    let held: Option<i64> = query_scalar(
        "select epoch
           from cvsync.lease
          where name = $1
            and epoch = $2
            for key share",
    )
    .bind(NAME)
    .bind(epoch)
    .fetch_optional(tx)
    .await?;
    held.map(|_| ()).ok_or(StoreError::Fenced)
}

/// Who leads, or led last.
pub async fn leader(tx: &mut PgConnection) -> Result<Option<Leader>, StoreError> {
    let row: Option<(String, i64, DateTime<Utc>, bool)> = query_as(
        "select holder, epoch, expires_at, expires_at > clock_timestamp()
           from cvsync.lease
          where name = $1",
    )
    .bind(NAME)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|(holder, epoch, expires_at, alive)| Leader {
        holder,
        epoch,
        expires_at,
        alive,
    }))
}
