//! Repair: comparisons, second listings and fetches by hand, and the decisions that a person must make.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cvsync::model::{Brake, CvId, Window};
use cvsync::simulator::{Answer, Fault, Operation, Options, Quirk};
use cvsync::store::held_delete::{self, Which};
use cvsync::sync::{Request, Summary, SyncError};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::{World, new_database, transaction};

async fn command(world: &World, args: &[&str]) -> (Option<i32>, String, String) {
    let env = world.environment();
    output(args, env.iter().map(|(n, v)| (*n, v.as_str()))).await
}

async fn done(world: &World, args: &[&str]) -> String {
    let (code, stdout, stderr) = command(world, args).await;
    assert_eq!(code, Some(0), "{args:?}: {stderr}");
    stdout
}

/// Damages the copy behind cvsync's back: some CVs lost, some that the source never had, some with old content.
async fn damage(world: &World) -> (Vec<Uuid>, Uuid) {
    let ids: Vec<Uuid> = world.documents().await.into_keys().take(5).collect();
    for statement in [
        "delete from cvsync.cv where cv_id = any($1)",
        "delete from cvsync.cv_seen where cv_id = any($1)",
    ] {
        sqlx::query(statement)
            .bind(&ids)
            .execute(&world.database)
            .await
            .unwrap();
    }
    let never = Uuid::from_u128(7);
    sqlx::query("insert into cvsync.cv (cv_id, document, content_hash) values ($1, '{}', '')")
        .bind(never)
        .execute(&world.database)
        .await
        .unwrap();
    sqlx::query("insert into cvsync.cv_seen values ($1, now() - interval '20 days', false)")
        .bind(never)
        .execute(&world.database)
        .await
        .unwrap();
    (ids, never)
}

#[tokio::test]
async fn reconcile_finds_what_is_missing_and_what_is_gone_and_confirms_both() {
    let mut world = World::new(300).await;
    world.sync_again().await;
    world.settle();
    let (lost, _) = damage(&world).await;
    let calls = world.detail_calls();
    let dry = done(&world, &["reconcile", "--dry-run", "--json"]).await;
    let dry: Value = serde_json::from_str(&dry).unwrap();
    assert_eq!(dry["difference"]["missing"], 5, "{dry}");
    assert_eq!(dry["difference"]["extra"], 1, "{dry}");
    assert_eq!(world.documents().await.len() + lost.len() - 1, world.live());
    let summary = world.request(Request::Reconcile).await;
    assert_eq!(summary.tally.inserted, 5);
    assert_eq!(summary.tally.deleted, 1);
    world.assert_database_equals_source().await;
    assert_eq!(world.detail_calls() - calls, 12, "six for each of both");
    let again = world.request(Request::Reconcile).await;
    let difference = again.difference.unwrap();
    assert_eq!((difference.missing, difference.extra), (0, 0));
    assert_eq!(
        world.detail_calls() - calls,
        12,
        "what is equal costs no call"
    );
    let left = "select count(*) from cvsync.reconcile_listed";
    assert_eq!(world.count(left).await, 0);
}

