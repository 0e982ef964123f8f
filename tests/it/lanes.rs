//! The two lanes: what is new does not wait for what is missing from before, and nothing in between is lost.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use cvsync::model::Window;
use cvsync::store::coverage;
use cvsync::sync::Request;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::process::{Process, output};
use crate::world::{World, store};

const OFTEN: (&str, &str) = ("CVSYNC_SCHEDULE", "* * * * * *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");
/// A call a second: with hundreds of CVs, the backlog lasts for minutes.
const SLOWLY: (&str, &str) = ("CVSYNC_API_RATE_PER_MINUTE", "60");

async fn is_stored(world: &World, id: Uuid) -> bool {
    world.documents().await.contains_key(&id)
}

/// The days of the last change of the stored and of the missing CVs.
async fn stored_and_missing(world: &World) -> (Vec<NaiveDate>, Vec<NaiveDate>) {
    let stored = world.documents().await;
    let all = world.source.documents();
    let (stored, missing): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(id, _)| stored.contains_key(id));
    let day = |(_, document): (Uuid, Value)| -> Option<NaiveDate> {
        document["wijzigingsDatum"]
            .as_str()?
            .get(..10)?
            .parse()
            .ok()
    };
    (
        stored.into_iter().filter_map(day).collect(),
        missing.into_iter().filter_map(day).collect(),
    )
}

