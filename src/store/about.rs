//! Whether cvsync can work in a database under its role, and which statement is missing where it cannot.

use sqlx::PgConnection;

use super::migration::{NEWER, Schema};
use super::sql::{query_as, query_scalar};
use super::{Store, StoreError};

/// The oldest PostgreSQL that works, as `server_version_num`.
const OLDEST: i32 = 140_000;

/// From so many missing grants on, the statements for the whole schema are shorter.
const MANY: usize = 5;

/// The server, the database and the rights of this role. See [`Store::about`].
#[derive(Clone, Debug)]
pub struct About {
    server: Server,
    schema: State,
}

#[expect(clippy::struct_excessive_bools, reason = "a row of independent facts")]
#[derive(Clone, Debug, sqlx::FromRow)]
struct Server {
    version_num: i32,
    version: String,
    encoding: String,
    in_recovery: bool,
    read_only: bool,
    /// Quoted, to be part of a statement.
    database: String,
    /// Quoted, to be part of a statement.
    role: String,
    may_create_schema: bool,
    has_schema: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// There is no schema.
    Missing,
    /// This role may not even read which migrations were applied.
    Closed { missing: Vec<String> },
    /// This role may not migrate, which is due: the owner may.
    BehindOf { owner: String },
    /// This role may migrate, which is due.
    Behind,
    /// It serves newer versions only.
    Newer,
    /// It is up to date, but for these grants.
    Current { missing: Vec<String> },
}

/// Servers that speak PostgreSQL's protocol: a part of their `version()`, their name, and the parts of PostgreSQL that they lack.
const LOOK_ALIKES: [(&str, &str, &str); 2] = [
    (
        "CockroachDB",
        "CockroachDB",
        "LISTEN and NOTIFY, and publications for logical replication",
    ),
    (
        "-YB-",
        "YugabyteDB",
        "LISTEN and NOTIFY unless they are enabled, and PostgreSQL's WAL",
    ),
];

/// Parts of PostgreSQL that cvsync needs and that a server lacks whose `version()` does not give it away.
const LACKS: &str = "
    select array_remove(
               array[
                   case when not exists (select from pg_proc where proname = 'pg_notify') then 'LISTEN and NOTIFY' end,
                   case when not exists (select from pg_ts_config where cfgname = 'dutch') then 'text search in Dutch' end,
                   case when not exists (select from pg_proc where proname = 'pg_current_wal_lsn') then 'WAL positions' end,
                   case when not exists (select from pg_language where lanname = 'plpgsql') then 'the language plpgsql' end
               ],
               null)";

const SERVER: &str = "
    select current_setting('server_version_num')::int as version_num,
           current_setting('server_version') as version,
           current_setting('server_encoding') as encoding,
           pg_is_in_recovery() as in_recovery,
           current_setting('default_transaction_read_only')::boolean as read_only,
           quote_ident(current_database()) as database,
           quote_ident(current_user) as role,
           has_database_privilege(current_database(), 'create') as may_create_schema,
           to_regnamespace('cvsync') is not null as has_schema";

/// The owner of the schema, whether this role may change it, and whether it may read which migrations were applied.
const OWNER: &str = "
    select quote_ident(pg_get_userbyid(nspowner)),
           has_schema_privilege(n.oid, 'create') and has_schema_privilege(n.oid, 'usage'),
           has_schema_privilege(n.oid, 'usage')
               and not exists (select from pg_class where relnamespace = n.oid and relname = 'migration'
                                                      and not has_table_privilege(oid, 'select'))
      from pg_namespace n where nspname = 'cvsync'";

/// The grants of docs/database.md that this role lacks, as statements. Objects of another owner in the schema are not cvsync's.
const MISSING: &str = "
    with schema as (
        select n.oid, relowner as owner
          from pg_namespace n left join pg_class on relnamespace = n.oid and relname = 'migration'
         where nspname = 'cvsync'
    ),
    wanted as (
        select c.oid, relname, privilege, place
          from schema join pg_class c on relnamespace = schema.oid and relowner = owner
         cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) with ordinality as p (privilege, place)
         where relkind in ('r', 'p') and (relname <> 'migration' or place = 1)
            or relkind = 'v' and place = 1
    )
    select format('GRANT USAGE ON SCHEMA cvsync TO %I', current_user)
      from schema where not has_schema_privilege(schema.oid, 'usage')
    union all
    (select format('GRANT %s ON cvsync.%I TO %I', string_agg(privilege, ', ' order by place), relname, current_user)
      from wanted where not has_table_privilege(oid, privilege)
     group by relname order by relname)
    union all
    (select format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, current_user)
      from schema join pg_proc p on pronamespace = schema.oid and proowner = owner
     where prorettype <> 'trigger'::regtype and not has_function_privilege(p.oid, 'execute')
     order by 1)";

