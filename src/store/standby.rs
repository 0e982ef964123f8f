//! Whether the server from which the mirror reads is a standby of the primary.

use super::about::refuse_look_alike;
use super::sql::query_as;
use super::{Store, StoreError};
use crate::config::{DATABASE_READ_URL, DATABASE_URL};

/// A server: of which system it is a copy, and whether it takes writes.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Server {
    version: String,
    system: String,
    /// `None` on a standby.
    timeline: Option<String>,
}

const SERVER: &str = "
    select current_setting('server_version') as version,
           (select system_identifier::text from pg_control_system()) as system,
           case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_lsn()), 8) end as timeline";

impl Store {
    /// Whether the mirror can read from this store while writes go to `primary`, in a sentence either way. Changes nothing.
    ///
    /// # Errors
    /// The obstacle, and what to do about it.
    pub async fn judge_reads(&self, primary: &Self) -> Result<String, String> {
        let reader = self.server().await.map_err(|error| error.to_string())?;
        let primary = primary.server().await.map_err(|error| {
            format!("it cannot be compared with the primary: {error}; see the line `database`")
        })?;
        reader.judge(&primary)
    }

    async fn server(&self) -> Result<Server, StoreError> {
        self.read("looking at the server", async |tx| {
            refuse_look_alike(tx).await?;
            Ok(query_as(SERVER).fetch_one(tx).await?)
        })
        .await
    }
}

impl Server {
    fn judge(&self, primary: &Self) -> Result<String, String> {
        let version = &self.version;
        if self.system != primary.system {
            return Err(format!(
                "PostgreSQL {version} does not belong to the server in {DATABASE_URL}: their system identifiers are {} and {}; name a physical standby of that server in {DATABASE_READ_URL}",
                self.system, primary.system
            ));
        }
        if self.timeline.is_none() {
            Ok(format!("PostgreSQL {version}, a standby of the primary"))
        } else if self.timeline == primary.timeline {
            Ok(format!(
                "PostgreSQL {version}, the primary itself; name a standby to take load off it"
            ))
        } else {
            Err(format!(
                "PostgreSQL {version} was promoted and no longer follows the server in {DATABASE_URL}; make it a standby again, or name another one in {DATABASE_READ_URL}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(system: &str, timeline: Option<&str>) -> Server {
        Server {
            version: "17.1".to_owned(),
            system: system.to_owned(),
            timeline: timeline.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn only_a_standby_of_the_primary_and_the_primary_itself_are_accepted() {
        let primary = server("1", Some("00000002"));
        for (reader, said) in [
            (server("1", None), Ok("a standby of the primary")),
            (primary.clone(), Ok("the primary itself")),
            (server("1", Some("00000003")), Err("was promoted")),
            (server("2", None), Err("system identifiers are 2 and 1")),
        ] {
            let judged = reader.judge(&primary);
            assert_eq!(judged.is_ok(), said.is_ok(), "{judged:?}");
            let (Ok(text) | Err(text)) = &judged;
            let (Ok(said) | Err(said)) = said;
            assert!(text.contains(said), "{text}");
        }
    }
}
