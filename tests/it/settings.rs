//! The settings that shape data are those of the latest leader, for commands and for other instances.

use sqlx::AssertSqlSafe;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::World;

const NEVER: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
const EXCLUDE: &str = "CVSYNC_DOCUMENT_EXCLUDE";

/// As if a daemon that starts now had led with this setting.
async fn record(world: &World, name: &str, value: &str) {
    let record = format!(
        "insert into cvsync.leader_setting (name, value, origin, shapes, started_at)
         values ('{name}', '{value}', 'environment', true, clock_timestamp())"
    );
    sqlx::raw_sql(AssertSqlSafe(record))
        .execute(&world.database)
        .await
        .unwrap();
}

async fn run(world: &World, args: &[&str], own: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let env = world.environment();
    let env = env.iter().map(|(n, v)| (*n, v.as_str()));
    output(args, env.chain(own.iter().copied())).await
}

async fn until_leads(world: &World, daemon: &Process) {
    until("the instance leads", async || {
        daemon.log().contains("leading")
            && world
                .count("select count(*) from cvsync.lease where expires_at > now()")
                .await
                == 1
    })
    .await;
}

#[tokio::test]
async fn instance_with_older_settings_does_not_lead_and_says_so() {
    let world = World::new(5).await;
    let held = "insert into cvsync.lease (name, holder, epoch, expires_at)
                values ('sync', 'another', 1, now() + interval '1 hour')";
    sqlx::raw_sql(held).execute(&world.database).await.unwrap();
    let old = Process::run(&world, &[NEVER]);
    old.until("/api/status", |_, body| {
        body.contains("another instance leads")
    })
    .await;
    record(&world, EXCLUDE, "/opleidingen").await;
    sqlx::raw_sql("update cvsync.lease set expires_at = now()")
        .execute(&world.database)
        .await
        .unwrap();
    let says = |body: &str| body.contains("outdated_settings") && body.contains(EXCLUDE);
    old.until("/api/status", |_, body| says(body)).await;
    old.until("/readyz", |status, _| status == 200).await;
    let log = old.log();
    assert!(
        log.contains("this instance does not lead") && log.contains("/opleidingen"),
        "{log}"
    );
    assert!(!log.contains("leading"), "{log}");
    let (_, status, _) = run(&world, &["status", "--json"], &[]).await;
    assert!(says(&status), "{status}");

    // A later instance with the same settings as the latest leader leads at once.
    let new = Process::run(&world, &[NEVER, (EXCLUDE, "/opleidingen")]);
    until_leads(&world, &new).await;
    new.kill().await;
    // So does one that goes back to the old settings, since it starts later.
    let back = Process::run(&world, &[NEVER]);
    until_leads(&world, &back).await;
    assert!(!old.log().contains("leading"), "{}", old.log());
    old.until("/api/status", |_, body| !body.contains("outdated_settings"))
        .await;
}

#[tokio::test]
async fn start_in_the_future_keeps_no_instance_from_leading() {
    let world = World::new(5).await;
    record(&world, EXCLUDE, "/opleidingen").await;
    let later = "update cvsync.leader_setting set started_at = now() + interval '1 day'";
    sqlx::raw_sql(later).execute(&world.database).await.unwrap();
    let daemon = Process::run(&world, &[NEVER]);
    until_leads(&world, &daemon).await;
    until("its own settings are recorded", async || {
        let recorded = "select count(*) from cvsync.leader_setting
                         where name = 'CVSYNC_DOCUMENT_EXCLUDE' and value is null
                           and started_at between now() - interval '5 minutes' and now()";
        world.count(recorded).await == 1
    })
    .await;
}

#[tokio::test]
async fn every_command_refuses_a_setting_that_differs_from_the_daemons() {
    let world = World::new(5).await;
    world.settle();
    world.sync().await;
    record(&world, EXCLUDE, "/opleidingen").await;
    let id = world.any_live_id().to_string();
    for args in [
        &["sync"][..],
        &["sync", "--dry-run"],
        &["reconcile", "--dry-run"],
        &[
            "backfill",
            "--van",
            "2026-01-01T00:00:00Z",
            "--tot",
            "2026-01-02T00:00:00Z",
            "--dry-run",
        ],
        &["resync", &id, "--dry-run"],
        &["verify", "--sample", "1"],
        &["deletes", "approve", "--all"],
        &["conformance"],
        &["search"],
        &["reference", "sync"],
        &["reference", "lookup", "rijbewijzen"],
        &["export", "kandidaat", "--format", "ndjson"],
    ] {
        let (code, stdout, stderr) = run(&world, args, &[(EXCLUDE, "/ervaringen")]).await;
        assert_eq!(code, Some(2), "{args:?}: {stdout}{stderr}");
        assert!(
            stderr.contains(EXCLUDE) && stderr.contains("nothing was changed"),
            "{args:?}: {stderr}"
        );
        assert_eq!(stdout, "", "{args:?}");
    }
    let (code, stdout, _) = run(&world, &["check"], &[(EXCLUDE, "/ervaringen")]).await;
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("not those of the daemon"), "{stdout}");
}

#[tokio::test]
async fn command_without_a_setting_of_its_own_takes_the_daemons() {
    let world = World::new(5).await;
    world.settle();
    world.sync().await;
    let all = ["search", "--detail", "--json", "--limit", "5"];
    let (_, before, _) = run(&world, &all, &[]).await;
    assert!(before.contains("\"opleidingen\":"), "{before}");
    record(&world, EXCLUDE, "/opleidingen").await;
    let (code, found, stderr) = run(&world, &all, &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!found.contains("\"opleidingen\":"), "{found}");
    // The rows of an export are those of the daemon, so the same value is accepted.
    let export = ["export", "kandidaat", "--format", "ndjson"];
    let (code, _, stderr) = run(&world, &export, &[(EXCLUDE, " /opleidingen")]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let id = world.any_live_id().to_string();
    let (code, _, stderr) = run(&world, &["resync", &id], &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let documents = world.documents().await;
    assert!(documents[&id.parse().unwrap()].get("opleidingen").is_none());
    // A variable of a newer version that somebody has set is one that this version cannot follow.
    record(&world, "CVSYNC_OF_A_NEWER_VERSION", "x").await;
    let (code, _, stderr) = run(&world, &["resync", &id], &[]).await;
    assert_eq!(code, Some(2), "{stderr}");
}
