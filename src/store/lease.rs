//! The table `lease`: one leader among many instances, and the epoch that fences the others off.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::sql::{query, query_as, script};
use super::{StoreError, feed, suppressed_cv};

/// The one lease there is.
const NAME: &str = "sync";

/// How long a leader that says nothing keeps its place, in seconds.
pub const TTL: f64 = 10.0;

/// A lease that ran out so long ago, in seconds, may come from a snapshot of the database. Restarts take less.
const LONG_AGO: f64 = 600.0;

/// The holder of the lease, as every instance sees it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Leader {
    pub holder: String,
    pub epoch: i64,
    pub expires_at: DateTime<Utc>,
    /// Whether the lease has not expired.
    pub alive: bool,
    /// When a leader last noticed that the database had lost commits.
    pub history_lost_at: Option<DateTime<Utc>>,
}

/// The lease as its holder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub holder: String,
    pub epoch: i64,
    /// Write transactions of leaders that are committed, as far as the database has acknowledged them to this holder.
    pub writes: i64,
}

/// The state of a lease that an instance holds, by the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    Kept,
    TakenOver,
    /// The database no longer has commits that it acknowledged to this holder.
    Lost,
    /// Another server answers, or the database was restored. Nothing that this holder committed is missing, but
    /// commits of others may be.
    Moved,
}

/// Takes the lease where nobody holds it, and returns it.
///
/// Commits may be missing if another server answers than at the takeover before, or if the lease ran out long ago: that is also
/// what an old snapshot looks like. Then every CV that is confirmed is announced.
pub async fn take(tx: &mut PgConnection, holder: &str) -> Result<Option<Held>, StoreError> {
    let taken: Option<(i64, i64, bool)> = query_as(
        "with before as materialized (
             select home, expires_at
               from cvsync.lease
              where name = $1
         )
         insert into cvsync.lease as held (name, holder, epoch, expires_at, home)
         values ($1, $2, 1, clock_timestamp() + make_interval(secs => $3), cvsync.home())
         on conflict (name) do update
            set holder     = excluded.holder,
                epoch      = held.epoch + 1,
                expires_at = excluded.expires_at,
                home       = excluded.home
          where held.expires_at <= clock_timestamp()
         returning epoch, writes,
                   coalesce((select home not in ('', held.home) or expires_at < now() - make_interval(secs => $4)
                               from before), false)",
    )
    .bind(NAME)
    .bind(holder)
    .bind(TTL)
    .bind(LONG_AGO)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((epoch, writes, may_miss_commits)) = taken else {
        return Ok(None);
    };
    if may_miss_commits {
        make_good(tx).await?;
    }
    Ok(Some(Held {
        holder: holder.to_owned(),
        epoch,
        writes,
    }))
}

/// Keeps the lease. One that ran out is still its holder's until another instance takes it.
///
/// # Errors
/// [`StoreError::Gone`] if there is no lease at all: nobody removes it from a database that cvsync works in.
pub async fn renew(tx: &mut PgConnection, held: &Held) -> Result<Tenure, StoreError> {
    let row = query_as(
        "update cvsync.lease
            set expires_at = clock_timestamp() + make_interval(secs => $4)
          where name = $1
            and epoch = $2
            and holder = $3
         returning writes, home = cvsync.home()",
    )
    .bind(NAME)
    .bind(held.epoch)
    .bind(&held.holder)
    .bind(TTL)
    .fetch_optional(&mut *tx)
    .await?;
    tenure(tx, held, row).await
}

/// Compares the row of the holder, if there is one, with what the holder knows.
async fn tenure(
    tx: &mut PgConnection,
    held: &Held,
    row: Option<(i64, bool)>,
) -> Result<Tenure, StoreError> {
    let Some((writes, is_home)) = row else {
        let leader = leader(tx).await?.ok_or_else(|| {
            StoreError::Gone(
                "its lease is gone; was the database emptied or created anew?".to_owned(),
            )
        })?;
        // Epochs only grow, so an older one, or the same for another holder, is what a lost takeover leaves.
        return Ok(if leader.epoch > held.epoch {
            Tenure::TakenOver
        } else {
            Tenure::Lost
        });
    };
    Ok(if writes < held.writes {
        Tenure::Lost
    } else if is_home {
        Tenure::Kept
    } else {
        Tenure::Moved
    })
}

