//! Wrong clocks: the source's, this machine's, the database's, one or two of them at once.

use chrono::{TimeDelta, Utc};
use cvsync::sync::{InFuture, Request};
use uuid::Uuid;

use crate::process::{Process, output};
use crate::world::World;

const FIVE_MINUTES: TimeDelta = TimeDelta::minutes(5);

/// Ten CVs change at the source.
fn change_ten(world: &World) {
    let ids: Vec<Uuid> = world.source.world(|w| w.live_ids().take(10).collect());
    world.source.world(|w| {
        for id in ids {
            assert!(w.update(id));
        }
    });
}

fn date_ahead(world: &World, ahead: TimeDelta) {
    world
        .source
        .settings(|settings| settings.date_ahead = ahead);
}

#[tokio::test]
async fn a_source_clock_that_runs_ahead_loses_no_change() {
    for ahead in [
        TimeDelta::seconds(90),
        FIVE_MINUTES,
        TimeDelta::days(1),
        TimeDelta::days(400),
    ] {
        let world = World::new(50).await;
        date_ahead(&world, ahead);
        world.sync().await;
        let future = world.watermark().await.unwrap() - world.source_clock.now();
        assert!(future < TimeDelta::zero(), "{ahead}: {future}");
        date_ahead(&world, TimeDelta::zero());
        change_ten(&world);
        world.settle();
        world.sync().await;
        world.assert_database_equals_source().await;
    }
}

#[tokio::test]
async fn one_wrong_clock_delays_nothing_and_costs_no_call() {
    let hour = TimeDelta::hours(1);
    for (date, local) in [
        (TimeDelta::zero(), -hour),
        (TimeDelta::zero(), hour),
        (FIVE_MINUTES, TimeDelta::zero()),
    ] {
        let mut world = World::new(50).await;
        date_ahead(&world, date);
        world.clock.set_skew(local);
        world.sync_again().await;
        let behind = world.source_clock.now() - world.watermark().await.unwrap();
        assert!(behind < TimeDelta::seconds(70), "{date}, {local}: {behind}");
        let calls = world.detail_calls();
        world.sync_again().await;
        world.settle();
        world.sync_again().await;
        assert_eq!(world.detail_calls(), calls, "{date}, {local}");
    }
}

/// The database's clock is right; the source's `Date` and this machine's clock are ahead by the same.
#[tokio::test]
async fn two_fast_clocks_are_made_good_by_the_next_reconcile_or_relist() {
    for (request, passes) in [(Request::Reconcile, 0), (Request::Relist, 2)] {
        let world = World::new(50).await;
        date_ahead(&world, FIVE_MINUTES);
        world.clock.set_skew(FIVE_MINUTES);
        world.sync().await;
        change_ten(&world);
        world.sync().await;
        date_ahead(&world, TimeDelta::zero());
        world.clock.set_skew(TimeDelta::zero());
        world.pass(TimeDelta::hours(passes));
        assert_eq!(world.rows("clock_doubt").await, 1);
        if request == Request::Relist {
            world.sync().await;
        }
        world.pipeline().carry_out(request).await.unwrap();
        world.assert_database_equals_source().await;
        assert_eq!(world.rows("clock_doubt").await, 0);
        let future = "select count(*) from cvsync.cv_seen where as_of > now() + interval '3 hours'";
        assert_eq!(world.count(future).await, 0);
    }
}

#[tokio::test]
async fn a_slow_clock_that_is_corrected_while_the_daemon_runs_costs_no_call() {
    let mut world = World::new(50).await;
    world.clock.set_skew(TimeDelta::hours(-1));
    world.sync_again().await;
    assert_eq!(world.rows("clock_doubt").await, 1);
    let calls = world.detail_calls();
    world.clock.set_skew(TimeDelta::zero());
    world.run_again(Request::Reconcile).await;
    assert_eq!(world.rows("clock_doubt").await, 0);
    assert_eq!(world.detail_calls(), calls);
}

#[tokio::test]
async fn a_slow_clock_does_not_clear_what_another_process_noted() {
    let mut world = World::new(50).await;
    date_ahead(&world, FIVE_MINUTES);
    world.clock.set_skew(FIVE_MINUTES);
    world.sync().await;
    change_ten(&world);
    world.sync().await;
    date_ahead(&world, TimeDelta::zero());
    world.settle();
    world.clock.set_skew(TimeDelta::hours(-1));
    let id = world.any_live_id();
    world.source.world(|w| assert!(w.update(id)));
    world.settle();
    world.sync_again().await;
    world.clock.set_skew(TimeDelta::zero());
    world.run_again(Request::Reconcile).await;
    world.assert_database_equals_source().await;
    assert_eq!(world.rows("clock_doubt").await, 0);
}

