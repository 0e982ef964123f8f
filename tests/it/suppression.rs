//! Suppressed CVs: gone at once everywhere, brought back by nothing, fetched again once the suppression ends.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use cvsync::model::{Brake, CvId, Document, Fate, Outcome, ParkClass, Window};
use cvsync::store::{Applied, StoreError, lease};
use cvsync::sync::Request;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::{World, store, transaction};

const ONCE: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
const NO_RELIST: (&str, &str) = ("CVSYNC_RELIST", "off");

async fn cvsync(world: &World, args: &[&str]) -> (Option<i32>, String, String) {
    let env = world.environment();
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    output(args, env).await
}

/// A command that must succeed; its JSON.
async fn done(world: &World, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    let (code, stdout, stderr) = cvsync(world, &args).await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

async fn suppress(world: &World, ids: &[Uuid], options: &[&str]) -> Value {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let mut args = vec!["suppressed", "add", "--reason", "objection"];
    args.extend(options);
    args.extend(ids.iter().map(String::as_str));
    done(world, &args).await
}

/// The number of rows of a table that name this CV.
async fn rows(world: &World, table: &str, id: Uuid) -> i64 {
    let sql = format!("select count(*) from cvsync.{table} where cv_id::text = $1");
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(id.to_string())
        .fetch_one(&world.database)
        .await
        .unwrap()
}

async fn state(world: &World, id: Uuid) -> Option<(bool, Option<String>)> {
    sqlx::query_as("select gone, withheld from cvsync.cv_seen where cv_id = $1")
        .bind(id)
        .fetch_optional(&world.database)
        .await
        .unwrap()
}

async fn changes(world: &World, id: Uuid) -> Vec<String> {
    sqlx::query_scalar("select kind from cvsync.cv_change where cv_id = $1 order by seq")
        .bind(id)
        .fetch_all(&world.database)
        .await
        .unwrap()
}

/// Every kind of run, while the CV changes at VDAB.
async fn run_everything(world: &World, id: Uuid) {
    let now = Utc::now();
    let range = Window::new(now - TimeDelta::days(40), now + TimeDelta::minutes(5)).unwrap();
    for request in [
        Request::UpToNow,
        Request::Relist,
        Request::Range(range),
        Request::These(vec![CvId(id)]),
        Request::Approved,
        Request::Reconcile,
    ] {
        assert!(world.source.world(|w| w.update(id)));
        world.settle();
        world.request(request).await;
    }
}

#[tokio::test]
async fn a_suppressed_cv_goes_at_once_and_no_run_brings_it_back_or_fetches_it() {
    for options in [&[][..], &["--hashed"]] {
        let world = World::new(40).await;
        world.settle();
        world.sync().await;
        world.until_searchable().await;
        let id = world.any_live_id();
        let added = suppress(&world, &[id], options).await;
        assert_eq!(
            (&added["suppressed"], &added["deleted"]),
            (&1.into(), &1.into())
        );
        for table in ["cv", "cv_search", "kandidaat", "persoon"] {
            assert_eq!(rows(&world, table, id).await, 0, "{table}");
        }
        assert_eq!(changes(&world, id).await, ["upsert", "delete"]);
        world.source.rule(id, cvsync::simulator::Fault::Http500);
        run_everything(&world, id).await;
        for table in ["cv", "parked_cv", "held_delete", "reconcile_listed"] {
            assert_eq!(rows(&world, table, id).await, 0, "{table}");
        }
        assert_eq!(changes(&world, id).await, ["upsert", "delete"]);
        let found: (i64, i64) = sqlx::query_as(
            "select missing, stale from cvsync.reconcile_run order by id desc limit 1",
        )
        .fetch_one(&world.database)
        .await
        .unwrap();
        assert_eq!(found, (0, 0), "a comparison does not count it");
        let hashed = !options.is_empty();
        let expected = (!hashed).then(|| (false, Some("suppressed".to_owned())));
        assert_eq!(state(&world, id).await, expected);
        let listed = done(&world, &["suppressed", "list"]).await;
        assert_eq!(listed[0]["cv_id"].is_null(), hashed);
        let explained = done(&world, &["explain", &id.to_string()]).await;
        assert_eq!(explained["suppressed"]["reason"], "objection");
        let (code, _, stderr) = cvsync(&world, &["resync", &id.to_string()]).await;
        assert_eq!(code, Some(2));
        assert!(stderr.contains("is suppressed"), "{stderr}");
    }
}

#[tokio::test]
async fn no_response_that_arrives_late_stores_a_suppressed_cv() {
    let world = World::new(1).await;
    let id = world.any_live_id();
    suppress(&world, &[id], &[]).await;
    let body = format!(r#"{{"cvId":"{id}","x":"late"}}"#);
    let (_, document) = Document::read(body.as_bytes(), &[]).unwrap();
    let parked = Fate::Parked(id.to_string(), ParkClass::Refused, Duration::ZERO);
    let outcomes = [Fate::Live(CvId(id), document), Fate::Gone(CvId(id)), parked];
    let outcomes = outcomes.map(|fate| Outcome {
        window: None,
        as_of: Utc::now(),
        fate,
    });
    let store = store(world.url());
    for outcome in outcomes {
        let applied = store.apply(&[outcome], Brake::on(0.2), Utc::now()).await;
        assert_eq!(applied.unwrap(), [Applied::Skipped]);
    }
    assert_eq!(world.rows("cv").await, 0);
    assert_eq!(world.rows("parked_cv").await, 0);
    assert_eq!(world.rows("cv_change").await, 0, "it was never stored");
}

#[tokio::test]
async fn a_suppression_waits_for_writes_under_way_and_then_deletes_what_they_stored() {
    let world = World::new(5).await;
    world.settle();
    let id = world.any_live_id();
    let mut writing = transaction(world.url()).await.unwrap();
    sqlx::query("lock table cvsync.suppressed_cv in row share mode")
        .execute(&mut *writing)
        .await
        .unwrap();
    let ids = [id];
    let suppressing = suppress(&world, &ids, &[]);
    let written = async {
        until("the suppression waits", async || {
            let locks =
                "select count(*) from pg_locks where not granted and mode = 'ExclusiveLock'";
            world.count(locks).await == 1
        })
        .await;
        sqlx::query(
            "with seen as (insert into cvsync.cv_seen (cv_id, as_of, gone) values ($1, now(), false))
             insert into cvsync.cv (cv_id, document, content_hash) values ($1, '{}', '')",
        )
        .bind(id)
        .execute(&mut *writing)
        .await
        .unwrap();
        writing.commit().await.unwrap();
    };
    let (added, ()) = tokio::join!(suppressing, written);
    assert_eq!(added["deleted"], 1);
    world.sync().await;
    assert_eq!(rows(&world, "cv", id).await, 0);
}

#[tokio::test]
async fn an_id_that_vdab_never_listed_can_be_suppressed_and_doubled_ids_count_once() {
    let world = World::new(3).await;
    let id = world.any_live_id();
    let upper = id.to_string().to_uppercase();
    let added = done(
        &world,
        &[
            "suppressed",
            "add",
            &upper,
            &id.to_string(),
            "--reason",
            "erasure",
        ],
    )
    .await;
    assert_eq!(
        (&added["suppressed"], &added["deleted"]),
        (&1.into(), &0.into())
    );
    world.settle();
    let summary = world.sync().await;
    assert_eq!((summary.tally.inserted, summary.tally.skipped), (2, 1));
    assert_eq!(world.rows("cv").await, 2);
    assert_eq!(changes(&world, id).await, [""; 0]);
}

#[tokio::test]
async fn wrong_use_changes_nothing_and_exits_with_2() {
    let world = World::new(3).await;
    let id = world.any_live_id().to_string();
    for (args, said) in [
        (
            vec!["add", "NOT_FOUND", "--reason", "other"],
            "must be a UUID",
        ),
        (vec!["add", &id], "--reason"),
        (vec!["add", &id, "--reason", "angry"], "objection"),
        (
            vec![
                "add",
                &id,
                "--reason",
                "other",
                "--until",
                "2020-01-01T00:00:00Z",
            ],
            "--until must be later than the database's time",
        ),
        (vec!["remove", &id], "is not suppressed"),
    ] {
        let args: Vec<&str> = ["suppressed"].into_iter().chain(args).collect();
        let (code, _, stderr) = cvsync(&world, &args).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
    assert_eq!(world.rows("suppressed_cv").await, 0);
}

#[tokio::test]
async fn a_second_suppression_replaces_reason_and_end_and_a_hashed_id_stays_hashed() {
    let world = World::new(2).await;
    let id = world.any_live_id();
    suppress(&world, &[id], &[]).await;
    suppress(&world, &[id], &["--until", "2100-01-01T00:00:00Z"]).await;
    let listed = done(&world, &["suppressed", "list"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["until"], "2100-01-01T00:00:00Z");
    suppress(&world, &[id], &["--hashed"]).await;
    suppress(&world, &[id], &[]).await;
    let listed = done(&world, &["suppressed", "list"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert!(listed[0]["cv_id"].is_null() && listed[0]["until"].is_null());
    assert_eq!(state(&world, id).await, None);
}

#[tokio::test]
async fn suppressions_do_not_count_for_the_delete_brake() {
    let world = World::new(120).await;
    world.settle();
    world.sync().await;
    let ids: Vec<Uuid> = world.source.world(|w| w.live_ids().take(100).collect());
    let stored = world.rows("cv").await;
    suppress(&world, &ids, &[]).await;
    assert_eq!(world.rows("cv").await, stored - 100);
    let gone = world
        .source
        .world(|w| w.live_ids().find(|id| !ids.contains(id)).unwrap());
    assert!(world.source.world(|w| w.remove(gone)));
    world.settle();
    assert_eq!(world.sync().await.tally.deleted, 1, "not held");
}

#[tokio::test]
async fn the_next_sync_fetches_a_cv_whose_suppression_was_removed_or_has_ended() {
    let world = World::new(10).await;
    world.settle();
    world.sync().await;
    let ids: Vec<Uuid> = world.source.world(|w| w.live_ids().take(3).collect());
    let stored = world.rows("cv").await;
    suppress(&world, &ids[..1], &[]).await;
    suppress(&world, &ids[1..2], &["--hashed"]).await;
    suppress(&world, &ids[2..], &["--until", "2100-01-01T00:00:00Z"]).await;
    world.sync().await;
    assert_eq!(world.rows("cv").await, stored - 3);
    let (first, second) = (ids[0].to_string(), ids[1].to_string());
    let removed = done(&world, &["suppressed", "remove", &first, &second]).await;
    assert_eq!(removed["removed"], 2);
    sqlx::query(
        "update cvsync.suppressed_cv set until = now() where until = '2100-01-01T00:00:00Z'",
    )
    .execute(&world.database)
    .await
    .unwrap();
    world.sync().await;
    world.assert_database_equals_source().await;
    assert_eq!(world.rows("suppressed_cv").await, 0);
    assert_eq!(state(&world, ids[0]).await, Some((false, None)));
}

#[tokio::test]
async fn the_daemon_fetches_a_cv_within_seconds_once_its_suppression_ends() {
    let world = World::new(10).await;
    let id = world.any_live_id();
    suppress(&world, &[id], &[]).await;
    let daemon = Process::run(&world, &[ONCE, NO_RELIST]);
    daemon.until_synced().await;
    daemon
        .until("/api/status", |_, body| body.contains("\"suppressed\":1"))
        .await;
    daemon
        .until("/metrics", |_, body| body.contains("cvsync_suppressed 1"))
        .await;
    assert_eq!(rows(&world, "cv", id).await, 0);
    done(&world, &["suppressed", "remove", &id.to_string()]).await;
    let begun = std::time::Instant::now();
    until("the CV is stored", async || {
        rows(&world, "cv", id).await == 1
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn the_first_suppression_stops_versions_that_do_not_know_of_it() {
    let world = World::new(1).await;
    let oldest = "select oldest from cvsync.compatibility";
    let before = world.count(oldest).await;
    let database = store(world.url());
    let take = async |tx: &mut PgConnection| lease::take(tx, "an older version").await;
    let held = database.write("taking the lease", take).await.unwrap();
    suppress(&world, &[world.any_live_id()], &[]).await;
    assert!(before < 20_261_130_220_000);
    assert_eq!(world.count(oldest).await, 20_261_130_220_000);
    let still_leads = async |tx: &mut PgConnection| lease::hold(tx, held.as_ref().unwrap()).await;
    let written = database.write("writing", still_leads).await;
    assert!(matches!(written, Err(StoreError::Fenced)), "{written:?}");

    let held = database.write("taking the lease", take).await.unwrap();
    suppress(&world, &[Uuid::new_v4()], &[]).await;
    let still_leads = async |tx: &mut PgConnection| lease::hold(tx, held.as_ref().unwrap()).await;
    database.write("writing", still_leads).await.unwrap();
}
