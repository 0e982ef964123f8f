//! The table `job_success`: when each job last succeeded, so that silence can be measured across restarts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as};
use crate::model::Job;

/// Records that the job has just succeeded.
pub(crate) async fn record(tx: &mut PgConnection, job: Job) -> Result<(), StoreError> {
    query(
        "insert into cvsync.job_success (job, at)
         values ($1, now())
         on conflict (job) do update set at = excluded.at",
    )
    .bind(job.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// The time at which each job last succeeded. Jobs of another version of cvsync are left out.
pub(crate) async fn all(tx: &mut PgConnection) -> Result<BTreeMap<Job, DateTime<Utc>>, StoreError> {
    let rows: Vec<(String, DateTime<Utc>)> = query_as("select job, at from cvsync.job_success")
        .fetch_all(tx)
        .await?;
    let known = rows.into_iter();
    Ok(known
        .filter_map(|(job, at)| Some((Job::of(&job)?, at)))
        .collect())
}

/// The same for the jobs that an operator sees.
pub(crate) async fn shown(
    tx: &mut PgConnection,
) -> Result<BTreeMap<Job, DateTime<Utc>>, StoreError> {
    let mut jobs = all(tx).await?;
    jobs.retain(|job, _| Job::SHOWN.contains(job));
    Ok(jobs)
}
