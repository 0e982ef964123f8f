//! Statements that leave nothing behind in the session.
//!
//! sqlx gives every statement a name on the server unless it is told not to, even where its own cache is off: behind a
//! transaction-pooling PgBouncer the names of two clients meet in one session ("sqlx_s_1" already exists), and without one
//! they pile up. Hence these in place of sqlx's own (see clippy.toml).

#![allow(clippy::disallowed_methods, reason = "the one place that calls them")]

use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx::{AssertSqlSafe, Decode, FromRow, PgConnection, Type};

/// As [`sqlx::query()`].
pub(super) fn query(sql: &'static str) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(sql).persistent(false)
}

/// As [`sqlx::query_as()`].
pub(super) fn query_as<T>(sql: &'static str) -> QueryAs<'static, Postgres, T, PgArguments>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    sqlx::query_as(sql).persistent(false)
}

/// As [`sqlx::query_scalar()`].
pub(super) fn query_scalar<T>(sql: &'static str) -> QueryScalar<'static, Postgres, T, PgArguments>
where
    (T,): for<'r> FromRow<'r, PgRow>,
    T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    sqlx::query_scalar(sql).persistent(false)
}

/// Runs statements without parameters, and returns the one row of the last, which must have one. Each has a snapshot of its own.
///
/// One round trip, where [`query`] takes two for each statement. PostgreSQL answers in text, so times are to be asked for as
/// numbers: their text depends on the role's `DateStyle`. Values in `sql` must be ones that cannot hold a quote.
pub(super) async fn script<T>(tx: &mut PgConnection, sql: String) -> Result<T, sqlx::Error>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(tx).await?;
    T::from_row(rows.last().ok_or(sqlx::Error::RowNotFound)?)
}
