//! Facts about all stored CVs for a register of processing: whose, who may read them, since when they are here.

use serde::Serialize;
use sqlx::PgConnection;

use super::sql::{query_as, query_scalar};
use super::{StoreError, cv, mirror};
use crate::model::CvId;

/// CVs whose documents show which fields are stored.
pub(crate) const SAMPLED: i64 = 500;

/// The most roles that are listed.
const MOST_ROLES: i64 = 500;

/// CVs by the time since they were first stored.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct FirstStored {
    pub within_a_day: i64,
    pub within_a_month: i64,
    pub within_a_year: i64,
    pub longer_ago: i64,
}

/// A role of the server that may read CVs.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Reader {
    pub role: String,
    /// Whether it can log in itself, instead of being granted to others.
    pub logs_in: bool,
    /// `superuser`, `documents`, `identity` (the view `persoon`) or `views` (others).
    pub reads: String,
}

/// Encryption of this connection.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Tls {
    pub version: Option<String>,
    pub cipher: Option<String>,
}

pub(crate) async fn first_stored(tx: &mut PgConnection) -> Result<FirstStored, StoreError> {
    Ok(query_as(
        "select count(*) filter (where age <= interval '1 day') as within_a_day,
                count(*) filter (where age > interval '1 day' and age <= interval '30 days') as within_a_month,
                count(*) filter (where age > interval '30 days' and age <= interval '365 days') as within_a_year,
                count(*) filter (where age > interval '365 days') as longer_ago
           from (select now() - first_seen_at as age from cvsync.cv) as stored",
    )
    .fetch_one(tx)
    .await?)
}

/// The documents of a random sample, as JSON.
pub(crate) async fn sample(tx: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    use futures_util::TryStreamExt;
    let ids: Vec<_> = cv::sample(&mut *tx, SAMPLED).await?;
    let ids: Vec<_> = ids.into_iter().map(|CvId(id)| id).collect();
    let documents = mirror::documents(tx, &ids);
    documents
        .map_ok(|document| document.json)
        .try_collect()
        .await
}

/// The roles that may read CVs, without those that PostgreSQL has of its own.
pub(crate) async fn readers(tx: &mut PgConnection) -> Result<Vec<Reader>, StoreError> {
    Ok(query_as(
        "select role, logs_in, reads
           from (select rolname::text as role,
                        rolcanlogin as logs_in,
                        case
                            when rolsuper then 'superuser'
                            when not has_schema_privilege(oid, 'cvsync', 'usage') then null
                            when has_any_column_privilege(oid, 'cvsync.cv', 'select') then 'documents'
                            when has_any_column_privilege(oid, 'cvsync.persoon', 'select') then 'identity'
                            when has_any_column_privilege(oid, 'cvsync.kandidaat', 'select') then 'views'
                        end as reads
                   from pg_roles
                  where rolname !~ '^pg_') as roles
          where reads is not null
          order by role
          limit $1",
    )
    .bind(MOST_ROLES)
    .fetch_all(tx)
    .await?)
}

/// The encryption of this connection, unless it has none.
pub(crate) async fn tls(tx: &mut PgConnection) -> Result<Option<Tls>, StoreError> {
    Ok(
        query_as("select version, cipher from pg_stat_ssl where pid = pg_backend_pid() and ssl")
            .fetch_optional(tx)
            .await?,
    )
}

/// The tables that hold ids of CVs.
pub(crate) async fn tables(tx: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    Ok(query_scalar(
        "select distinct table_name::text
           from information_schema.columns
           join information_schema.tables using (table_schema, table_name)
          where table_schema = 'cvsync'
            and table_type = 'BASE TABLE'
            and (column_name = 'cv_id' or udt_name = '_uuid')
          order by 1",
    )
    .fetch_all(tx)
    .await?)
}
