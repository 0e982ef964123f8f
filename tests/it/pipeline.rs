//! From the source to the table: what one sync does, what it leaves alone, and what a crash costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use cvsync::simulator::{Operation, Options};

use crate::world::World;

/// Every version of every row: equal before and after, nothing was written.
const ROW_VERSIONS: &str =
    "select count(*) + sum(hashtextextended(row, 0) % 1000000007)::bigint from (
              select 'cv' || ctid || xmin || xmax as row from cvsync.cv
    union all select 'cv_seen' || ctid || xmin || xmax from cvsync.cv_seen
    union all select 'cv_change' || ctid || xmin || xmax from cvsync.cv_change
    union all select 'parked_cv' || ctid || xmin || xmax from cvsync.parked_cv) as rows";

#[tokio::test]
async fn the_first_sync_brings_everything() {
    let world = World::new(700).await;
    let begun = Instant::now();
    let summary = world.sync().await;
    assert_near_the_source(&world, begun).await;
    world.assert_database_equals_source().await;
    assert_eq!(summary.tally.listed, summary.tally.done());
    // A CV that changed at the very edge of a window is listed in both windows.
    assert!(
        (700..705).contains(&summary.tally.listed),
        "{:?}",
        summary.tally
    );
    let live = world.documents().await.len() as u64;
    assert_eq!(summary.tally.inserted, live);
    assert_eq!(
        world.detail_calls(),
        live,
        "the gone ones need no detail call"
    );
}

/// The watermark of a sync that began then is as far behind the source as CVSYNC_SETTLE_LAG has it, and no more.
async fn assert_near_the_source(world: &World, begun: Instant) {
    let lag = world.source_clock.now() - world.watermark().await.unwrap();
    let took = TimeDelta::from_std(begun.elapsed()).unwrap();
    let most = TimeDelta::seconds(65) + took;
    assert!(lag > TimeDelta::seconds(60) && lag < most, "{lag}, {took}");
}

#[tokio::test]
async fn a_sync_in_which_nothing_changed_asks_once_a_window_and_writes_nothing() {
    let mut world = World::new(300).await;
    world.sync_again().await;
    world.settle();
    world.sync_again().await;
    world.settle();
    world.learn_time().await;
    let (bulk, details) = (world.bulk_calls(), world.detail_calls());
    let before = world.count(ROW_VERSIONS).await;
    let summary = world.sync_again().await;
    assert_eq!(summary.windows, 3, "those of the overlap, and what is new");
    assert_eq!(world.bulk_calls() - bulk, summary.windows);
    assert_eq!(world.detail_calls(), details);
    assert_eq!(world.count(ROW_VERSIONS).await, before);
}

#[tokio::test]
async fn changes_follow_and_what_is_unchanged_is_left_alone() {
    let mut world = World::new(200).await;
    world.sync_again().await;
    world.settle();
    let ids: Vec<_> = world.source.world(|w| w.live_ids().take(3).collect());
    let added = world.source.world(|w| {
        w.update(ids[0]);
        w.remove(ids[1]);
        // Listed again, with the same content.
        let document = w.document(ids[2]).unwrap();
        let now = w.now();
        w.put(ids[2], document, now);
        w.add()
    });
    world.settle();
    let summary = world.sync_again().await;
    world.assert_database_equals_source().await;
    let tally = summary.tally;
    assert_eq!(
        (
            tally.inserted,
            tally.updated,
            tally.deleted,
            tally.unchanged
        ),
        (1, 1, 1, 1)
    );
    let feed: Vec<(uuid::Uuid, String)> =
        sqlx::query_as("select cv_id, kind from cvsync.cv_change order by seq desc limit 3")
            .fetch_all(&world.database)
            .await
            .unwrap();
    for (id, kind) in [(added, "upsert"), (ids[0], "upsert"), (ids[1], "delete")] {
        assert!(feed.contains(&(id, kind.to_owned())), "{kind}");
    }
}

