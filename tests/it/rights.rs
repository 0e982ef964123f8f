//! Roles with few rights, as a careful administrator makes them: what they can do, and what `cvsync check` says.

use std::time::Duration;

use cvsync::simulator::Options;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;
use uuid::Uuid;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::{World, new_database};

/// The statements of docs/database.md for an owner and a daemon, of which the second block comes after the migration.
const DOCS: &str = include_str!("../../docs/database.md");

fn statements(block: usize) -> &'static str {
    let blocks = DOCS.split("```sql\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split_once("```"));
    blocks.nth(block).expect("docs/database.md has it").0
}

/// A new database, with roles of its own in place of those of the docs.
struct Database {
    /// As a superuser.
    url: String,
    suffix: String,
}

impl Database {
    async fn new() -> Self {
        let url = new_database().await;
        let suffix = Uuid::new_v4().simple().to_string();
        Self { url, suffix }
    }

    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    fn role(&self, name: &str) -> String {
        format!("{name}_{}", self.suffix)
    }

    /// The URL for this role of the docs.
    fn url_of(&self, role: &str) -> String {
        let mut url = Url::parse(&self.url).unwrap();
        url.set_username(&self.role(role)).unwrap();
        url.set_password(Some("secret")).unwrap();
        url.into()
    }

    async fn run(&self, url: &str, sql: &str) {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let mut sql = sql.replace("database cvsync", &format!("database {}", self.name()));
        for role in ["cvsync_owner", "cvsync_daemon"] {
            let plain = sql.replace(&self.role(role), role);
            sql = plain.replace(role, &self.role(role));
        }
        let statement = AssertSqlSafe(sql.clone());
        let done = sqlx::raw_sql(statement).execute(&mut connection).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close().await.unwrap();
    }
}

async fn check(world: &World, url: &str) -> String {
    let mut env = world.environment();
    env.retain(|(name, _)| *name != "CVSYNC_DATABASE_URL");
    env.push(("CVSYNC_DATABASE_URL", url.to_owned()));
    let (_, stdout, stderr) = output(&["check"], env.iter().map(|(n, v)| (*n, v.as_str()))).await;
    let line = stdout.lines().find(|line| line.contains("  database  "));
    line.unwrap_or_else(|| panic!("{stdout}{stderr}"))
        .to_owned()
}

#[tokio::test]
async fn daemon_works_with_the_documented_grants_and_check_names_a_missing_one() {
    let database = Database::new().await;
    // The database is there already.
    let roles = statements(0).replace("create database", "alter database");
    let (roles, _) = roles.split_once(" encoding").unwrap();
    let roles = roles.replace(" owner ", " owner to ");
    database.run(&database.url, &roles).await;
    let owner = database.url_of("cvsync_owner");
    let daemon = database.url_of("cvsync_daemon");
    let migrated = output(&["migrate"], [("CVSYNC_DATABASE_URL", owner.as_str())]).await;
    assert_eq!(migrated.0, Some(0), "{}", migrated.2);
    // As where PUBLIC has lost its rights.
    let careful = "revoke execute on all functions in schema cvsync from public";
    database.run(&owner, careful).await;

    let refused = output(&["status"], [("CVSYNC_DATABASE_URL", daemon.as_str())]).await;
    assert!(refused.2.contains("42501"), "{}", refused.2);
    database.run(&owner, statements(1)).await;
    let options = Options {
        candidates: 40,
        ..Options::default()
    };
    let world = World::on(&daemon, options).await;
    world.sync().await;
    world.assert_database_equals_source().await;
    let process = Process::run(&world, &[("CVSYNC_SCHEDULE", "* * * * * *")]);
    process.until_synced().await;
    process.until("/readyz", |status, _| status == 200).await;
    drop(process);
    let line = check(&world, &daemon).await;
    assert!(line.starts_with("ok"), "{line}");
    // Tables of later migrations come with the same rights.
    database
        .run(&owner, "create table cvsync.later (id int)")
        .await;
    database
        .run(&daemon, "insert into cvsync.later values (1)")
        .await;

    let role = database.role("cvsync_daemon");
    for (lost, missing) in [
        (
            "delete on cvsync.parked_cv",
            "GRANT DELETE ON cvsync.parked_cv",
        ),
        (
            "select, update on cvsync.lease",
            "GRANT SELECT, UPDATE ON cvsync.lease",
        ),
        (
            "select on cvsync.kandidaat",
            "GRANT SELECT ON cvsync.kandidaat",
        ),
        (
            "select on cvsync.migration",
            "GRANT SELECT ON cvsync.migration",
        ),
        (
            "execute on function cvsync.words(text)",
            "GRANT EXECUTE ON FUNCTION cvsync.words(text)",
        ),
        ("usage on schema cvsync", "GRANT USAGE ON SCHEMA cvsync"),
    ] {
        database
            .run(&owner, &format!("revoke {lost} from cvsync_daemon"))
            .await;
        let line = check(&world, &daemon).await;
        let statement = format!("{missing} TO {role}");
        assert!(
            line.starts_with("FAILED") && line.contains(&statement),
            "{line}"
        );
        // The statement is the remedy.
        database.run(&owner, &statement).await;
    }
    assert!(check(&world, &daemon).await.starts_with("ok"));

    database.run(&owner, "delete from cvsync.migration where version = (select max(version) from cvsync.migration)").await;
    let line = check(&world, &daemon).await;
    let as_owner = format!("run `cvsync migrate` as {}", database.role("cvsync_owner"));
    assert!(line.contains(&as_owner), "{line}");
    world.database.close().await;
}

#[tokio::test]
async fn check_names_what_keeps_an_empty_database_from_use() {
    let world = World::new(1).await;
    let database = Database::new().await;
    let empty = check(&world, &database.url).await;
    assert!(
        empty.starts_with("ok") && empty.contains("without cvsync's schema"),
        "{empty}"
    );
    let schemas = "do $$ begin assert to_regnamespace('cvsync') is null; end $$";
    database.run(&database.url, schemas).await;

    let role = "create role cvsync_daemon login password 'secret'";
    database.run(&database.url, role).await;
    let line = check(&world, &database.url_of("cvsync_daemon")).await;
    let grant = format!(
        "GRANT CREATE ON DATABASE {} TO {}",
        database.name(),
        database.role("cvsync_daemon")
    );
    assert!(line.contains(&grant), "{line}");
    database.run(&database.url, &grant).await;
    let line = check(&world, &database.url_of("cvsync_daemon")).await;
    assert!(line.starts_with("ok"), "{line}");
    let lost = "revoke connect on database cvsync from public";
    database.run(&database.url, lost).await;
    let line = check(&world, &database.url_of("cvsync_daemon")).await;
    assert!(line.contains("GRANT CONNECT ON DATABASE"), "{line}");

    let standby = format!(
        "{}?options=-c%20default_transaction_read_only%3Don",
        database.url
    );
    let line = check(&world, &standby).await;
    assert!(
        line.contains("SET default_transaction_read_only = off"),
        "{line}"
    );

    for encoding in ["LATIN1", "SQL_ASCII", "WIN1252"] {
        let name = format!("{}_{}", database.name(), encoding.to_lowercase());
        let create =
            format!("create database {name} encoding '{encoding}' locale 'C' template template0");
        let mut admin = PgConnection::connect(&database.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut admin)
            .await
            .unwrap();
        let url = database.url.replace(database.name(), &name);
        let line = check(&world, &url).await;
        let said = format!("has the encoding {encoding}");
        assert!(line.starts_with("FAILED") && line.contains(&said), "{line}");
        assert!(
            line.contains("CREATE DATABASE cvsync_utf8 ENCODING 'UTF8'"),
            "{line}"
        );
        let (code, _, stderr) = output(&["migrate"], [("CVSYNC_DATABASE_URL", url.as_str())]).await;
        assert!(code == Some(1) && stderr.contains(&said), "{stderr}");
    }
}

#[tokio::test]
async fn a_daemon_that_may_not_migrate_waits_and_stops_at_once() {
    let mut world = World::new(1).await;
    let database = Database::new().await;
    let role = "create role cvsync_daemon login password 'secret'";
    database.run(&database.url, role).await;
    world.set("CVSYNC_DATABASE_URL", database.url_of("cvsync_daemon"));
    let mut daemon = Process::run(&world, &[]);
    until("it waits", async || daemon.log().contains("cvsync retries")).await;
    daemon.signal("-TERM");
    let status = daemon.ended_within(Duration::from_secs(10)).await;
    assert!(status.success(), "{}", daemon.log());
    assert!(!daemon.log().contains("took too long"), "{}", daemon.log());
}