/// Gives it up, so that another instance need not wait until it runs out.
pub async fn give_up(tx: &mut PgConnection, held: &Held) -> Result<(), StoreError> {
    query(
        "update cvsync.lease
            set expires_at = clock_timestamp()
          where name = $1
            and epoch = $2
            and holder = $3",
    )
    .bind(NAME)
    .bind(held.epoch)
    .bind(&held.holder)
    .execute(tx)
    .await?;
    Ok(())
}

/// Records that the database has lost commits, whoever holds the lease now. From here on every CV that is confirmed is announced.
pub(crate) async fn report_loss(tx: &mut PgConnection) -> Result<(), StoreError> {
    make_good(&mut *tx).await?;
    query("update cvsync.lease set history_lost_at = now() where name = $1")
        .bind(NAME)
        .execute(tx)
        .await?;
    Ok(())
}

/// From here on every CV that is confirmed is announced. Suppressed CVs are never confirmed, so they are announced at once.
async fn make_good(tx: &mut PgConnection) -> Result<(), StoreError> {
    feed::announce(&mut *tx).await?;
    suppressed_cv::announce(tx).await
}

/// Makes sure that this instance still leads, that the database holds everything that it acknowledged to it, and that none takes
/// over before the transaction ends.
///
/// `for key share`, since `epoch` is part of a key (the index `lease_epoch`): a takeover, which changes it, waits, and the
/// holder's own renewal does not. `for share` would let a long write cost its leader the lease.
///
/// # Errors
/// [`StoreError::Fenced`] if another instance leads; [`StoreError::HistoryLost`] if the database may have lost commits.
pub async fn hold(tx: &mut PgConnection, held: &Held) -> Result<(), StoreError> {
    let row = script(
        tx,
        format!(
            "select holder, writes, home = cvsync.home()
               from cvsync.lease
              where name = '{NAME}'
                and epoch = {}
                for key share",
            held.epoch
        ),
    );
    let row: Option<(String, i64, bool)> = match row.await {
        Err(sqlx::Error::RowNotFound) => None,
        row => Some(row?),
    };
    let row = row.filter(|(holder, ..)| *holder == held.holder);
    let row = row.map(|(_, writes, is_home)| (writes, is_home));
    match tenure(tx, held, row).await? {
        Tenure::Kept => Ok(()),
        Tenure::TakenOver => Err(StoreError::Fenced),
        Tenure::Lost | Tenure::Moved => Err(StoreError::HistoryLost),
    }
}

/// Counts a write transaction of the leader, as its last statement; returns the count. Two at once wait here for each other, and
/// so do renewals: a connection that is cut off before the commit holds them up for four seconds at most.
pub(crate) async fn count_write(tx: &mut PgConnection) -> Result<i64, StoreError> {
    let (writes, _): (i64, String) = script(
        tx,
        format!(
            "update cvsync.lease
                set writes = writes + 1
              where name = '{NAME}'
             returning writes, set_config('idle_in_transaction_session_timeout', '4s', true)"
        ),
    )
    .await?;
    Ok(writes)
}

/// The server's history as a transaction finds it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct History {
    /// As in the column `home`.
    home: String,
    /// Write transactions of leaders that are committed.
    writes: i64,
}

impl History {
    /// Whether everything that was committed by `before` can still be here.
    pub(super) fn continues(&self, before: &Self) -> bool {
        self.home == before.home && self.writes >= before.writes
    }
}

pub(super) async fn history(tx: &mut PgConnection) -> Result<History, StoreError> {
    Ok(query_as(
        "select cvsync.home() as home,
                coalesce((select writes from cvsync.lease where name = $1), 0) as writes",
    )
    .bind(NAME)
    .fetch_one(tx)
    .await?)
}

/// The instance that leads, or led last.
pub async fn leader(tx: &mut PgConnection) -> Result<Option<Leader>, StoreError> {
    Ok(query_as(
        "select holder, epoch, expires_at, expires_at > clock_timestamp() as alive, history_lost_at
           from cvsync.lease
          where name = $1",
    )
    .bind(NAME)
    .fetch_optional(tx)
    .await?)
}