#[tokio::test]
async fn a_deleted_cv_leaves_nothing_behind_but_its_id() {
    let mut world = World::new(50).await;
    let canary = world.any_live_id();
    let document = format!(r#"{{"cvId":"{canary}","status":"OPEN","achternaam":"Kanarievogel"}}"#);
    world.source.world(|w| {
        let now = w.now();
        w.put(canary, document, now);
    });
    world.settle();
    world.sync_again().await;
    let dump = "select count(*) from (
        select t::text as row from cvsync.cv t union all select t::text from cvsync.cv_seen t
        union all select t::text from cvsync.cv_change t union all select t::text from cvsync.parked_cv t
        union all select t::text from cvsync.sync_window t) rows where row like '%Kanarievogel%'";
    assert_eq!(world.count(dump).await, 1);
    world.source.world(|w| w.remove(canary));
    world.settle();
    world.sync_again().await;
    assert_eq!(world.count(dump).await, 0);
    let tombstones = "select count(*) from cvsync.cv_seen where gone";
    assert!(world.count(tombstones).await >= 1);
}

#[tokio::test]
async fn pages_that_shift_hide_nothing() {
    let mut world = World::with(Options {
        candidates: 400,
        history: TimeDelta::hours(2),
        ..Options::default()
    })
    .await;
    world.config.sync.page_size = 10;
    let ids: Vec<_> = world.source.world(|w| w.live_ids().collect());
    let mut next = 0;
    world.source.on_request(move |call, world| {
        if call.operation == Operation::Bulk && next < ids.len() {
            world.update(ids[next]);
            next += 7;
        }
    });
    world.sync_again().await;
    world.source.on_request(|_, _| {});
    world.settle();
    world.sync_again().await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_window_that_cannot_be_cut_is_read_from_its_last_page_down() {
    let mut world = World::new(0).await;
    world.config.sync.page_size = 10;
    let instant = Utc::now() - TimeDelta::days(1);
    let ids: Vec<_> = (0..95).map(uuid::Uuid::from_u128).collect();
    world.source.world(|w| {
        for id in &ids {
            let document = format!(r#"{{"cvId":"{id}","status":"OPEN"}}"#);
            w.put(*id, document, instant);
        }
    });
    // With each page a CV in front of it leaves the instant, and all behind it move up a place.
    let mut leaving = ids.into_iter().step_by(6);
    world.source.on_request(move |call, world| {
        if call.operation == Operation::Bulk
            && call.value("vanaf").is_some_and(|offset| offset != "0")
            && let Some(id) = leaving.next()
        {
            let document = format!(r#"{{"cvId":"{id}","status":"OPEN","gsm":"0470"}}"#);
            let now = world.now();
            world.put(id, document, now);
        }
    });
    let first = world.sync_again().await;
    assert!(
        first.tally.superseded + first.tally.unchanged > 0,
        "rows moved: {first:?}"
    );
    world.source.on_request(|_, _| {});
    world.settle();
    world.sync_again().await;
    world.assert_database_equals_source().await;
    assert_eq!(world.documents().await.len(), 95);
}

#[tokio::test]
async fn a_crash_costs_what_was_in_flight_and_no_more() {
    let mut world = World::new(1_500).await;
    world.set("CVSYNC_API_RATE_PER_MINUTE", "30000".to_owned());
    let (crashes, repeated) = crash_every_300_calls(&world).await;
    let workers = 16;
    assert!(repeated <= crashes * workers, "{repeated} after {crashes}");
}

#[tokio::test]
async fn a_crash_costs_at_most_half_of_what_a_run_has_committed_however_large_the_quota() {
    let world = World::new(1_500).await;
    let (crashes, repeated) = crash_every_300_calls(&world).await;
    assert!(repeated <= crashes * 300 / 3, "{repeated} after {crashes}");
}

/// Crashes until everything is stored; returns how often, and the number of repeated calls.
async fn crash_every_300_calls(world: &World) -> (u64, u64) {
    let mut crashes = 0;
    loop {
        let pipeline = Arc::new(world.pipeline());
        let run = tokio::spawn({
            let pipeline = Arc::clone(&pipeline);
            async move { pipeline.run().await.unwrap() }
        });
        let calls = world.detail_calls();
        while !run.is_finished() && world.detail_calls() < calls + 300 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if run.is_finished() {
            break;
        }
        run.abort();
        let _ = run.await;
        crashes += 1;
        // The source's now is another one: what was fetched is known to be up to date all the same.
        world.pass(TimeDelta::minutes(5));
    }
    assert!(crashes >= 3, "{crashes}");
    world.assert_database_equals_source().await;
    let live = world.documents().await.len() as u64;
    let open = "select count(*) from cvsync.sync_window where state = 'open'";
    assert_eq!(world.count(open).await, 0);
    (crashes, world.detail_calls() - live)
}

#[tokio::test]
async fn being_asked_to_stop_leaves_whole_windows_and_the_next_run_goes_on() {
    let world = World::new(2_000).await;
    let pipeline = Arc::new(world.pipeline());
    let run = tokio::spawn({
        let pipeline = Arc::clone(&pipeline);
        async move { pipeline.run().await }
    });
    while world.detail_calls() < 200 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    pipeline.token.cancel();
    let summary = tokio::time::timeout(Duration::from_secs(8), run)
        .await
        .expect("it stops in time")
        .unwrap()
        .unwrap();
    assert!(summary.interrupted);
    let calls = world.detail_calls();
    assert!(calls < 1_900, "{calls}");
    let kept = world.documents().await.len() as u64;
    assert!(
        kept > calls - 40,
        "what was fetched is written: {kept} of {calls}"
    );
    world.sync().await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn windows_are_cut_in_the_sources_time_whatever_the_local_clock_says() {
    for skew in [TimeDelta::hours(1), TimeDelta::hours(-1)] {
        let mut world = World::new(100).await;
        world.clock.set_skew(skew);
        let begun = Instant::now();
        world.sync_again().await;
        assert_near_the_source(&world, begun).await;
        world.assert_database_equals_source().await;
        // A change at this moment would be lost if the window had ended in the source's future.
        let id = world.any_live_id();
        world.source.world(|w| w.update(id));
        world.settle();
        world.sync_again().await;
        world.assert_database_equals_source().await;
    }
}

#[tokio::test]
async fn the_quota_holds_in_every_sliding_minute_and_is_never_exceeded() {
    let mut world = World::with(Options {
        candidates: 60,
        rate_per_minute: Some(60),
        ..Options::default()
    })
    .await;
    world.config.api.rate_per_minute = 60.try_into().unwrap();
    let run = tokio::time::timeout(Duration::from_secs(15), world.pipeline().run()).await;
    assert!(run.is_err(), "60 CVs take a minute at this pace");
    let log = world.source.call_log();
    assert!(log.len() >= 12, "{}", log.len());
    assert!(log.iter().all(|call| call.status == Some(200)));
}

#[tokio::test]
async fn parts_of_a_document_that_are_not_wanted_are_not_stored() {
    let mut world = World::new(40).await;
    world.config.sync.document_exclude =
        vec![cvsync::model::JsonPointer::parse("/natuurlijkPersoon").unwrap()];
    world.sync_again().await;
    let persons = "select count(*) from cvsync.cv where document ? 'natuurlijkPersoon'";
    assert_eq!(world.count(persons).await, 0);
    assert!(world.count("select count(*) from cvsync.cv").await > 30);
}

#[tokio::test]
async fn ids_that_were_parked_are_tried_again_when_their_time_comes() {
    let mut world = World::new(40).await;
    let id = world.any_live_id();
    let answer = cvsync::simulator::Answer::new(400, r#"{"moreInformation":"no"}"#)
        .with("content-type", "application/json");
    world
        .source
        .rule(id, cvsync::simulator::Fault::Answer(answer));
    world.sync_again().await;
    world.assert_equal_but_for_parked(&[&id.to_string()]).await;
    world.source.clear_faults();
    // Nothing happens before it is due, although its window is listed once more.
    world.sync_again().await;
    world.assert_equal_but_for_parked(&[&id.to_string()]).await;
    sqlx::query("update cvsync.parked_cv set next_attempt_at = now()")
        .execute(&world.database)
        .await
        .unwrap();
    world.sync_again().await;
    world.assert_equal_but_for_parked(&[]).await;
    world.assert_database_equals_source().await;
}
