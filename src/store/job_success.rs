//! The table `job_success`: when a job last came to its end, so that silence can be measured across restarts.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as};

/// The job has just come to its end.
pub async fn record(tx: &mut PgConnection, job: &str) -> Result<(), StoreError> {
    query(
        "insert into cvsync.job_success (job, at)
         values ($1, now())
         on conflict (job) do update set at = excluded.at",
    )
    .bind(job)
    .execute(tx)
    .await?;
    Ok(())
}

/// The same for the jobs that a person knows of. The others are marks of our own, such as that tombstones were forgotten.
pub async fn told(tx: &mut PgConnection) -> Result<Vec<(String, DateTime<Utc>)>, StoreError> {
    Ok(query_as(
        "select job, at
           from cvsync.job_success
          where job in ('sync', 'reconcile', 'relist', 'reference')
          order by job",
    )
    .fetch_all(tx)
    .await?)
}

/// Every job that ever came to its end, and when it last did.
pub async fn all(tx: &mut PgConnection) -> Result<Vec<(String, DateTime<Utc>)>, StoreError> {
    Ok(
        query_as("select job, at from cvsync.job_success order by job")
            .fetch_all(tx)
            .await?,
    )
}