#[tokio::test]
async fn removals_and_new_changes_do_not_wait_for_the_backlog() {
    let world = World::new(600).await;
    let daemon = Process::run(&world, &[OFTEN, AT_ONCE, SLOWLY]);
    daemon
        .until_status(|status| status["live"].is_object() && status["stored"].as_i64() > Some(5))
        .await;
    let stored = *world.documents().await.keys().next().unwrap();
    let added = world.source.world(|source| {
        assert!(source.remove(stored));
        source.add()
    });
    let (metrics, before) = (
        daemon.until("/metrics", |_, _| true).await,
        world.rows("cv").await,
    );
    assert!(!metrics.contains(r#"cvsync_backlog_seconds{stream="kandidaten"} 0"#));
    let begun = std::time::Instant::now();
    while is_stored(&world, stored).await || !is_stored(&world, added).await {
        assert!(begun.elapsed() < Duration::from_mins(1), "{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let now = world.rows("cv").await;
    assert!(
        now < before + 90,
        "the backlog went first: {before}, then {now}"
    );
    let status = daemon
        .until_status(|status| status["backlog"].is_object())
        .await;
    assert_eq!(
        status["health"]["first"]["reason"], "first_sync",
        "{status}"
    );
    assert_eq!(status["health"]["in_step"], false);
    assert!(status["watermark"].is_null(), "older changes are missing");
    let metrics = daemon.until("/metrics", |_, _| true).await;
    assert!(metrics.contains(r#"cvsync_apply_delay_seconds_count{kind="delete",lane="live""#));
}

#[tokio::test]
async fn a_first_sync_brings_the_newest_cvs_first() {
    let world = World::new(400).await;
    let window = ("CVSYNC_WINDOW", "1d");
    let daemon = Process::run(
        &world,
        &[
            OFTEN,
            AT_ONCE,
            window,
            ("CVSYNC_API_RATE_PER_MINUTE", "600"),
        ],
    );
    daemon
        .until_status(|status| status["stored"].as_i64() > Some(100))
        .await;
    daemon.kill().await;
    let (stored, missing) = stored_and_missing(&world).await;
    let oldest_stored = stored.into_iter().min().unwrap();
    let newest_missing = missing.into_iter().max().unwrap();
    // Those on their way may be of two windows.
    assert!(
        newest_missing < oldest_stored + TimeDelta::days(2),
        "{newest_missing} is missing, and {oldest_stored} is here"
    );
}

#[tokio::test]
async fn a_first_sync_that_is_killed_goes_on_with_what_is_missing() {
    let world = World::new(600).await;
    let env = [
        OFTEN,
        AT_ONCE,
        ("CVSYNC_WINDOW", "1d"),
        ("CVSYNC_API_RATE_PER_MINUTE", "3000"),
    ];
    for stored in [100, 250] {
        let daemon = Process::run(&world, &env);
        daemon
            .until_status(|status| status["stored"].as_i64() > Some(stored))
            .await;
        daemon.kill().await;
        world.assert_watermark_is_honest().await;
    }
    let daemon = Process::run(&world, &env);
    daemon.until_synced().await;
    world.assert_database_equals_source().await;
    // Each kill costs what was in flight: at most one call for each of 16 workers, and what a page had listed twice.
    assert!(
        world.detail_calls() <= 600 + 2 * 40,
        "{}",
        world.detail_calls()
    );
}

#[tokio::test]
async fn a_mass_change_is_left_to_the_backlog_and_its_removals_are_not() {
    let world = World::new(500).await;
    let env = [
        OFTEN,
        AT_ONCE,
        ("CVSYNC_CHANNEL_CAPACITY", "20"),
        ("CVSYNC_MAX_DELETE_SHARE", "1"),
    ];
    let daemon = Process::run(&world, &env);
    daemon.until_synced().await;
    let calls = world.detail_calls();
    let changed = world.source.world(|source| {
        let ids: Vec<_> = source.live_ids().collect();
        let (removed, changed) = ids.split_at(ids.len() / 10);
        assert!(removed.iter().all(|id| source.remove(*id)));
        assert!(changed.iter().all(|id| source.update(*id)));
        changed.len()
    });
    let is_left = |_, metrics: &str| {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(r#"cvsync_windows_total{outcome="left"}"#));
        line.is_some_and(|line| !line.ends_with(" 0"))
    };
    daemon.until("/metrics", is_left).await;
    daemon
        .until_status(|status| status["since_start"]["updated"] == changed)
        .await;
    daemon.until_synced().await;
    world.assert_database_equals_source().await;
    let calls = world.detail_calls() - calls;
    // Of windows that are a second apart, those that fitted are fetched once more.
    let most = changed as u64 * 3 / 2;
    assert!(calls <= most, "{calls} calls for {changed} changes");
}

#[tokio::test]
async fn a_sync_by_hand_lists_what_is_new_and_then_the_gaps() {
    let mut world = World::new(60).await;
    world.sync().await;
    let watermark = world.watermark().await.unwrap();
    world.pass(TimeDelta::hours(3));
    world.source.world(|source| {
        source.add();
    });
    world.settle();
    // The live lane alone leaves no gap, and moves the watermark.
    world.run_again(Request::Live).await;
    assert!(world.watermark().await.unwrap() > watermark);
    world.assert_database_equals_source().await;
    let nothing = world.run_again(Request::Backlog).await;
    assert_eq!((nothing.windows, nothing.calls), (0, 0));
}

#[tokio::test]
async fn a_rewind_takes_settled_spans_back_too() {
    let mut world = World::new(80).await;
    world.run_again(Request::Live).await;
    assert_eq!(world.watermark().await, None);
    let edge: DateTime<Utc> = sqlx::query_scalar("select position from cvsync.live_edge")
        .fetch_one(&world.database)
        .await
        .unwrap();
    let to = (edge - TimeDelta::minutes(10)).to_rfc3339();
    let env = world.environment();
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    let (code, _, error) = output(&["rewind", "--to", &to], env).await;
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(world.count("select count(*) from cvsync.covered where tot > (select to_position from cvsync.watermark_rewind)").await, 0);
    world.sync_again().await;
    world.assert_database_equals_source().await;
    assert_eq!(world.rows("covered").await, 0, "nothing is left between");
}

#[tokio::test]
async fn a_rewind_by_an_older_version_takes_settled_spans_back_too() {
    let mut world = World::new(80).await;
    world.sync_again().await;
    // A gap is left, and an older version moves the watermark only.
    sqlx::raw_sql(
        "insert into cvsync.covered (stream, van, tot)
         select stream, position - interval '1 day', position from cvsync.watermark;
         update cvsync.watermark set position = position - interval '2 days';
         with moved as (
             update cvsync.watermark set position = position - interval '1 day'
             returning stream, position
         )
         insert into cvsync.watermark_rewind (stream, from_position, to_position)
         select stream, position + interval '1 day', position from moved",
    )
    .execute(&world.database)
    .await
    .unwrap();
    assert_eq!(world.rows("covered").await, 0);
    let edges = "select count(*) from cvsync.live_edge join cvsync.watermark using (position)";
    assert_eq!(world.count(edges).await, 1, "nothing after it is settled");
    world.sync_again().await;
    world.assert_database_equals_source().await;
}

/// Settles windows given in minutes.
async fn settle(tx: &mut PgConnection, windows: &[(i64, i64)]) {
    let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
    let windows: Vec<_> = windows
        .iter()
        .map(|(van, tot)| Window::new(at(*van), at(*tot)).unwrap())
        .collect();
    coverage::settle(tx, &windows, None, at(0), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn windows_that_settle_in_any_order_and_at_the_same_time_leave_no_gap() {
    let world = World::new(0).await;
    let mut windows: Vec<_> = (0..60).map(|at| (at * 10, at * 10 + 10)).collect();
    fastrand::shuffle(&mut windows);
    let store = store(world.url());
    let both: Vec<_> = windows
        .chunks(30)
        .map(|half| {
            let (store, half) = (store.clone(), half.to_vec());
            tokio::spawn(async move {
                for window in half {
                    let settle = async |tx: &mut PgConnection| {
                        settle(tx, &[window]).await;
                        Ok(())
                    };
                    store.write("settling", settle).await.unwrap();
                }
            })
        })
        .collect();
    for half in both {
        half.await.unwrap();
    }
    assert_eq!(world.rows("covered").await, 0);
    let end = DateTime::from_timestamp(600 * 60, 0);
    assert_eq!(world.watermark().await, end);
}
