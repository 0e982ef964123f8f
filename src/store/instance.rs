//! The table `instance`: who runs, when each was last seen, and what only it knows. Nothing rests on it: who leads is in `lease`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as};
use crate::model::health::Memory;

/// An instance that says nothing for so long is forgotten.
const KEPT: &str = "1 day";

/// An instance, as it was last seen.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Instance {
    pub name: String,
    pub version: String,
    pub started_at: DateTime<Utc>,
    /// When it was last seen.
    pub seen_at: DateTime<Utc>,
    /// Whether that is so long ago that it may be gone.
    pub silent: bool,
    /// The facts that only it knows.
    #[sqlx(try_from = "Option<String>")]
    pub memory: Memory,
}

/// JSON that this version cannot read tells nothing.
impl From<Option<String>> for Memory {
    fn from(json: Option<String>) -> Self {
        let memory = json.and_then(|json| serde_json::from_str(&json).ok());
        memory.unwrap_or_default()
    }
}

/// This one is here, and knows this.
pub(crate) async fn seen(
    tx: &mut PgConnection,
    name: &str,
    version: &str,
    memory: &Memory,
) -> Result<(), StoreError> {
    query(
        "insert into cvsync.instance (name, version, memory)
         values ($1, $2, $3::jsonb)
         on conflict (name) do update
            set seen_at = now(),
                memory  = excluded.memory",
    )
    .bind(name)
    .bind(version)
    .bind(json(memory))
    .execute(&mut *tx)
    .await?;
    query("delete from cvsync.instance where seen_at < now() - $1::interval")
        .bind(KEPT)
        .execute(tx)
        .await?;
    Ok(())
}

/// `jsonb` holds no NUL.
fn json(memory: &Memory) -> String {
    let mut value = serde_json::to_value(memory).unwrap_or_default();
    remove_nul(&mut value);
    value.to_string()
}

fn remove_nul(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(values) => values.iter_mut().for_each(remove_nul),
        Value::Object(values) => values.values_mut().for_each(remove_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Removes the row of an instance that stops.
pub(crate) async fn gone(tx: &mut PgConnection, name: &str) -> Result<(), StoreError> {
    query("delete from cvsync.instance where name = $1")
        .bind(name)
        .execute(tx)
        .await?;
    Ok(())
}

/// All that were seen lately, the latest first. Works with a schema in which instances do not say what they know, too.
pub(crate) async fn all(tx: &mut PgConnection) -> Result<Vec<Instance>, StoreError> {
    Ok(query_as(
        "select name, version, started_at, seen_at, seen_at < now() - interval '1 minute' as silent,
                to_jsonb(instance) ->> 'memory' as memory
           from cvsync.instance
          order by silent, started_at
          limit 20",
    )
    .fetch_all(tx)
    .await?)
}
