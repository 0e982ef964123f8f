//! The statements of docs/install.md, in their order, and the blocks of the docs that no other test runs.

use std::process::Stdio;

use cvsync::simulator::Options;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;
use uuid::Uuid;

use crate::process::output;
use crate::world::{World, new_database};

const INSTALL: &str = include_str!("../../docs/install.md");

/// The blocks of a page in this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let blocks = page.split(fence.as_str()).skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}

const ROLES: [&str; 4] = [
    "cvsync_owner",
    "cvsync_daemon",
    "cvsync_reader",
    "cvsync_analyst",
];

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_daemon_works_in_a_schema_that_an_administrator_made_and_leaves_nothing_behind() {
    let url = new_database().await;
    let suffix = Uuid::new_v4().simple().to_string();
    let name = url.rsplit('/').next().unwrap().to_owned();
    // Roles and databases are of the whole server: these are the test's own.
    let own = |sql: &str| {
        let mut sql = sql.replace("database cvsync", &format!("database {name}"));
        for role in ROLES {
            sql = sql.replace(role, &format!("{role}_{suffix}"));
        }
        sql
    };
    let url_of = |role: &str| {
        let mut url = Url::parse(&url).unwrap();
        url.set_username(&format!("{role}_{suffix}")).unwrap();
        url.set_password(Some("secret")).unwrap();
        String::from(url)
    };
    let statements = blocks(INSTALL, "sql");
    assert_eq!(statements.len(), 3);
    // The database is there already.
    let (roles, _) = statements[0].split_once("create database").unwrap();
    run(&url, &own(roles)).await;
    run(&url, &own(statements[1])).await;
    let owner = url_of("cvsync_owner");
    let daemon = url_of("cvsync_daemon");
    let (code, _, stderr) = output(&["migrate"], [("CVSYNC_DATABASE_URL", owner.as_str())]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let grants = blocks(include_str!("../../docs/database.md"), "sql")[1];
    let grants = grants
        .lines()
        .filter(|line| !line.contains("grant connect"));
    run(&owner, &own(&grants.collect::<Vec<_>>().join("\n"))).await;
    let options = Options {
        candidates: 30,
        ..Options::default()
    };
    let world = World::on(&daemon, options).await;
    world.sync().await;
    world.assert_database_equals_source().await;
    world.database.close().await;
    run(&url, &own(statements[2])).await;
    let left = format!(
        "do $$ begin assert not exists (select from pg_roles where rolname like '%{suffix}'); end $$"
    );
    run(&url, &left).await;
}

#[tokio::test]
async fn the_statements_of_the_feed_run_in_psql_as_they_stand() {
    let mut world = World::new(20).await;
    world.sync().await;
    let url = world.url().to_owned();
    let statements = blocks(include_str!("../../docs/feed.md"), "sql");
    let psql = async |script: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        let done = tokio::process::Command::new("psql")
            .args(["-X", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(file.path())
            .arg(&url)
            .output()
            .await
            .unwrap();
        assert!(
            done.status.success(),
            "{script}\n{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    psql(statements[0]).await;
    let behind = "select count(*) from cvsync.cv_change, cvsync.feed_consumer c where c.name = 'search-index' and cv_change.seq > c.seq";
    assert_eq!(world.count(behind).await, 0);
    let id = world.any_live_id();
    world.source.world(|w| w.update(id));
    world.settle();
    world.sync_again().await;
    assert_eq!(world.count(behind).await, 1);
    // Once with a change, and once without.
    psql(statements[1]).await;
    assert_eq!(world.count(behind).await, 0);
    psql(statements[1]).await;
    // The statements for a field that VDAB adds.
    for statement in blocks(include_str!("../../docs/data.md"), "sql") {
        if statement.contains("nieuwVeld") || statement.contains("heftruck") {
            psql(statement).await;
        }
    }
}

#[tokio::test]
async fn the_commands_of_the_search_page_and_of_suppression_run_as_they_stand() {
    let world = World::new(200).await;
    world.sync().await;
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_cvsync"));
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let operations = blocks(include_str!("../../docs/operations.md"), "sh");
    let suppress = operations
        .iter()
        .filter(|block| block.contains("suppressed"));
    let search = blocks(include_str!("../../docs/search.md"), "sh");
    let mut ran = 0;
    for block in search.iter().chain(suppress) {
        let env = world.environment();
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-ec", block]).env_clear().env("PATH", &path);
        shell.envs(env.iter().map(|(name, value)| (*name, value.as_str())));
        let done = shell
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        assert!(
            done.status.success(),
            "{block}\n{}",
            String::from_utf8_lossy(&done.stderr)
        );
        ran += 1;
    }
    assert_eq!(ran, 2);
}