impl Store {
    /// Looks at the server, the database, the schema and the rights of this role. Changes nothing.
    ///
    /// # Errors
    /// The reason why the database cannot be asked.
    pub async fn about(&self) -> Result<About, StoreError> {
        self.read("looking at the database", async |tx| {
            refuse_look_alike(tx).await?;
            let server: Server = query_as(SERVER).fetch_one(&mut *tx).await?;
            let schema = if server.has_schema {
                State::read(tx).await?
            } else {
                State::Missing
            };
            Ok(About { server, schema })
        })
        .await
    }
}

/// Refuses a server that only speaks PostgreSQL's protocol, before a question fails that it does not understand.
pub(super) async fn refuse_look_alike(tx: &mut PgConnection) -> Result<(), StoreError> {
    let version: String = query_scalar("select version()").fetch_one(&mut *tx).await?;
    let known = LOOK_ALIKES.iter().find(|(part, ..)| version.contains(part));
    if let Some((_, name, lacks)) = known {
        return Err(not_postgresql(name, lacks));
    }
    let lacks: Vec<String> = query_scalar(LACKS).fetch_one(tx).await?;
    if lacks.is_empty() {
        Ok(())
    } else {
        Err(not_postgresql(
            "not a complete PostgreSQL",
            &lacks.join(", "),
        ))
    }
}

fn not_postgresql(name: &str, lacks: &str) -> StoreError {
    StoreError::Broken(format!(
        "the server in CVSYNC_DATABASE_URL is {name}: it lacks {lacks}; use PostgreSQL 14 or newer"
    ))
}

impl State {
    /// Of a schema that is there.
    async fn read(tx: &mut PgConnection) -> Result<Self, StoreError> {
        let (owner, may_migrate, may_read): (String, bool, bool) =
            query_as(OWNER).fetch_one(&mut *tx).await?;
        let missing: Vec<String> = query_scalar(MISSING).fetch_all(&mut *tx).await?;
        if !may_read {
            return Ok(Self::Closed { missing });
        }
        Ok(match Schema::read(tx).await? {
            Schema::Current => Self::Current { missing },
            Schema::Newer => Self::Newer,
            Schema::Behind if may_migrate => Self::Behind,
            Schema::Behind => Self::BehindOf { owner },
        })
    }
}

impl About {
    /// Whether there is nothing to migrate.
    #[must_use]
    pub fn is_migrated(&self) -> bool {
        matches!(self.schema, State::Current { .. })
    }

    /// Whether the server takes no writes, now or by default.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.server.in_recovery || self.server.read_only
    }

    /// Whether there is nothing yet that belongs to cvsync.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.schema == State::Missing
    }

    /// Whether cvsync can work there, in a sentence either way.
    ///
    /// # Errors
    /// The obstacle, and the statement or command that removes it.
    pub fn judge(&self) -> Result<String, String> {
        let Server {
            version,
            database,
            role,
            ..
        } = &self.server;
        let is_utf8 = self.server.encoding == "UTF8";
        let mut server = format!("PostgreSQL {version}");
        if self.server.version_num < OLDEST {
            return Err(format!(
                "{server} is too old; upgrade it to PostgreSQL 14 or newer"
            ));
        }
        if !is_utf8 && self.is_empty() {
            return Err(format!(
                "the database {database} has the encoding {}, and CVs need UTF8; create another and name it in CVSYNC_DATABASE_URL: CREATE DATABASE cvsync_utf8 ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0",
                self.server.encoding
            ));
        }
        if self.server.in_recovery {
            return Err(format!(
                "{server} is a read-only standby; name the primary in CVSYNC_DATABASE_URL"
            ));
        }
        if self.server.read_only {
            return Err(format!(
                "transactions are read-only by default; turn that off: ALTER ROLE {role} SET default_transaction_read_only = off"
            ));
        }
        if !is_utf8 {
            server += " with the encoding ";
            server += &self.server.encoding;
            server += ", in which not every CV can be stored or found";
        }
        match &self.schema {
            State::Missing if self.server.may_create_schema => Ok(format!(
                "{server}, without cvsync's schema as yet; `cvsync run` creates it"
            )),
            State::Missing => Err(format!(
                "the database {database} has no schema cvsync, and the role {role} may not create it; run `cvsync migrate` as its owner, or: GRANT CREATE ON DATABASE {database} TO {role}"
            )),
            State::Behind => Ok(format!(
                "{server}, with cvsync's schema, which `cvsync run` brings up to date"
            )),
            State::BehindOf { owner } => Err(format!(
                "cvsync's schema must be migrated, and the role {role} does not own it; run `cvsync migrate` as {owner}, and then `cvsync check` again"
            )),
            State::Newer => Err(NEWER.to_owned()),
            State::Current { missing } if missing.is_empty() => {
                Ok(format!("{server}, with cvsync's schema"))
            }
            State::Current { missing } | State::Closed { missing } => Err(format!(
                "the role {role} lacks rights in the schema cvsync; run as its owner: {}",
                statements(missing, role)
            )),
        }
    }
}

