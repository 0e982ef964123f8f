//! The table `quota_loan`: calls that tools want to make out of the leader's quota, until they have them.

use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};

/// A row that nobody took back is of no use to anybody after this time.
const FORGOTTEN: &str = "1 minute";

/// Calls that somebody waits for.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct QuotaLoan {
    pub id: i64,
    pub operation: String,
    /// How many; at most 50.
    pub calls: i32,
}

/// Asks for calls; the number to look for.
pub(crate) async fn ask(
    tx: &mut PgConnection,
    operation: &str,
    calls: u32,
) -> Result<i64, StoreError> {
    query("delete from cvsync.quota_loan where asked_at < now() - $1::interval")
        .bind(FORGOTTEN)
        .execute(&mut *tx)
        .await?;
    Ok(query_scalar(
        "insert into cvsync.quota_loan (operation, calls)
         values ($1, $2)
         returning id",
    )
    .bind(operation)
    .bind(i32::try_from(calls).unwrap_or(i32::MAX))
    .fetch_one(tx)
    .await?)
}

/// Whether they are granted; then the row has done its duty and is gone.
pub(crate) async fn collect(tx: &mut PgConnection, id: i64) -> Result<bool, StoreError> {
    let collected = query(
        "delete from cvsync.quota_loan
          where id = $1
            and granted_at is not null",
    )
    .bind(id)
    .execute(tx)
    .await?;
    Ok(collected.rows_affected() == 1)
}

/// They are not wanted any longer.
pub(crate) async fn withdraw(tx: &mut PgConnection, id: i64) -> Result<(), StoreError> {
    query("delete from cvsync.quota_loan where id = $1")
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}

/// The request that has waited longest.
pub(crate) async fn waiting(tx: &mut PgConnection) -> Result<Option<QuotaLoan>, StoreError> {
    Ok(query_as(
        "select id, operation, calls
           from cvsync.quota_loan
          where granted_at is null
            and asked_at > now() - $1::interval
          order by id
          limit 1",
    )
    .bind(FORGOTTEN)
    .fetch_optional(tx)
    .await?)
}

/// They may be made now.
pub(crate) async fn grant(tx: &mut PgConnection, id: i64) -> Result<(), StoreError> {
    query("update cvsync.quota_loan set granted_at = clock_timestamp() where id = $1")
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}
