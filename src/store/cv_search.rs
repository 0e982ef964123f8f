//! The table `cv_search`: what CVs are found by, taken up from the change feed.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::sql::{query, query_scalar};
use super::{StoreError, cv_change, feed_consumer};

/// Its name among the consumers.
pub(crate) const CONSUMER: &str = "search";

/// Whether there is anything to take up. Locks and writes nothing, since it is asked all day.
pub(crate) async fn is_behind(tx: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(query_scalar(
        "select coalesce(
                    (select exists (select from cvsync.cv_change where cv_change.seq > consumer.seq)
                       from cvsync.feed_consumer as consumer
                      where name = $1),
                    true)",
    )
    .bind(CONSUMER)
    .fetch_one(tx)
    .await?)
}

/// The result of [`take_up`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TakenUp {
    pub changes: usize,
    /// CVs among them that PostgreSQL cannot index. Searches do not find them until they change.
    pub set_aside: i64,
}

/// Processes at most `limit` changes of the feed. A CV that PostgreSQL cannot index is set aside in `cv_unsearchable`.
///
/// One at a time does it, whoever leads: a slower one would put an older document over a newer one.
pub(crate) async fn take_up(tx: &mut PgConnection, limit: i64) -> Result<TakenUp, StoreError> {
    let from: Option<i64> = query_scalar(
        "select seq
           from cvsync.feed_consumer
          where name = $1
            for update",
    )
    .bind(CONSUMER)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(from) = from else {
        return begin_anew(tx).await.map(|()| TakenUp::default());
    };
    let changes = cv_change::between(tx, from, i64::MAX, limit).await?;
    let Some(last) = changes.last() else {
        return Ok(TakenUp::default());
    };
    // A removed CV is gone from here already.
    let ids: BTreeSet<Uuid> = changes.iter().map(|change| change.cv_id).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    query("select cvsync.make_searchable($1)")
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
    let set_aside =
        query_scalar("select count(*) from cvsync.cv_unsearchable where cv_id = any($1)")
            .bind(ids)
            .fetch_one(&mut *tx)
            .await?;
    feed_consumer::move_on(tx, CONSUMER, from, last.seq).await?;
    Ok(TakenUp {
        changes: changes.len(),
        set_aside,
    })
}

/// The number of CVs that PostgreSQL cannot index.
pub(crate) async fn set_aside(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(query_scalar("select count(*) from cvsync.cv_unsearchable")
        .fetch_one(tx)
        .await?)
}

/// Somebody dropped the consumer: everything that the feed still has is taken up once more.
async fn begin_anew(tx: &mut PgConnection) -> Result<(), StoreError> {
    query(
        "insert into cvsync.feed_consumer (name, seq)
         select $1, removed_seq
           from cvsync.feed
         on conflict (name) do nothing",
    )
    .bind(CONSUMER)
    .execute(tx)
    .await?;
    Ok(())
}