/// The missing statements, or those that grant all.
fn statements(missing: &[String], role: &str) -> String {
    if missing.len() < MANY {
        return missing.join("; ");
    }
    format!(
        "GRANT USAGE ON SCHEMA cvsync TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA cvsync TO {role}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cvsync TO {role}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> About {
        About {
            server: Server {
                version_num: 150_000,
                version: "15.0".to_owned(),
                encoding: "UTF8".to_owned(),
                in_recovery: false,
                read_only: false,
                database: "cv".to_owned(),
                role: "\"Daemon\"".to_owned(),
                may_create_schema: true,
                has_schema: true,
            },
            schema: State::Current {
                missing: Vec::new(),
            },
        }
    }

    #[test]
    fn obstacle_is_told_with_the_statement_that_removes_it() {
        type Change = fn(&mut About);
        let cases: [(Change, &str); 9] = [
            (
                |it| it.server.version_num = 130_009,
                "PostgreSQL 14 or newer",
            ),
            (
                |it| {
                    it.server.encoding = "LATIN1".to_owned();
                    it.schema = State::Missing;
                },
                "CREATE DATABASE cvsync_utf8 ENCODING 'UTF8'",
            ),
            (
                |it| {
                    it.server.encoding = "SQL_ASCII".to_owned();
                    it.schema = State::Missing;
                },
                "encoding SQL_ASCII",
            ),
            (|it| it.server.in_recovery = true, "name the primary"),
            (
                |it| it.server.read_only = true,
                "ALTER ROLE \"Daemon\" SET default_transaction_read_only = off",
            ),
            (
                |it| {
                    it.schema = State::Missing;
                    it.server.may_create_schema = false;
                },
                "GRANT CREATE ON DATABASE cv TO \"Daemon\"",
            ),
            (
                |it| {
                    it.schema = State::BehindOf {
                        owner: "owner".to_owned(),
                    }
                },
                "run `cvsync migrate` as owner",
            ),
            (|it| it.schema = State::Newer, "newer version"),
            (
                |it| {
                    it.schema = State::Current {
                        missing: vec!["GRANT A".to_owned(), "GRANT B".to_owned()],
                    }
                },
                "as its owner: GRANT A; GRANT B",
            ),
        ];
        assert!(good().judge().is_ok());
        for (change, said) in cases {
            let mut about = good();
            change(&mut about);
            let problem = about.judge().unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn copy_in_another_encoding_goes_on_and_is_told_of() {
        for schema in [
            State::Behind,
            State::Current {
                missing: Vec::new(),
            },
        ] {
            let mut about = good();
            about.server.encoding = "SQL_ASCII".to_owned();
            about.schema = schema;
            assert!(about.judge().unwrap().contains("encoding SQL_ASCII"));
        }
    }

    #[test]
    fn many_missing_grants_are_told_as_those_of_the_whole_schema() {
        let missing = vec!["GRANT A".to_owned(); MANY];
        assert!(statements(&missing, "d").contains("ON ALL TABLES IN SCHEMA cvsync TO d"));
    }
}
