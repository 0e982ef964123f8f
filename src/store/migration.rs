//! The schema and its migrations, which go forward only.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr};

use super::sql::{query, query_as, query_scalar};
use super::{Store, StoreError};

/// A migration may rewrite a table. It waits for another instance's, and for readers, no longer than this: a table for which it
/// waits takes no new readers meanwhile.
const BEGIN_MIGRATION: &str = "begin;
    set local statement_timeout = 0;
    set local lock_timeout = '30s';
    deallocate all";

/// Admits one migration at a time. Only roles that may write the table can take this lock.
const TAKE_TURN: &str = "lock table cvsync.migration in share row exclusive mode";

/// Statements of released migrations that take advisory locks, and their replacements. Any login can hold such a lock for as long as
/// it likes.
const ADVISORY_LOCKS: [(&str, &str); 2] = [
    (
        "perform pg_advisory_xact_lock(hashtext('cvsync.migrate'));",
        "null;",
    ),
    (
        "select pg_advisory_xact_lock(hashtext('cvsync.cv_change'));",
        "lock table cvsync.cv_change in exclusive mode;",
    ),
];

/// How often several processes may find that another one has just created the schema.
const ATTEMPTS: u32 = 5;

/// sqlx's migrator names its statements, and PgBouncer hands the session on.
const FORGET_STATEMENTS: &str = "deallocate all";

/// A migration may have to rewrite a table.
const MIGRATION: Duration = Duration::from_hours(6);

/// Why a schema cannot be used that serves newer versions only, and what to do.
pub(super) const NEWER: &str =
    "its schema is newer than this cvsync; run the newer version of cvsync";

static MIGRATOR: Migrator = sqlx::migrate!();

/// Migrations of the database against those of this cvsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// There is nothing to migrate. There may be migrations that this cvsync does not know, if the schema says that it may run.
    Current,
    /// Some migrations, or all, are still to be applied.
    Behind,
    /// It serves newer versions only.
    Newer,
}

impl Schema {
    /// Compares the applied migrations with those of this cvsync. `oldest` is the newest migration of the oldest version that the
    /// schema serves; a schema from before it was stored does not have it.
    fn of(applied: &[i64], oldest: Option<i64>) -> Self {
        let known = known();
        if applied.iter().any(|version| !known.contains(version)) && !serves(oldest) {
            Self::Newer
        } else if known.iter().any(|version| !applied.contains(version)) {
            Self::Behind
        } else {
            Self::Current
        }
    }

    /// Reads the applied migrations.
    ///
    /// # Errors
    /// [`StoreError`], also where this role may not read them.
    pub(super) async fn read(tx: &mut PgConnection) -> Result<Self, StoreError> {
        // Read from the catalogue: `to_regclass` fails for a role that may not use the schema.
        let there: bool = query_scalar(
            "select exists (select from pg_class
                              join pg_namespace n on n.oid = relnamespace
                             where nspname = 'cvsync' and relname = 'migration')",
        )
        .fetch_one(&mut *tx)
        .await?;
        let mut applied: Vec<i64> = Vec::new();
        if there {
            applied =
                query_scalar("select version from cvsync.migration where success order by version")
                    .fetch_all(&mut *tx)
                    .await?;
        }
        let oldest = if there { oldest(tx).await? } else { None };
        Ok(Self::of(&applied, oldest))
    }
}

fn known() -> Vec<i64> {
    MIGRATOR.iter().map(|migration| migration.version).collect()
}

/// Whether a schema that has migrations unknown to this cvsync serves it all the same.
fn serves(oldest: Option<i64>) -> bool {
    let newest_known = known().into_iter().max();
    oldest.is_some_and(|oldest| newest_known >= Some(oldest))
}

/// The newest migration of the oldest version that the schema serves, where it says so.
async fn oldest(tx: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let there: bool = query_scalar("select to_regclass('cvsync.compatibility') is not null")
        .fetch_one(&mut *tx)
        .await?;
    if !there {
        return Ok(None);
    }
    Ok(query_scalar("select oldest from cvsync.compatibility")
        .fetch_optional(tx)
        .await?)
}

