//! The schema and its migrations, which go forward only.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::migrate::{MigrateError, Migrator};

use super::sql::query_scalar;
use super::{Store, StoreError};

/// A migration may rewrite a table, and waits for another instance's.
const BEGIN_MIGRATION: &str = "begin;
    set local statement_timeout = 0;
    set local lock_timeout = 0;
    select pg_advisory_xact_lock(hashtext('cvsync.migrate'));
    deallocate all";

/// sqlx's migrator names its statements, and PgBouncer hands the session on.
const FORGET_STATEMENTS: &str = "deallocate all";

/// A migration may have to rewrite a table.
const MIGRATION: Duration = Duration::from_hours(6);

static MIGRATOR: Migrator = sqlx::migrate!();

/// Migrations of the database against those of this cvsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// There is nothing to migrate.
    Current,
    /// Some migrations, or all, are still to be applied.
    Behind,
    /// It has migrations that this cvsync does not know.
    Newer,
}

impl Schema {
    /// Compares the applied migrations, in order.
    fn of(applied: &[i64]) -> Self {
        let known: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
        if applied.iter().any(|version| !known.contains(version)) {
            Self::Newer
        } else if applied.len() < known.len() {
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
                    .fetch_all(tx)
                    .await?;
        }
        Ok(Self::of(&applied))
    }
}

impl Store {
    /// Brings the schema up to date. Instances that do so at once wait for each other.
    ///
    /// All pending migrations run in one transaction, under a lock that ends with it. A role that may not change the
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
        self.write_apart("migrating the schema", BEGIN_MIGRATION, keep, apply)
            .await
    }

    /// Makes sure that no migration was undone, as an older backup does. Newer ones may be there: an instance that is newer made them.
    ///
    /// # Errors
    /// [`StoreError::Gone`] if one is missing.
    pub async fn check_schema(tx: &mut PgConnection) -> Result<(), StoreError> {
        let applied: Vec<i64> = query_scalar("select version from cvsync.migration where success")
            .fetch_all(tx)
            .await?;
        let missing = MIGRATOR
            .iter()
            .find(|migration| !applied.contains(&migration.version));
        missing.map_or(Ok(()), |migration| {
            Err(StoreError::Gone(format!(
                "its schema is older than this cvsync (it has no migration {}); was a backup restored?",
                migration.version
            )))
        })
    }
}

async fn apply(tx: &mut PgConnection) -> Result<(), StoreError> {
    // `create schema if not exists` needs the right to create one, even where it exists: the owner of the schema alone lacks it.
    let has_schema: bool = query_scalar("select to_regnamespace('cvsync') is not null")
        .fetch_one(&mut *tx)
        .await?;
    let missing = if has_schema {
        Vec::new()
    } else {
        vec!["cvsync".into()]
    };
    let migrator = Migrator {
        migrations: MIGRATOR.migrations.clone(),
        ignore_missing: false,
        locking: false,
        no_tx: false,
        table_name: "cvsync.migration".into(),
        create_schemas: missing.into(),
    };
    migrator
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(migration_error)?;
    sqlx::raw_sql(FORGET_STATEMENTS).execute(tx).await?;
    Ok(())
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
