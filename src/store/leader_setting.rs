//! The table `leader_setting`: the leader's settings that commands beside it need. No secrets.

use serde::Serialize;
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};

/// The value of one variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct LeaderSetting {
    /// `CVSYNC_…`.
    pub name: String,
    /// In its canonical form; `None` where nothing holds.
    pub value: Option<String>,
    /// `environment`, `default` or `unset`.
    pub origin: String,
}

/// Writes down the leader's settings in place of those of the leader before.
pub(crate) async fn record(
    tx: &mut PgConnection,
    settings: &[LeaderSetting],
) -> Result<(), StoreError> {
    let names: Vec<&str> = settings.iter().map(|it| it.name.as_str()).collect();
    let values: Vec<Option<&str>> = settings.iter().map(|it| it.value.as_deref()).collect();
    let origins: Vec<&str> = settings.iter().map(|it| it.origin.as_str()).collect();
    query("delete from cvsync.leader_setting where name <> all($1)")
        .bind(&names)
        .execute(&mut *tx)
        .await?;
    query(
        "insert into cvsync.leader_setting (name, value, origin)
         select * from unnest($1::text[], $2::text[], $3::text[])
         on conflict (name) do update
            set value       = excluded.value,
                origin      = excluded.origin,
                recorded_at = excluded.recorded_at",
    )
    .bind(names)
    .bind(values)
    .bind(origins)
    .execute(tx)
    .await?;
    Ok(())
}

/// The settings of the latest leader. Empty if none has led, or if the schema is older than this table.
pub(crate) async fn all(tx: &mut PgConnection) -> Result<Vec<LeaderSetting>, StoreError> {
    let is_there: bool = query_scalar("select to_regclass('cvsync.leader_setting') is not null")
        .fetch_one(&mut *tx)
        .await?;
    if !is_there {
        return Ok(Vec::new());
    }
    Ok(
        query_as("select name, value, origin from cvsync.leader_setting order by name")
            .fetch_all(tx)
            .await?,
    )
}