impl Store {
    /// Brings the schema up to date. Instances that do so at once wait for each other.
    ///
    /// All pending migrations run in one transaction, under a lock on `cvsync.migration` that ends with it. A role that may not change the
    /// schema is enough where there is nothing to migrate.
    ///
    /// # Errors
    /// [`StoreError`]; the schema is then as it was.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let about = self.about().await?;
        if about.is_migrated() {
            return Ok(());
        }
        about.judge().map_err(|obstacle| {
            if about.is_read_only() {
                StoreError::ReadOnly(obstacle)
            } else {
                StoreError::Broken(obstacle)
            }
        })?;
        self.within(MIGRATION).run_migrations(true).await
    }

    /// Tries whether all migrations can be applied, and undoes them.
    ///
    /// # Errors
    /// The error that [`migrate`](Self::migrate) would return.
    pub async fn try_migrations(&self) -> Result<(), StoreError> {
        self.run_migrations(false).await
    }

    async fn run_migrations(&self, keep: bool) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let run = self.write_apart("migrating the schema", BEGIN_MIGRATION, keep, apply);
            if run.await? {
                return Ok(());
            }
        }
        Err(StoreError::Statement(
            "other processes create the schema at the same time; try again".to_owned(),
        ))
    }

    /// Makes sure that no migration was undone, as an older backup does, and that the schema still serves this cvsync: an instance
    /// that is newer may have migrated it.
    ///
    /// # Errors
    /// [`StoreError::Gone`] if a migration is missing; [`StoreError::Broken`] if the schema serves newer versions only.
    pub async fn check_schema(tx: &mut PgConnection) -> Result<(), StoreError> {
        let applied: Vec<i64> = query_scalar("select version from cvsync.migration where success")
            .fetch_all(&mut *tx)
            .await?;
        let known = known();
        if let Some(missing) = known.iter().find(|version| !applied.contains(version)) {
            return Err(StoreError::Gone(format!(
                "its schema is older than this cvsync (it has no migration {missing}); was a backup restored?"
            )));
        }
        if applied.len() > known.len() && !serves(oldest(tx).await?) {
            return Err(StoreError::Broken(NEWER.to_owned()));
        }
        Ok(())
    }
}

/// False if another process has just created the schema. Then the transaction has failed.
async fn apply(tx: &mut PgConnection) -> Result<bool, StoreError> {
    // `create schema if not exists` needs the right to create one, even where it exists: the owner of the schema alone lacks it.
    let (has_schema, has_table): (bool, bool) = query_as(
        "select to_regnamespace('cvsync') is not null, to_regclass('cvsync.migration') is not null",
    )
    .fetch_one(&mut *tx)
    .await?;
    if has_table {
        query(TAKE_TURN).execute(&mut *tx).await?;
    }
    let missing = if has_schema {
        Vec::new()
    } else {
        vec!["cvsync".into()]
    };
    let migrator = Migrator {
        migrations: MIGRATOR.iter().map(without_advisory_locks).collect(),
        ignore_missing: false,
        locking: false,
        no_tx: false,
        table_name: "cvsync.migration".into(),
        create_schemas: missing.into(),
    };
    match migrator.run_direct(None, &mut *tx, false).await {
        Err(MigrateError::Execute(error)) if !has_table && exists_by_now(&error) => {
            return Ok(false);
        }
        done => done.map_err(migration_error)?,
    }
    sqlx::raw_sql(FORGET_STATEMENTS).execute(tx).await?;
    Ok(true)
}

/// Keeps the checksum, by which the migration is recognised.
fn without_advisory_locks(migration: &Migration) -> Migration {
    let mut sql = migration.sql.as_str().to_owned();
    for (lock, replacement) in ADVISORY_LOCKS {
        sql = sql.replace(lock, replacement);
    }
    Migration {
        sql: AssertSqlSafe(sql).into_sql_str(),
        ..migration.clone()
    }
}

/// Whether a schema or a table could not be created because another transaction has created it since.
fn exists_by_now(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "23505" | "42P06" | "42P07" | "42710"))
}

fn migration_error(error: MigrateError) -> StoreError {
    use MigrateError as E;
    match error {
        E::Execute(error) | E::ExecuteMigration(error, _) => error.into(),
        E::VersionMissing(version) => StoreError::Broken(format!(
            "its schema is newer than this cvsync (it has migration {version}); run the newer version"
        )),
        E::VersionMismatch(version) => StoreError::Broken(format!(
            "its migration {version} is not the one that this cvsync knows; was it made by an unreleased version?"
        )),
        _ => StoreError::Broken("its migrations cannot be read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_migration_takes_an_advisory_lock() {
        let mut replaced = 0;
        for migration in MIGRATOR.iter() {
            let without = without_advisory_locks(migration);
            assert_eq!(without.checksum, migration.checksum);
            let sql = without.sql.as_str();
            assert!(!sql.contains("pg_advisory"), "{}", migration.version);
            replaced += usize::from(sql != migration.sql.as_str());
        }
        assert_eq!(replaced, 3);
    }
}
