//! The commands in docs/runbook.md work as written.

use cvsync::simulator::{Answer, Fault};
use cvsync::sync::Request;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::process::{Process, output};
use crate::repair::unsettle_a_day;
use crate::running::until;
use crate::world::World;

const RUNBOOK: &str = include_str!("../../docs/runbook.md");

const EXCLUDE: &str = "CVSYNC_DOCUMENT_EXCLUDE";

async fn command(
    world: &World,
    args: &[&str],
    more: &[(&'static str, &str)],
) -> (Option<i32>, String, String) {
    let env = world.environment();
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    output(args, env.chain(more.iter().copied())).await
}

async fn done(world: &World, args: &[&str]) -> String {
    let (code, stdout, stderr) = command(world, args, &[]).await;
    assert_eq!(code, Some(0), "{args:?}: {stderr}");
    stdout
}

/// The code of the page, fenced as `language` or within a line.
fn code(language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for line in RUNBOOK.lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(opens), None) => fence = Some(opens),
            (Some(_), Some(_)) => fence = None,
            (None, Some(fenced)) if fenced == language => found.push(line.to_owned()),
            (None, Some(_)) => {}
            (None, None) => {
                let spans = line.split('`').skip(1).step_by(2);
                found.extend(spans.map(str::to_owned));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_command_that_is_named_is_one() {
    let mut named = 0;
    for line in code("sh") {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let Some(args) = line.strip_prefix("cvsync ") else {
            continue;
        };
        let args = args.replace("FROM", "2026-01-01T00:00:00Z");
        let args = args.replace("TO", "2026-01-02T00:00:00Z");
        let args: Vec<&str> = args.split_whitespace().chain(["--help"]).collect();
        let (code, _, stderr) = output(&args, []).await;
        assert_eq!(code, Some(0), "{line}: {stderr}");
        named += 1;
    }
    assert!(named > 20, "{named}");
}

#[tokio::test]
async fn every_statement_that_is_named_runs() {
    let world = World::new(5).await;
    let fenced = code("sql").join("\n");
    let starts = |text: &&str| text.starts_with("select ") || text.starts_with("update ");
    let mut statements: Vec<String> = RUNBOOK
        .split("```sql\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .map(str::to_owned)
        .collect();
    assert!(statements.iter().all(|it| fenced.contains(it.trim())));
    let spans = RUNBOOK.split('`').map(str::trim).filter(starts);
    statements.extend(spans.map(|text| text.replace("(pid)", "(-1)")));
    assert!(statements.len() >= 6, "{statements:?}");
    for statement in statements {
        let ran = world
            .database
            .execute(AssertSqlSafe(statement.clone()))
            .await;
        assert!(ran.is_ok(), "{statement}: {ran:?}");
    }
}

#[tokio::test]
async fn a_command_stores_nothing_that_the_daemon_leaves_out() {
    let world = World::new(40).await;
    let never = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
    let daemon = Process::run(
        &world,
        &[never, (EXCLUDE, "/natuurlijkPersoon, /opleidingen")],
    );
    daemon.until_synced().await;
    let persons =
        "select count(*) from cvsync.cv where document ?| '{natuurlijkPersoon,opleidingen}'";
    assert_eq!(world.count(persons).await, 0);
    let ids: Vec<String> = world
        .documents()
        .await
        .into_keys()
        .map(|id| id.to_string())
        .collect();
    let id = ids[0].as_str();
    // As the environment of a shell has it: without the daemon's settings.
    let resync = ["resync", &ids[0], &ids[1]];
    done(&world, &resync).await;
    done(&world, &["verify", "--sample", "10"]).await;
    done(
        &world,
        &[
            "backfill",
            "--van",
            "2020-01-01T00:00:00Z",
            "--tot",
            "2020-01-02T00:00:00Z",
        ],
    )
    .await;
    assert_eq!(world.count(persons).await, 0);
    // Equal meaning is no difference, and another value is refused, also where nothing is written.
    let equal = [(EXCLUDE, "/opleidingen,/natuurlijkPersoon")];
    assert_eq!(command(&world, &resync, &equal).await.0, Some(0));
    for args in [
        &["resync", id][..],
        &["sync"],
        &["sync", "--dry-run"],
        &["reconcile"],
        &[
            "backfill",
            "--van",
            "2020-01-01T00:00:00Z",
            "--tot",
            "2020-01-02T00:00:00Z",
        ],
        &["verify", "--sample", "5"],
        &["deletes", "approve", "--all"],
        &["windows", "relist", "1"],
        &["reference", "sync"],
    ] {
        let (code, stdout, stderr) = command(&world, args, &[(EXCLUDE, "/opleidingen")]).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        let told = "CVSYNC_DOCUMENT_EXCLUDE is \"/opleidingen\" here (environment) \
                    and \"/natuurlijkPersoon,/opleidingen\" in the daemon (environment)";
        assert!(stderr.contains(told), "{stderr}");
    }
    assert_eq!(world.count(persons).await, 0);
    let log = daemon.log();
    assert!(!log.contains("natuurlijkPersoon"), "{log}");
    // The next leader records its own settings: here no exclusions, and the default statuses, set explicitly.
    drop(daemon);
    let daemon = Process::run(&world, &[never, ("CVSYNC_API_LIVE_STATUSES", "open")]);
    daemon.until_synced().await;
    let (code, _, stderr) = command(&world, &resync, &[(EXCLUDE, "/opleidingen")]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("and no value in the daemon"), "{stderr}");
    let default = [("CVSYNC_API_LIVE_STATUSES", "OPEN")];
    assert_eq!(command(&world, &resync, &default).await.0, Some(0));
    until(
        "the daemon has fetched what it left out before",
        async || world.count(persons).await == world.rows("cv").await,
    )
    .await;
}

#[tokio::test]
async fn status_without_the_daemons_environment_judges_as_the_daemon_does() {
    let world = World::new(20).await;
    let yearly = ("CVSYNC_SCHEDULE", "0 0 0 1 1 *");
    let daemon = Process::run(&world, &[yearly]);
    daemon.until_synced().await;
    world
        .database
        .execute(
            "update cvsync.watermark set position = position - interval '2 hours';
             update cvsync.live_edge set position = position - interval '2 hours'",
        )
        .await
        .unwrap();
    let url = ("CVSYNC_DATABASE_URL", world.url());
    for own in [None, Some(("CVSYNC_SCHEDULE", "* * * * * *"))] {
        let (code, stdout, stderr) = output(&["status"], [url].into_iter().chain(own)).await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert!(stdout.starts_with("In step"), "{stdout}");
    }
    // Its own schedule counts if no leader has recorded one.
    world
        .database
        .execute("delete from cvsync.leader_setting")
        .await
        .unwrap();
    let (code, stdout, _) = output(&["status"], [url]).await;
    assert_eq!(code, Some(1), "{stdout}");
}

#[tokio::test]
async fn a_command_that_would_ask_another_source_than_the_daemon_is_refused() {
    let world = World::new(20).await;
    let daemon = Process::run(&world, &[("CVSYNC_SCHEDULE", "0 0 0 1 1 *")]);
    daemon.until_synced().await;
    let mut env = world.environment();
    env.retain(|(name, _)| *name != "CVSYNC_API_BASE_URL");
    let pairs = || env.iter().map(|(name, value)| (*name, value.as_str()));
    // Not even without an address of its own does it send the key to one that the database names.
    for (own, address) in [
        (None, "https://api.vdab.be/services/openservices/v1"),
        (
            Some(("CVSYNC_API_BASE_URL", "https://api.example/v1")),
            "https://api.example/v1",
        ),
    ] {
        let (code, _, stderr) = output(&["sync"], pairs().chain(own)).await;
        assert_eq!(code, Some(2), "{stderr}");
        let said = format!("CVSYNC_API_BASE_URL is \"{address}\" here");
        assert!(stderr.contains(&said), "{stderr}");
        assert!(stderr.contains("set it for this command too"), "{stderr}");
    }
}

#[tokio::test]
async fn without_a_daemon_there_is_nothing_to_agree_with() {
    let world = World::new(20).await;
    let (code, _, stderr) = command(&world, &["sync"], &[(EXCLUDE, "/opleidingen")]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(world.rows("leader_setting").await, 0);
    done(&world, &["sync"]).await;
}

#[tokio::test]
async fn a_restored_backup_is_brought_up_to_date() {
    let mut world = World::new(80).await;
    world.sync_again().await;
    let was = world.watermark().await.unwrap();
    let ids: Vec<Uuid> = world.documents().await.into_keys().collect();
    // These changes are in no copy: the backup is older, and the syncs since then are lost.
    world.source.world(|w| {
        assert!(w.remove(ids[0]) && w.update(ids[1]));
        w.add();
    });
    world.pass(chrono::TimeDelta::days(2));
    let before = (was - chrono::TimeDelta::hours(1)).to_rfc3339();
    done(&world, &["rewind", "--to", &before]).await;
    world.request(Request::Reconcile).await;
    // As the daemon does on its schedule.
    world.sync_again().await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_gap_that_is_filled_is_none_any_more() {
    let mut world = World::new(60).await;
    world.sync_again().await;
    unsettle_a_day(&world).await;
    let gaps = done(&world, &["windows", "gaps", "--json"]).await;
    let gaps: Vec<Value> = serde_json::from_str(&gaps).unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    world.sync_again().await;
    assert_eq!(done(&world, &["windows", "gaps"]).await, "none\n");
}

#[tokio::test]
async fn a_lease_that_ends_far_off_is_let_go() {
    let world = World::new(10).await;
    world
        .database
        .execute(
            "insert into cvsync.lease values ('sync', 'nobody', 7, now() + interval '3 years')",
        )
        .await
        .unwrap();
    let daemon = Process::run(&world, &[]);
    daemon
        .until("/readyz", |_, body| {
            body.contains("another instance leads, this instance is a standby")
        })
        .await;
    world
        .database
        .execute("update cvsync.lease set expires_at = now()")
        .await
        .unwrap();
    daemon.until_synced().await;
}

#[tokio::test]
async fn a_field_that_postgresql_cannot_store_is_left_out() {
    let mut world = World::new(20).await;
    let id = world.any_live_id();
    let body = format!(r#"{{"cvId":"{id}","status":"OPEN","notitie":"\u0000"}}"#);
    let answer = Answer::new(200, body).with("content-type", "application/json");
    world.source.rule(id, Fault::Answer(answer));
    world.sync_again().await;
    let parked = done(&world, &["parked", "list"]).await;
    assert!(parked.contains("unstorable"), "{parked}");
    world.set(EXCLUDE, "/notitie".to_owned());
    done(&world, &["parked", "retry", &id.to_string()]).await;
    done(&world, &["sync"]).await;
    assert_eq!(done(&world, &["parked", "list"]).await, "none\n");
}

#[tokio::test]
async fn a_schema_that_was_changed_by_hand_is_made_anew() {
    let world = World::new(30).await;
    world.sync().await;
    world
        .database
        .execute("drop table cvsync.cv_seen")
        .await
        .unwrap();
    done(&world, &["migrate"]).await;
    let (code, _, stderr) = command(&world, &["verify", "--sample", "5"], &[]).await;
    assert_eq!(code, Some(1), "migrate repairs nothing: {stderr}");
    world
        .database
        .execute("drop schema cvsync cascade")
        .await
        .unwrap();
    let daemon = Process::run(&world, &[]);
    daemon.until_synced().await;
    world.assert_database_equals_source().await;
}