#[tokio::test]
async fn a_removal_that_is_known_is_not_asked_for_again_where_lists_have_no_status() {
    let mut world = World::with(Options {
        candidates: 120,
        quirks: vec![Quirk::NoStatus],
        ..Options::default()
    })
    .await;
    world.sync_again().await;
    world.settle();
    let ids: Vec<Uuid> = world.documents().await.into_keys().take(20).collect();
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.remove(*id))));
    world.settle();
    world.sync_again().await;
    world.assert_database_equals_source().await;
    // The ones that were gone at the start were asked for long after their windows, the others just now.
    let calls = world.detail_calls();
    for _ in 0..2 {
        let summary = world.request(Request::Reconcile).await;
        assert_eq!(summary.difference.unwrap().listed, 120);
        assert_eq!(world.detail_calls() - calls, 0);
    }
    // A tombstone that is older than the listing proves nothing.
    let back = ids[0];
    world.source.world(|w| {
        let document = format!(r#"{{"cvId":"{back}","status":"OPEN"}}"#);
        let now = w.now();
        w.put(back, document, now);
    });
    world.settle();
    world.request(Request::Reconcile).await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_cv_that_is_listed_as_there_is_asked_for_whatever_its_tombstone_says() {
    let mut world = World::new(60).await;
    world.sync_again().await;
    world.settle();
    let id = world.any_live_id();
    for statement in [
        "delete from cvsync.cv where cv_id = $1",
        "update cvsync.cv_seen set gone = true where cv_id = $1",
    ] {
        sqlx::query(statement)
            .bind(id)
            .execute(&world.database)
            .await
            .unwrap();
    }
    let summary = world.request(Request::Reconcile).await;
    assert_eq!(summary.difference.unwrap().missing, 1);
    world.assert_database_equals_source().await;
}

const LISTED: &str = "select count(*) from cvsync.reconcile_listed";

/// A comparison that has listed something and is still at it.
async fn comparing(world: &World) -> tokio::task::JoinHandle<Result<Summary, SyncError>> {
    world
        .source
        .rule(Operation::Bulk, Fault::Slow(Duration::from_millis(150)));
    let pipeline = world.pipeline();
    let run = tokio::spawn(async move { pipeline.carry_out(Request::Reconcile).await });
    until("it lists", async || world.count(LISTED).await > 0).await;
    run
}

#[tokio::test]
async fn listing_of_a_comparison_is_removed_however_it_ends() {
    let mut world = World::new(300).await;
    world.sync_again().await;
    world.settle();
    // Its process dies: the next run of any kind removes it, a minute later.
    let run = comparing(&world).await;
    run.abort();
    let _ = run.await;
    world.source.clear_faults();
    world.sync_again().await;
    assert!(world.count(LISTED).await > 0, "it may be under way");
    world
        .database
        .execute("update cvsync.reconcile_under_way set seen_at = now() - interval '2 minutes'")
        .await
        .unwrap();
    world.sync_again().await;
    assert_eq!(world.count(LISTED).await, 0);
    // It fails.
    damage(&world).await;
    world
        .database
        .execute("alter table cvsync.cv drop column content_hash")
        .await
        .unwrap();
    let mut pipeline = world.pipeline();
    pipeline.patience = Some(Duration::ZERO);
    pipeline.carry_out(Request::Reconcile).await.unwrap_err();
    assert_eq!(world.count(LISTED).await, 0);
    assert_eq!(world.rows("reconcile_under_way").await, 0);
}

#[tokio::test]
async fn a_comparison_that_lost_its_listing_ends_and_deletes_nothing() {
    let mut world = World::new(300).await;
    world.sync_again().await;
    world.settle();
    let calls = world.detail_calls();
    let run = comparing(&world).await;
    // As a crash of the server does with unlogged tables.
    world
        .database
        .execute("truncate cvsync.reconcile_listed, cvsync.reconcile_under_way")
        .await
        .unwrap();
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(error, SyncError::ListingLost), "{error}");
    assert_eq!(world.detail_calls(), calls);
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_long_run_lets_a_sync_go_first_and_goes_on_where_it_was() {
    let mut world = World::new(300).await;
    world.sync_again().await;
    world.settle();
    world.config.sync.workers = 2;
    world.config.sync.channel_capacity = 4;
    let slow = Fault::Slow(Duration::from_millis(30));
    world.source.rule(Operation::Detail, slow);
    let ids: Vec<CvId> = world.documents().await.into_keys().map(CvId).collect();
    let all = ids.len() as u64;
    // Each CV differs, so that a comparison asks for all of them too.
    sqlx::query("update cvsync.cv_seen set as_of = as_of - interval '60 days'")
        .execute(&world.database)
        .await
        .unwrap();
    for request in [Request::These(ids), Request::Reconcile] {
        let pipeline = world.pipeline();
        let mut run = pipeline.begin(request).await.unwrap();
        let mut parts = 0;
        while !run.go_on(Some(&|| true)).await.unwrap() {
            let changed = world.any_live_id();
            world.source.world(|w| assert!(w.update(changed)));
            world.settle();
            let sync = pipeline.run().await.unwrap();
            assert_eq!(sync.tally.updated, 1, "the sync goes first");
            parts += 1;
        }
        let summary = run.end().await.unwrap();
        assert!((1..10).contains(&parts), "{parts}");
        assert!(summary.tally.done() >= all, "{summary:?}");
        world.assert_database_equals_source().await;
        sqlx::query("update cvsync.cv_seen set as_of = as_of - interval '60 days'")
            .execute(&world.database)
            .await
            .unwrap();
    }
    assert_eq!(world.count(LISTED).await, 0);
}

#[tokio::test]
async fn the_second_listing_starts_where_the_last_one_ended_whoever_made_it() {
    let mut world = World::new(100).await;
    world.sync_again().await;
    world.request(Request::Relist).await;
    let mark = "select count(*) from cvsync.relisted
                  join cvsync.watermark using (stream)
                 where relisted.position = watermark.position - interval '1 hour'";
    assert_eq!(world.count(mark).await, 1);
    // Five days with syncs and without a second listing.
    for _ in 0..5 {
        world.pass(TimeDelta::days(1));
        world.sync_again().await;
    }
    let id = world.any_live_id();
    world.source.world(|w| {
        let document = format!(r#"{{"cvId":"{id}","status":"OPEN","late":true}}"#);
        let then = w.now() - TimeDelta::days(4);
        w.put(id, document, then);
    });
    // It was known before these days: the database's clock did not leap.
    let summary = world.request(Request::Relist).await;
    assert_eq!(summary.tally.updated, 1);
    world.assert_database_equals_source().await;
    assert_eq!(world.count(mark).await, 1, "it has moved");
    // A mark in the future is not believed, and mended.
    world
        .database
        .execute("update cvsync.relisted set position = now() + interval '5 years'")
        .await
        .unwrap();
    world.request(Request::Relist).await;
    assert_eq!(world.count(mark).await, 1);
}

#[tokio::test]
async fn before_there_is_a_watermark_nothing_is_listed_a_second_time() {
    let world = World::new(20).await;
    let calls = world.bulk_calls();
    world.request(Request::Relist).await;
    assert_eq!(world.bulk_calls(), calls);
    assert_eq!(world.rows("relisted").await, 0);
    assert_eq!(world.rows("job_success").await, 0, "it was not made");
}

#[tokio::test]
async fn cvs_that_the_source_only_stopped_listing_are_kept() {
    let mut world = World::new(200).await;
    world.sync_again().await;
    // It is there all the same: the detail says so.
    let id = world.any_live_id();
    world.source.world(|w| w.unlist(id));
    let calls = world.detail_calls();
    let summary = world.request(Request::Reconcile).await;
    assert_eq!(world.detail_calls(), calls + 1, "it is asked for");
    assert_eq!(summary.difference.unwrap().extra, 0, "and is no difference");
    assert_eq!(summary.tally.deleted, 0);
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn pending_changes_are_fetched_and_are_not_a_difference() {
    let mut world = World::new(200).await;
    world.sync_again().await;
    // `Date` has whole seconds: within one second, a run cannot know that its responses are later than those of the run before.
    world.pass(TimeDelta::seconds(2));
    let gone = world.any_live_id();
    world.source.world(|w| {
        w.add();
        assert!(w.remove(gone));
    });
    let summary = world.request(Request::Reconcile).await;
    let difference = summary.difference.unwrap();
    assert_eq!((difference.missing, difference.extra), (0, 0));
    assert_eq!((summary.tally.inserted, summary.tally.deleted), (1, 1));
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn reconcile_finds_what_is_older_than_its_latest_change() {
    let mut world = World::new(200).await;
    let id = world.any_live_id();
    world.source.world(|w| assert!(w.update(id)));
    world.settle();
    world.sync_again().await;
    sqlx::query("update cvsync.cv set document = '{}', content_hash = '' where cv_id = $1")
        .bind(id)
        .execute(&world.database)
        .await
        .unwrap();
    sqlx::query("update cvsync.cv_seen set as_of = now() - interval '40 days' where cv_id = $1")
        .bind(id)
        .execute(&world.database)
        .await
        .unwrap();
    let summary = world.request(Request::Reconcile).await;
    assert_eq!(summary.difference.unwrap().stale, 1);
    world.assert_database_equals_source().await;
    let again = world.request(Request::Reconcile).await;
    assert_eq!(again.difference.unwrap().stale, 0);
}

#[tokio::test]
async fn a_source_that_lists_nothing_at_all_is_not_believed() {
    let mut world = World::new(100).await;
    world.sync_again().await;
    let empty = cvsync::simulator::Answer::new(200, r#"{"aantal":0,"resultaten":[]}"#)
        .with("content-type", "application/json");
    world.source.rule(Operation::Bulk, Fault::Answer(empty));
    let error = world.try_request(Request::Reconcile).await.unwrap_err();
    assert!(matches!(error, SyncError::Empty { .. }), "{error}");
    world.source.clear_faults();
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn late_changes_are_found_by_the_second_listing() {
    let mut world = World::new(100).await;
    world.sync_again().await;
    // Once more: a first sync learns the source's time as it goes, may end in two windows of a moment each, and then nobody knows
    // which of them a piece that spans both was listed in.
    world.settle();
    world.sync_again().await;
    world.pass(TimeDelta::days(1));
    world.learn_time().await;
    world.sync_again().await;
    // Known since the first sync: the database's clock, which tells when a window was listed, did not leap with the source's.
    let id: Uuid = sqlx::query_scalar(
        "select cv_id from cvsync.cv_seen where not gone order by as_of, cv_id limit 1",
    )
    .fetch_one(&world.database)
    .await
    .unwrap();
    // Dated half a day ago, visible only now.
    world.source.world(|w| {
        let document = format!(r#"{{"cvId":"{id}","status":"OPEN","late":true}}"#);
        let then = w.now() - TimeDelta::hours(12);
        w.put(id, document, then);
    });
    world.settle();
    let missed = world.sync_again().await;
    assert_eq!(missed.tally.updated, 0, "it lies behind the overlap");
    let calls = world.detail_calls();
    let summary = world.request(Request::Relist).await;
    assert_eq!(summary.tally.updated, 1);
    world.assert_database_equals_source().await;
    assert!(
        world.detail_calls() - calls < 10,
        "no more than its neighbours"
    );
    let metrics = world.metrics.render().unwrap();
    let late = metrics
        .lines()
        .find(|line| line.starts_with("cvsync_late_arrivals_total{horizon=\"relist\"}"));
    assert!(late.is_some_and(|line| line.ends_with(" 1")), "{late:?}");
}

#[tokio::test]
async fn a_range_and_single_cvs_are_synced_by_hand_and_move_no_watermark() {
    let mut world = World::new(150).await;
    world.sync_again().await;
    world.settle();
    let watermark = world.watermark().await;
    let (lost, never) = damage(&world).await;
    let (van, tot) = ("2020-01-01T00:00:00Z", "2020-01-03T00:00:00Z");
    let nothing = done(&world, &["backfill", "--van", van, "--tot", tot]).await;
    assert!(nothing.starts_with("Listed 0 CVs: "), "{nothing}");
    let mut args = vec!["resync".to_owned(), never.to_string()];
    args.extend(lost[..2].iter().map(Uuid::to_string));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let said = done(&world, &args).await;
    let listed =
        "Listed 3 CVs: 2 inserted, 0 updated, 0 unchanged, 0 skipped, 0 superseded, 1 deleted, ";
    assert!(said.starts_with(listed), "{said}");
    let now = world.source_clock.now();
    let window = Window::new(now - TimeDelta::days(31), now).unwrap();
    world.request(Request::Range(window)).await;
    world.assert_database_equals_source().await;
    assert_eq!(world.watermark().await, watermark);
    let (code, _, stderr) = command(&world, &["resync", "NOT_FOUND"]).await;
    assert_eq!(code, Some(2), "{stderr}");
    let (code, _, stderr) = command(&world, &["backfill", "--van", tot, "--tot", van]).await;
    assert_eq!(code, Some(2), "{stderr}");
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_tells_what_it_would() {
    let world = World::new(120).await;
    let said = done(&world, &["sync", "--dry-run", "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["listed"], 120);
    assert_eq!(said["inserted"], world.live());
    assert!(said["calls"].as_u64().unwrap() > world.live() as u64);
    let fresh = new_database().await;
    let mut env = world.environment();
    env.push(("CVSYNC_DATABASE_URL", fresh.clone()));
    let env = env.iter().map(|(n, v)| (*n, v.as_str()));
    let (code, _, stderr) = output(&["sync", "--dry-run"], env).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("run `cvsync migrate`"), "{stderr}");
    let schemas = "select count(*) from pg_namespace where nspname = 'cvsync'";
    let mut fresh = PgConnection::connect(&fresh).await.unwrap();
    let there: i64 = sqlx::query_scalar(schemas)
        .fetch_one(&mut fresh)
        .await
        .unwrap();
    assert_eq!(there, 0, "not even the schema");
    for table in [
        "cv",
        "cv_seen",
        "cv_change",
        "sync_window",
        "watermark",
        "job_success",
    ] {
        let rows = world.rows(table).await;
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn verify_tells_the_stale_share_and_mends_it() {
    let mut world = World::new(100).await;
    world.sync_again().await;
    world.settle();
    sqlx::query("update cvsync.cv set document = '{}', content_hash = ''")
        .execute(&world.database)
        .await
        .unwrap();
    let said = done(&world, &["verify", "--sample", "1000", "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["updated"], world.live());
    assert_eq!(said["stale"], said["updated"], "the old name");
    assert!(said["at_most"].as_f64().unwrap() > 0.99);
    world.assert_database_equals_source().await;
    let said = done(&world, &["verify", "--sample", "50"]).await;
    assert!(
        said.contains(
            "0 outdated (updated now), 0 removed at VDAB (deleted now), 0 with held deletes: 0.00 %"
        ),
        "{said}"
    );
}

/// Leaves a day before the last one unsettled.
pub(crate) async fn unsettle_a_day(world: &World) {
    sqlx::raw_sql(
        "insert into cvsync.covered (stream, van, tot)
         select stream, position - interval '1 day', position from cvsync.watermark;
         update cvsync.watermark set position = position - interval '2 days'",
    )
    .execute(&world.database)
    .await
    .unwrap();
}

#[tokio::test]
async fn the_ledger_shows_windows_and_gaps_and_lists_one_again() {
    let mut world = World::new(80).await;
    world.sync_again().await;
    assert_eq!(done(&world, &["windows", "gaps"]).await, "none\n");
    let windows = done(&world, &["windows", "list", "--json"]).await;
    let windows: Vec<Value> = serde_json::from_str(&windows).unwrap();
    let listed: i64 = windows.iter().map(|w| w["listed"].as_i64().unwrap()).sum();
    assert_eq!(listed, 80);
    let id = windows[1]["id"].to_string();
    let again = done(&world, &["windows", "relist", &id, "--json"]).await;
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["listed"], windows[1]["listed"]);
    assert_eq!(again["skipped"], windows[1]["listed"]);
    unsettle_a_day(&world).await;
    let gaps = done(&world, &["windows", "gaps", "--json"]).await;
    let gaps: Vec<Value> = serde_json::from_str(&gaps).unwrap();
    let [gap] = gaps.as_slice() else {
        panic!("{gaps:?}")
    };
    let end = |name: &str| -> DateTime<Utc> { gap[name].as_str().unwrap().parse().unwrap() };
    assert_eq!(end("tot") - end("van"), TimeDelta::days(1));
    assert_eq!(
        command(&world, &["windows", "relist", "999999"]).await.0,
        Some(2)
    );
}

#[tokio::test]
async fn a_cv_is_explained_by_ids_and_times() {
    let mut world = World::new(40).await;
    let parked = world.any_live_id();
    world.source.rule(parked, Fault::Http500);
    world.sync_again().await;
    let here = *world.documents().await.keys().next().unwrap();
    let said = done(&world, &["explain", &here.to_string()]).await;
    assert!(
        said.contains("is in the database since") && said.contains("upsert"),
        "{said}"
    );
    let said = done(&world, &["explain", &parked.to_string()]).await;
    assert!(said.contains("Parked as server_error"), "{said}");
    world.source.world(|w| w.remove(here));
    world.settle();
    world.source.clear_faults();
    world.sync_again().await;
    let said = done(&world, &["explain", &here.to_string()]).await;
    assert!(
        said.contains("VDAB did not have it on") && said.contains("delete"),
        "{said}"
    );
    let said = done(&world, &["explain", &Uuid::nil().to_string()]).await;
    assert!(said.contains("is unknown: "), "{said}");
}

#[tokio::test]
async fn explain_tells_of_each_state_that_a_cv_can_be_in() {
    let mut world = World::new(12).await;
    world.source.world(|w| {
        let at = w.now() - TimeDelta::days(1);
        w.list_extra(at, "NOT_FOUND", Some("OPEN"));
    });
    world.sync_again().await;
    let ids: Vec<Uuid> = world.documents().await.into_keys().collect();
    let hold = "insert into cvsync.held_delete (cv_id, as_of, approved_at, next_attempt_at)
                select $1, now(), $2::text::timestamptz, $3::text::timestamptz";
    for (id, approved, next) in [
        (ids[0], None, None),
        (ids[1], None, Some("2031-01-01")),
        (ids[2], Some("2026-01-02"), None),
        (ids[3], None, None),
    ] {
        sqlx::query(hold)
            .bind(id)
            .bind(approved)
            .bind(next)
            .execute(&world.database)
            .await
            .unwrap();
    }
    for (sql, id) in [
        (
            "insert into cvsync.parked_cv (cv_id, error_class, as_of, next_attempt_at)
             values ($1::text, 'transport', now(), now())",
            ids[3],
        ),
        (
            "insert into cvsync.cv_unsearchable values ($1, '54000')",
            ids[4],
        ),
        ("delete from cvsync.cv_seen where cv_id = $1", ids[5]),
        ("delete from cvsync.cv where cv_id = $1", ids[6]),
    ] {
        sqlx::query(sql)
            .bind(id)
            .execute(&world.database)
            .await
            .unwrap();
    }
    for (id, words) in [
        (
            ids[0],
            &[
                "is in the database since",
                "Delete held since",
                "More CVs than usual",
            ][..],
        ),
        (
            ids[1],
            &[
                "Delete held since",
                "VDAB gave no proof, so cvsync asks again on 2031-",
            ],
        ),
        (ids[2], &["Delete held since", "Approved on 2026-01-0"]),
        (ids[3], &["Delete held since", "Parked as transport"]),
        (
            ids[4],
            &[
                "is in the database since",
                "cannot index it (SQLSTATE 54000)",
            ],
        ),
        (
            ids[5],
            &[
                "is in the database since",
                "the time of VDAB's response is unknown",
            ],
        ),
        (ids[6], &["is not in the database, although VDAB had it on"]),
    ] {
        let upper = id.to_string().to_uppercase();
        let said = done(&world, &["explain", &upper]).await;
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    let said = done(&world, &["explain", &ids[3].to_string(), "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["held_delete"]["cv_id"], ids[3].to_string());
    assert_eq!(said["parked"]["error_class"], "transport");
    let said = done(&world, &["explain", "NOT_FOUND"]).await;
    assert!(said.contains("Parked as bad_id"), "{said}");
    for odd in ["", "x", &ids[0].simple().to_string()] {
        let (code, _, stderr) = command(&world, &["explain", odd]).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("ID must be a UUID such as"), "{stderr}");
    }
}

/// How often the log has this.
fn lines(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

#[tokio::test]
async fn the_log_has_one_line_for_many_held_deletes_and_one_for_many_parked_cvs_of_a_kind() {
    let mut world = World::new(200).await;
    world.sync_again().await;
    let stored: Vec<Uuid> = world.documents().await.into_keys().collect();
    world
        .source
        .world(|w| assert!(stored[..90].iter().all(|id| w.remove(*id))));
    for id in &stored[90..110] {
        let html = Answer::new(200, "<html>");
        world.source.rule(*id, Fault::Answer(html));
    }
    let ids: Vec<String> = stored[..110].iter().map(Uuid::to_string).collect();
    let args: Vec<&str> = ["resync", "--json"]
        .into_iter()
        .chain(ids.iter().map(String::as_str))
        .collect();
    let (code, stdout, log) = command(&world, &args).await;
    assert_eq!(code, Some(0), "{log}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["parked"], 20, "{summary}");
    assert!(summary["held"].as_u64() > Some(1), "{summary}");
    assert_eq!(lines(&log, "the delete brake holds deletes"), 1, "{log}");
    assert_eq!(lines(&log, "ERROR"), 1, "{log}");
    assert_eq!(lines(&log, "parked a CV"), 1, "{log}");
}

#[tokio::test]
async fn parked_cvs_are_listed_retried_and_dropped() {
    let mut world = World::new(40).await;
    let id = world.any_live_id().to_string();
    world.source.rule(world.any_live_id(), Fault::Http500);
    world.source.world(|w| {
        let at = w.now() - TimeDelta::days(1);
        w.list_extra(at, "NOT_FOUND", Some("OPEN"));
    });
    world.sync_again().await;
    let list = done(&world, &["parked", "list"]).await;
    assert!(
        list.contains(&id) && list.contains("server_error") && list.contains("bad_id"),
        "{list}"
    );
    assert_eq!(
        command(&world, &["parked", "drop", "NOBODY"]).await.0,
        Some(2)
    );
    done(&world, &["parked", "drop", "NOT_FOUND"]).await;
    world.source.clear_faults();
    done(&world, &["parked", "retry"]).await;
    world.sync_again().await;
    assert_eq!(done(&world, &["parked", "list"]).await, "none\n");
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_resync_of_an_id_that_exists_nowhere_fails_and_names_it() {
    let mut world = World::new(30).await;
    world.sync_again().await;
    let ids: Vec<String> = world
        .documents()
        .await
        .into_keys()
        .map(|id| id.to_string())
        .collect();
    let nowhere = Uuid::from_u128(9).to_string();
    // Also beside IDs that exist, and no matter what an earlier resync left.
    for args in [
        &["resync", &nowhere][..],
        &["resync", &nowhere, "--dry-run"],
        &["resync", &ids[0], &nowhere, &ids[1]],
    ] {
        let (code, stdout, stderr) = command(&world, args).await;
        assert_eq!(code, Some(1), "{args:?}: {stdout}");
        assert!(stderr.contains("do not have 1 CV: "), "{stderr}");
        assert!(stderr.contains(&nowhere), "{stderr}");
        assert!(stdout.contains("Listed "), "{stdout}");
    }
    let (code, stdout, _) = command(&world, &["resync", &nowhere, "--json"]).await;
    let said: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &said["not_found"][0]),
        (Some(1), &Value::from(nowhere.clone()))
    );
    assert_eq!(said["nowhere"], said["not_found"], "the old name");
    // A CV that is removed now, or was removed before, had been stored.
    let gone: Uuid = ids[2].parse().unwrap();
    world.source.world(|w| assert!(w.remove(gone)));
    let said = done(&world, &["resync", &ids[2]]).await;
    assert!(said.contains("1 deleted"), "{said}");
    done(&world, &["resync", &ids[2]]).await;
    // A malformed ID is refused before anything is fetched.
    let calls = world.detail_calls();
    let (code, _, stderr) = command(&world, &["resync", &ids[0], "no-id"]).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains(r#"got "no-id" (nothing was changed)"#),
        "{stderr}"
    );
    assert_eq!(world.detail_calls(), calls);
}

#[tokio::test]
async fn a_watermark_goes_back_by_hand_and_never_forward() {
    let mut world = World::new(60).await;
    world.sync_again().await;
    let was = world.watermark().await.unwrap();
    let back = (was - TimeDelta::days(3)).to_rfc3339();
    let forth = (was + TimeDelta::days(3)).to_rfc3339();
    assert_eq!(
        command(&world, &["rewind", "--to", &forth]).await.0,
        Some(2)
    );
    assert_eq!(world.watermark().await, Some(was));
    done(&world, &["rewind", "--to", &back]).await;
    assert!(world.watermark().await.unwrap() < was);
    assert_eq!(world.rows("watermark_rewind").await, 1);
    let calls = world.detail_calls();
    world.sync_again().await;
    assert!(world.watermark().await.unwrap() >= was);
    assert_eq!(
        world.detail_calls(),
        calls,
        "all of it is known to be up to date"
    );
}

#[tokio::test]
async fn a_rewind_during_a_run_is_not_undone_by_it() {
    let mut world = World::new(400).await;
    world.sync_again().await;
    world.settle();
    let was = world.watermark().await.unwrap();
    world
        .source
        .rule(Operation::Bulk, Fault::Slow(Duration::from_millis(300)));
    let pipeline = world.pipeline();
    let run = async { pipeline.run().await.unwrap() };
    let back = (was - TimeDelta::days(1)).to_rfc3339();
    let before = world.bulk_calls();
    let rewind = async {
        until("it lists", async || world.bulk_calls() > before).await;
        done(&world, &["rewind", "--to", &back]).await
    };
    tokio::join!(run, rewind);
    assert!(world.watermark().await.unwrap() < was);
}

#[tokio::test]
async fn more_deletes_than_usual_wait_for_a_person() {
    let mut world = World::with(Options {
        candidates: 400,
        ..Options::default()
    })
    .await;
    world.sync_again().await;
    let before = world.live();
    let ids: Vec<Uuid> = world.documents().await.into_keys().take(200).collect();
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.remove(*id))));
    let changed = world.any_live_id();
    world.source.world(|w| w.update(changed));
    world.settle();
    let summary = world.sync_again().await;
    assert_eq!(summary.tally.updated, 1, "the rest keeps syncing");
    let held = usize::try_from(world.rows("held_delete").await).unwrap();
    let gone = usize::try_from(summary.tally.deleted).unwrap();
    assert_eq!(held + gone, 200);
    assert!(gone * 5 <= before, "{gone} of {before}");
    assert_eq!(world.documents().await.len(), before - gone);
    // Listed again: still held, nothing is deleted.
    world.settle();
    world.sync_again().await;
    assert_eq!(
        usize::try_from(world.rows("held_delete").await).unwrap(),
        held
    );
    // One of them is there again: its delete is dropped by itself.
    let back: Uuid = sqlx::query_scalar("select cv_id from cvsync.held_delete limit 1")
        .fetch_one(&world.database)
        .await
        .unwrap();
    world.source.world(|w| w.update(back));
    world.settle();
    world.sync_again().await;
    assert_eq!(
        usize::try_from(world.rows("held_delete").await).unwrap(),
        held - 1
    );
    let list = done(&world, &["deletes", "list", "--json"]).await;
    assert_eq!(
        serde_json::from_str::<Vec<Value>>(&list).unwrap().len(),
        held - 1
    );
    assert_eq!(
        command(&world, &["deletes", "approve", &back.to_string()])
            .await
            .0,
        Some(2)
    );
    done(&world, &["deletes", "approve", "--all"]).await;
    assert_eq!(world.rows("held_delete").await, 0);
    world.assert_database_equals_source().await;
}

/// Removes this many CVs at the source, more than the brake allows per day.
async fn remove(world: &World, cvs: usize) -> Vec<Uuid> {
    let ids: Vec<Uuid> = world.documents().await.into_keys().take(cvs).collect();
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.remove(*id))));
    world.settle();
    ids
}

#[tokio::test]
async fn held_deletes_are_counted_apart_from_parked_cvs_wherever_runs_are_counted() {
    let mut world = World::new(200).await;
    world.sync_again().await;
    remove(&world, 100).await;
    // A dry run reports the deletes that the brake would hold, and holds none.
    let dry = done(&world, &["reconcile", "--dry-run"]).await;
    assert!(dry.contains("A run would hold "), "{dry}");
    let dry = done(&world, &["reconcile", "--dry-run", "--json"]).await;
    let dry: Value = serde_json::from_str(&dry).unwrap();
    assert!(dry["held"].as_u64() >= Some(50), "{dry}");
    assert_eq!(world.rows("held_delete").await, 0);
    let tally = world.sync_again().await.tally;
    assert_eq!((tally.held + tally.deleted, tally.parked), (100, 0));
    let held = i64::try_from(tally.held).unwrap();
    assert_eq!(world.rows("held_delete").await, held);
    let windows = done(&world, &["windows", "list", "--json"]).await;
    let windows: Vec<Value> = serde_json::from_str(&windows).unwrap();
    let sum = |name: &str| -> i64 { windows.iter().map(|w| w[name].as_i64().unwrap()).sum() };
    assert_eq!((sum("held"), sum("parked")), (held, 0));
    let table = done(&world, &["windows", "list"]).await;
    let heads = table.lines().next().unwrap();
    assert!(heads.contains("held  parked"), "{heads}");
    let metrics = world.metrics.render().unwrap();
    let counted = format!("cvsync_records_total{{result=\"held\"}} {held}");
    assert!(metrics.contains(&counted), "{metrics}");
    let summary = world.request(Request::Reconcile).await;
    assert_eq!((summary.tally.held, summary.tally.deleted), (tally.held, 0));
    let difference = summary.difference.unwrap();
    assert_eq!((difference.held, difference.extra), (tally.held, 0));
    let compared: i64 = sqlx::query_scalar("select held from cvsync.reconcile_run")
        .fetch_one(&world.database)
        .await
        .unwrap();
    assert_eq!(compared, held);
    // They are in the sample, and no CV that is gone counts as being in step.
    let stored = world.documents().await.len();
    let said = done(&world, &["verify", "--sample", "1000", "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["sampled"], &said["held"]),
        (&stored.into(), &held.into())
    );
    assert!(said["share"].as_f64().unwrap() > 0.2, "{said}");
    let (_, said, _) = command(&world, &["status"]).await;
    assert!(said.contains(&format!("held deletes   {held}")), "{said}");
}

#[tokio::test]
async fn a_dry_run_brakes_over_all_its_batches_as_a_run_that_writes_does() {
    let mut world = World::new(160).await;
    world.sync_again().await;
    let ids = remove(&world, 60).await;
    // Slow, so that no batch has as many deletes as the brake lets pass.
    world.config.sync.workers = 2;
    world
        .source
        .rule(Operation::Detail, Fault::Slow(Duration::from_millis(10)));
    let live = world.any_live_id();
    let mut dry = world.pipeline();
    dry.store = dry.store.dry();
    for (pipeline, rows) in [(dry, 0), (world.pipeline(), 10)] {
        pipeline.vdab.suggest_canaries([CvId(live)]);
        let these = Request::These(ids.iter().copied().map(CvId).collect());
        let tally = pipeline.carry_out(these).await.unwrap().tally;
        assert!((10..20).contains(&tally.held), "{tally:?}");
        assert!((rows..20).contains(&world.rows("held_delete").await));
    }
}

#[tokio::test]
async fn deletes_that_arrive_while_approved_ones_are_applied_are_not_held() {
    let mut world = World::new(400).await;
    world.sync_again().await;
    let ids: Vec<Uuid> = world.documents().await.into_keys().collect();
    world
        .source
        .world(|w| assert!(ids[..200].iter().all(|id| w.remove(*id))));
    world.settle();
    world.sync_again().await;
    let held: Vec<Uuid> = sqlx::query_scalar("select cv_id from cvsync.held_delete")
        .fetch_all(&world.database)
        .await
        .unwrap();
    let mut tx = transaction(world.url()).await.unwrap();
    let which = Which::These(held.clone());
    held_delete::approve(&mut tx, which).await.unwrap();
    tx.commit().await.unwrap();
    // `Date` counts in seconds: within one, the answers to a process that just began may count as older than what was held.
    world.settle();
    // Half of the approved deletes are applied when ordinary ones arrive: both together are far more than a fifth of the table.
    let half: Vec<CvId> = held[..held.len() / 2].iter().copied().map(CvId).collect();
    let applied = half.len();
    let summary = world.request(Request::These(half)).await;
    assert_eq!(usize::try_from(summary.tally.deleted), Ok(applied));
    world
        .source
        .world(|w| assert!(ids[200..220].iter().all(|id| w.remove(*id))));
    world.settle();
    let summary = world.sync_again().await;
    assert_eq!(
        usize::try_from(summary.tally.deleted),
        Ok(held.len() - applied + 20)
    );
    assert_eq!(world.rows("held_delete").await, 0);
    world.assert_database_equals_source().await;
}

/// The four ways in which VDAB may say that a CV is gone.
fn gone_in_each_way(world: &World, ids: &[Uuid]) {
    for (id, way) in ids.iter().zip((0..4).cycle()) {
        let (status, body) = match way {
            0 => (404, r#"{"httpMessage":"Not Found"}"#.to_owned()),
            1 => (410, r#"{"httpMessage":"Gone"}"#.to_owned()),
            2 => (400, r#"{"message":"x is geen bestaande CV"}"#.to_owned()),
            _ => (200, format!(r#"{{"cvId":"{id}","status":"VERWIJDERD"}}"#)),
        };
        let answer = Answer::new(status, body).with("content-type", "application/json");
        world.source.rule(*id, Fault::Answer(answer));
    }
}

async fn make_due(world: &World) {
    for sql in [
        "update cvsync.held_delete set next_attempt_at = now()",
        "update cvsync.parked_cv set next_attempt_at = now()",
    ] {
        sqlx::query(sql).execute(&world.database).await.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_that_calls_every_cv_gone_empties_no_table() {
    let mut world = World::new(100).await;
    world.sync_again().await;
    let stored = world.documents().await;
    let ids: Vec<Uuid> = stored.keys().copied().collect();
    gone_in_each_way(&world, &ids);
    let all = || Request::These(ids.iter().copied().map(CvId).collect());
    // A process that has just started knows no live CV but those in the table, which are all called gone.
    let summary = world.request(all()).await;
    assert_eq!(
        (summary.tally.deleted, world.documents().await),
        (0, stored)
    );
    // One that has seen live CVs believes a few.
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.update(*id))));
    world.settle();
    let summary = world.sync_again().await;
    assert!(summary.tally.deleted <= 3, "{:?}", summary.tally);
    // Ordinary deletes do not wait for those without proof.
    world.source.world(|w| assert!(w.remove(ids[0])));
    world.settle();
    assert_eq!(world.sync_again().await.tally.deleted, 1);
    // Once the gateway is mended, the copy is whole again by itself.
    world.source.clear_faults();
    make_due(&world).await;
    world.sync_again().await;
    assert_eq!(world.rows("held_delete").await, 0);
    world.request(Request::Reconcile).await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_first_sync_through_a_gateway_that_calls_every_cv_gone_loses_none() {
    let mut world = World::new(40).await;
    world.source.rule(Operation::Detail, Fault::MissingDetail);
    world.sync_again().await;
    let live = i64::try_from(world.live()).unwrap();
    assert_eq!(world.rows("parked_cv").await, live);
    world.source.clear_faults();
    make_due(&world).await;
    world.sync_again().await;
    world.assert_equal_but_for_parked(&[]).await;
}

#[tokio::test]
async fn a_canary_that_was_removed_is_no_proof_against_a_delete() {
    let mut world = World::new(40).await;
    world.sync_again().await;
    let ids: Vec<CvId> = world.documents().await.into_keys().map(CvId).collect();
    world
        .source
        .world(|w| assert!(ids[..20].iter().all(|id| w.remove(id.0))));
    world.settle();
    let pipeline = world.pipeline();
    pipeline.vdab.suggest_canaries([ids[0], ids[1], ids[30]]);
    let calls = world.detail_calls();
    let removed = Request::These(ids[..20].to_vec());
    let summary = pipeline.carry_out(removed).await.unwrap();
    assert_eq!(summary.tally.deleted, 20);
    let calls = world.detail_calls() - calls;
    assert!(calls <= 40, "{calls} calls for 20 CVs");
}

#[tokio::test]
async fn deletes_without_proof_are_applied_once_a_person_approves_them() {
    let mut world = World::new(8).await;
    world.sync_again().await;
    let ids: Vec<CvId> = world.documents().await.into_keys().map(CvId).collect();
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.remove(id.0))));
    world.settle();
    let removed = ids.len();
    world.request(Request::These(ids)).await;
    assert_eq!(world.documents().await.len(), removed);
    let list = done(&world, &["deletes", "list"]).await;
    assert!(list.contains("no proof; next attempt"), "{list}");
    done(&world, &["deletes", "approve", "--all"]).await;
    assert_eq!(world.documents().await.len(), 0);
    assert_eq!(world.rows("held_delete").await, 0);
}

#[tokio::test]
async fn discarded_deletes_are_decided_anew() {
    let mut world = World::with(Options {
        candidates: 300,
        ..Options::default()
    })
    .await;
    world.sync_again().await;
    let ids: Vec<Uuid> = world.documents().await.into_keys().take(150).collect();
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.remove(*id))));
    world.settle();
    world.sync_again().await;
    assert!(world.rows("held_delete").await > 0);
    done(&world, &["deletes", "discard", "--all"]).await;
    assert_eq!(world.rows("held_delete").await, 0);
    let mut pipeline = world.pipeline();
    // All of them may go now.
    pipeline.brake = Brake::on(1.0);
    pipeline.vdab.suggest_canaries([CvId(world.any_live_id())]);
    pipeline.carry_out(Request::Reconcile).await.unwrap();
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn far_fewer_changes_than_usual_turn_the_status_amber() {
    let mut world = World::new(40).await;
    world.sync_again().await;
    // The source lists nothing new, as one whose key has lost its rights does.
    world.pass(TimeDelta::hours(7));
    world.sync_again().await;
    for weeks in 1..=4 {
        let usual = "insert into cvsync.sync_window (van, tot, fresh, state, listed, skipped)
                     select position - make_interval(weeks => $1, hours => 2),
                            position - make_interval(weeks => $1, hours => 1),
                            true, 'settled', 500, 500
                       from cvsync.watermark";
        sqlx::query(usual)
            .bind(weeks)
            .execute(&world.database)
            .await
            .unwrap();
    }
    let daemon = Process::run(&world, &[]);
    daemon
        .until("/api/status", |_, body| {
            body.contains(r#""light":"amber""#)
                && body.contains("changes in six hours; 500 are usual")
        })
        .await;
    let (status, _) = daemon.get("/readyz").await.unwrap();
    assert_eq!(status, 200, "it works all the same");
}

#[tokio::test]
async fn cvs_that_were_not_confirmed_for_long_are_asked_for_again() {
    let mut world = World::new(60).await;
    world.sync_again().await;
    // Changed without ever being listed.
    let id = world.any_live_id();
    world.source.world(|w| {
        w.update(id);
        w.unlist(id);
    });
    sqlx::query("update cvsync.cv_seen set as_of = as_of - interval '40 days' where cv_id = $1")
        .bind(id)
        .execute(&world.database)
        .await
        .unwrap();
    let pipeline = world.pipeline();
    pipeline.run().await.unwrap();
    let month = Duration::from_hours(720);
    let unseen = pipeline.unconfirmed(month, 10).await.unwrap();
    assert_eq!(unseen, [CvId(id)]);
    pipeline.carry_out(Request::These(unseen)).await.unwrap();
    world.assert_database_equals_source().await;
    assert!(pipeline.unconfirmed(month, 10).await.unwrap().is_empty());
}
