//! The table `leader_setting`: the leader's settings that commands beside it need. No secrets.

use std::time::Duration;

use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};
use crate::config::{Recorded, Shaping};

/// The value of one variable.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LeaderSetting {
    /// `CVSYNC_…`.
    pub name: String,
    /// In its canonical form; `None` where nothing holds.
    pub value: Option<String>,
    /// `environment`, `default` or `unset`.
    pub origin: String,
    /// Whether writers with different values store different data.
    pub shapes: bool,
}

impl LeaderSetting {
    #[must_use]
    pub fn recorded(&self) -> Recorded<'_> {
        Recorded {
            name: &self.name,
            value: self.value.as_deref(),
            origin: &self.origin,
            shapes: self.shapes,
        }
    }
}

/// Writes down the leader's settings in place of those of the leader before. Its process has run for `uptime`.
///
/// The start is reckoned by the database's clock, so that instances on different machines can be compared.
pub(crate) async fn record(
    tx: &mut PgConnection,
    settings: &[Shaping],
    uptime: Duration,
) -> Result<(), StoreError> {
    let names: Vec<&str> = settings.iter().map(|it| it.name).collect();
    let values: Vec<Option<&str>> = settings.iter().map(|it| it.value.as_deref()).collect();
    let origins: Vec<String> = settings.iter().map(|it| it.origin.to_string()).collect();
    let shapes: Vec<bool> = settings.iter().map(|it| it.shapes).collect();
    query("delete from cvsync.leader_setting where name <> all($1)")
        .bind(&names)
        .execute(&mut *tx)
        .await?;
    query(
        "insert into cvsync.leader_setting (name, value, origin, shapes, started_at)
         select name, value, origin, shapes, clock_timestamp() - make_interval(secs => $5)
           from unnest($1::text[], $2::text[], $3::text[], $4::bool[]) as setting (name, value, origin, shapes)
         on conflict (name) do update
            set value       = excluded.value,
                origin      = excluded.origin,
                shapes      = excluded.shapes,
                started_at  = excluded.started_at,
                recorded_at = excluded.recorded_at",
    )
    .bind(names)
    .bind(values)
    .bind(origins)
    .bind(shapes)
    .bind(uptime.as_secs_f64())
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
    Ok(query_as(
        "select name, value, origin,
                coalesce((to_jsonb(leader_setting) ->> 'shapes')::bool, false) as shapes
           from cvsync.leader_setting
          order by name",
    )
    .fetch_all(tx)
    .await?)
}

/// The settings of the latest leader, if its process started later than one that has run for `uptime`; otherwise empty. A start
/// in the future is not believed.
pub(crate) async fn of_later_start(
    tx: &mut PgConnection,
    uptime: Duration,
) -> Result<Vec<LeaderSetting>, StoreError> {
    Ok(query_as(
        "select name, value, origin, shapes
           from cvsync.leader_setting
          where started_at > clock_timestamp() - make_interval(secs => $1)
            and started_at <= clock_timestamp()
          order by name",
    )
    .bind(uptime.as_secs_f64())
    .fetch_all(tx)
    .await?)
}