#[tokio::test]
async fn a_stored_time_in_the_future_stands_against_nothing() {
    let world = World::new(50).await;
    world.sync().await;
    for ahead in ["5 minutes", "1 year"] {
        let table = "update cvsync.cv_seen set as_of = now() + $1::interval";
        sqlx::query(table)
            .bind(ahead)
            .execute(&world.database)
            .await
            .unwrap();
        change_ten(&world);
        let removed = world.any_live_id();
        world.source.world(|w| assert!(w.remove(removed)));
        world.settle();
        world.sync().await;
        world.assert_database_equals_source().await;
    }
    let table = "update cvsync.cv_seen set as_of = now() + interval '1 year'";
    sqlx::query(table).execute(&world.database).await.unwrap();
    world
        .pipeline()
        .carry_out(Request::Reconcile)
        .await
        .unwrap();
    let future = "select count(*) from cvsync.cv_seen where as_of > now() + interval '1 day'";
    assert_eq!(world.count(future).await, 0);
}

#[tokio::test]
async fn a_watermark_in_the_future_hides_no_change() {
    let world = World::new(50).await;
    world.sync().await;
    let table = "update cvsync.watermark set position = now() + interval '1 day'";
    sqlx::query(table).execute(&world.database).await.unwrap();
    for _ in 0..2 {
        change_ten(&world);
        world.settle();
        world.sync().await;
        world.assert_database_equals_source().await;
    }
}

#[tokio::test]
async fn status_is_amber_and_names_the_clock_that_disagrees() {
    let world = World::new(5).await;
    date_ahead(&world, FIVE_MINUTES);
    let daemon = Process::run(&world, &[("CVSYNC_SCHEDULE", "* * * * * *")]);
    let (name, value) = ("VDAB's clock is", r#"{clock="source"} "#);
    daemon
        .until("/api/status", |_, body| {
            body.contains(name) && body.contains(r#""light":"amber""#)
        })
        .await;
    assert_eq!(daemon.get("/readyz").await.unwrap().0, 200);
    let metrics = daemon.get("/metrics").await.unwrap().1;
    let line = metrics.lines().find_map(|line| {
        line.strip_prefix("cvsync_clock_disagreement_seconds")?
            .strip_prefix(value)
    });
    let ahead: f64 = line.unwrap().parse().unwrap();
    assert!((ahead - 300.0).abs() < 10.0, "{ahead}");
    date_ahead(&world, TimeDelta::zero());
    daemon
        .until("/api/status", |_, body| body.contains(r#""light":"green""#))
        .await;
}

#[tokio::test]
async fn an_infinite_time_is_refused_where_it_is_written() {
    let world = World::new(5).await;
    world.sync().await;
    for statement in [
        "update cvsync.watermark set position = 'infinity'",
        "update cvsync.cv_seen set as_of = '-infinity'",
        "insert into cvsync.pause (reason, until) values ('moving', 'infinity')",
    ] {
        let refused = sqlx::query(statement).execute(&world.database).await;
        let error = refused.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "23514");
    }
}

#[tokio::test]
async fn first_sync_that_begins_in_the_future_is_refused_by_every_command() {
    let world = World::new(1).await;
    let environment = world.environment();
    let base = || environment.iter().map(|(n, v)| (*n, v.as_str()));
    let written = |ahead: TimeDelta| (Utc::now() + ahead).to_rfc3339();
    let soon = written(TimeDelta::hours(1));
    for from in ["2062-01-01", &soon] {
        for (command, exit) in [("check", 1), ("sync", 2), ("run", 2)] {
            let variables = [("CVSYNC_SYNC_FROM", from), ("CVSYNC_HTTP_ADDR", "off")];
            let (code, told, error) = output(&[command], base().chain(variables)).await;
            assert_eq!(code, Some(exit), "{command} {from}: {told}{error}");
            let words = "CVSYNC_SYNC_FROM must not lie in the future";
            assert!(
                format!("{told}{error}").contains(words),
                "{command}: {told}{error}"
            );
        }
    }
    assert_eq!(world.rows("watermark").await, 0);
    let range = ["backfill", "--van", "2020-01-01T00:00:00Z", "--tot", &soon];
    let (code, _, error) = output(&range, base()).await;
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("--tot) must not lie in the future"),
        "{error}"
    );
    let now = [("CVSYNC_SYNC_FROM", &*written(TimeDelta::zero()))];
    let (code, _, error) = output(&["sync"], base().chain(now)).await;
    assert_eq!(code, Some(0), "{error}");
}

#[tokio::test]
async fn local_clock_does_not_decide_whether_the_first_sync_begins_in_the_future() {
    let mut world = World::new(1).await;
    world.clock.set_skew(TimeDelta::days(36_500));
    world.set("CVSYNC_SYNC_FROM", "2062-01-01".to_owned());
    let refused = world.pipeline().refuse_future_start().await.unwrap_err();
    assert!(refused.is::<InFuture>(), "{refused}");
    world.clock.set_skew(TimeDelta::days(-3_650));
    world.set("CVSYNC_SYNC_FROM", "2020-01-01".to_owned());
    world.pipeline().refuse_future_start().await.unwrap();
}
