//! The edges and the width of windows: no change falls between two windows, and a refusal narrows none without need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use cvsync::simulator::{Answer, Fault, Operation, Options, Quirk};
use cvsync::sync::Request;
use uuid::Uuid;

use crate::process::Process;
use crate::world::World;

/// A source with these quirks that has no CVs yet, and a database that has seen it.
async fn world(quirks: Vec<Quirk>) -> World {
    let options = Options {
        candidates: 0,
        quirks,
        ..Options::default()
    };
    World::with(options).await
}

/// Ways in which a source may treat `van`, `tot` and the times of changes.
const ENDS: &[&[Quirk]] = &[
    &[Quirk::EndsInclusive],
    &[Quirk::EndsLate],
    &[Quirk::EndsExclusive],
    &[Quirk::SecondsTruncated, Quirk::EndsExclusive],
    &[Quirk::SecondsRounded, Quirk::EndsExclusive],
    &[Quirk::MinutesTruncated, Quirk::EndsExclusive],
];

#[tokio::test]
async fn changes_at_the_edges_of_windows_are_listed_however_the_source_treats_the_ends() {
    for quirks in ENDS {
        let mut world = world(quirks.to_vec()).await;
        world.config.sync.page_size = 10;
        if quirks.contains(&Quirk::MinutesTruncated) {
            world.config.api.dialect.time_format = "%Y-%m-%dT%H:%M:00.000Z".to_owned();
        }
        world.sync().await;
        let edges: Vec<DateTime<Utc>> = sqlx::query_scalar(
            "select tot from cvsync.sync_window where fresh order by tot desc offset 1 limit 3",
        )
        .fetch_all(&world.database)
        .await
        .unwrap();
        assert_eq!(edges.len(), 3);
        let mut put = Vec::new();
        for edge in &edges {
            for ms in [-1_000, -999, -501, -500, -1, 0, 1, 499, 500, 999, 1_000] {
                put.push(*edge + TimeDelta::milliseconds(ms));
            }
        }
        // So many within a few seconds that windows are halved until they are as short as they become.
        let dense = edges[0] - TimeDelta::days(1);
        put.extend((0..30).map(|n| dense + TimeDelta::milliseconds(n * 197)));
        world.source.world(|w| {
            for (number, at) in put.iter().enumerate() {
                let id = Uuid::from_u128(number as u128 + 1);
                w.put(id, format!(r#"{{"cvId":"{id}","status":"OPEN"}}"#), *at);
            }
        });
        // The same windows once more.
        let from = world.config.sync.from;
        for table in ["watermark", "live_edge"] {
            let back = format!("update cvsync.{table} set position = $1");
            let back = sqlx::query(sqlx::AssertSqlSafe(back)).bind(from);
            back.execute(&world.database).await.unwrap();
        }
        world.sync().await;
        let found = world.documents().await.len();
        assert_eq!(found, put.len(), "{quirks:?}");
    }
}

#[tokio::test]
async fn requests_are_no_wider_than_configured_and_end_by_now() {
    let world = World::new(20).await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hook = Arc::clone(&seen);
    let clock = world.source_clock.clone();
    world.source.on_request(move |call, _| {
        let ends = ["van", "tot"].map(|name| call.value(name).map(str::to_owned));
        if let [Some(van), Some(tot)] = ends {
            let [van, tot] = [van, tot].map(|end| end.parse::<DateTime<Utc>>().unwrap());
            hook.lock().unwrap().push((tot - van, clock.now() - tot));
        }
    });
    world.sync().await;
    world.request(cvsync::sync::Request::Reconcile).await;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let widest = seen.iter().map(|(width, _)| *width).max().unwrap();
    assert_eq!(widest, TimeDelta::days(5));
    assert!(seen.iter().all(|(_, ago)| *ago >= TimeDelta::zero()));
}

fn refusal(status: u16) -> Fault {
    let body = r#"{"httpCode":"400","moreInformation":"no"}"#;
    Fault::Answer(Answer::new(status, body).with("content-type", "application/json"))
}

#[tokio::test]
async fn a_window_that_is_refused_for_a_moment_narrows_no_window() {
    let world = World::new(100).await;
    let pipeline = world.pipeline();
    for status in [400, 404, 413, 422] {
        world.source.script(Operation::Bulk, [refusal(status)]);
        pipeline.run().await.unwrap();
        world.settle();
    }
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn wide_windows_that_are_refused_for_longer_are_halved_and_then_tried_whole_again() {
    let world = World::new(100).await;
    let pipeline = world.pipeline();
    pipeline.carry_out(Request::Live).await.unwrap();
    let refusals = (0..5).map(|_| refusal(400));
    world.source.script(Operation::Bulk, refusals);
    let summary = pipeline.carry_out(Request::Backlog).await.unwrap();
    assert_eq!(pipeline.window_limit(), None);
    // Of 31 days, the first two windows have half the width.
    assert!((7..10).contains(&summary.windows), "{}", summary.windows);
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_short_window_that_is_refused_again_and_again_ends_the_run_and_narrows_no_window() {
    let world = World::new(50).await;
    let pipeline = world.pipeline();
    pipeline.run().await.unwrap();
    world.settle();
    world.source.rule(Operation::Bulk, refusal(400));
    let calls = world.bulk_calls();
    let error = pipeline.run().await.unwrap_err().to_string();
    assert!(error.contains("at most an hour"), "{error}");
    assert_eq!(world.bulk_calls() - calls, 3);
    world.source.clear_faults();
    world.pass(TimeDelta::days(4));
    let windows = pipeline.run().await.unwrap().windows;
    assert!(windows <= 5, "{windows}");
    assert_eq!(pipeline.window_limit(), None);
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn windows_on_which_the_source_fails_for_their_width_are_narrowed() {
    for status in [500, 413] {
        let mut world = World::new(100).await;
        world.config.sync.retry_max_elapsed = std::time::Duration::ZERO;
        let is_wide = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_wide);
        world.source.on_request(move |call, _| {
            let end = |name| call.value(name)?.parse::<DateTime<Utc>>().ok();
            if let (Some(van), Some(tot)) = (end("van"), end("tot")) {
                flag.store(tot - van > TimeDelta::days(2), Ordering::Relaxed);
            }
        });
        world.source.rewrite(Operation::Bulk, move |answer| {
            if is_wide.load(Ordering::Relaxed) {
                answer.status = status;
            }
        });
        let pipeline = world.pipeline();
        pipeline.run().await.unwrap();
        let limit = pipeline.window_limit().unwrap();
        assert_eq!(limit.num_hours(), 29, "{status}: {limit}");
        world.assert_database_equals_source().await;
    }
}

#[tokio::test]
async fn status_names_the_width_that_windows_are_limited_to() {
    let world = World::new(20).await;
    let limit = TimeDelta::hours(20);
    world
        .source
        .settings(|settings| settings.max_window = limit);
    let daemon = Process::run(&world, &[("CVSYNC_SCHEDULE", "0 0 0 29 2 *")]);
    let wanted = "VDAB rejects windows as wide as CVSYNC_WINDOW";
    for path in ["/readyz", "/api/status", "/"] {
        daemon
            .until(path, |_, body| {
                body.contains(wanted) && body.contains("899 min")
            })
            .await;
    }
}
