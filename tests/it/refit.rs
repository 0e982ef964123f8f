//! A change of what is stored: what is released, what is fetched, and what is written meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use cvsync::simulator::{Fault, Operation};
use cvsync::sync::Request;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::keep::{
    NO_BRAKE, NO_RELIST, ONCE, common_term, filtered, is_settled, number, stop, stored, with_term,
};
use crate::process::{Process, output};
use crate::running::until;
use crate::world::World;

const NOWHERE: (&str, &str) = ("CVSYNC_KEEP", "regio:NOWHERE");

async fn execute(world: &World, sql: impl Into<String>) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&world.database);
    done.await.unwrap();
}

/// A daemon whose filter matches no CV, and all of whose deletes are held.
async fn with_held_deletes() -> World {
    let world = World::new(150).await;
    let daemon = Process::run(&world, &[ONCE, NO_RELIST]);
    daemon.until_synced().await;
    stop(daemon).await;
    let daemon = Process::run(&world, &[ONCE, NO_RELIST, NOWHERE]);
    until("the deletes are held", async || {
        world.rows("held_delete").await == number(world.live()) && is_settled(&world).await
    })
    .await;
    stop(daemon).await;
    world
}

#[tokio::test]
async fn a_filter_that_is_set_back_releases_its_held_deletes_and_the_brake() {
    let world = with_held_deletes().await;
    // While the filter was set, this CV changed, and its delete was held again.
    let changed = world.any_live_id();
    world.source.world(|w| assert!(w.update(changed)));
    let daemon = Process::run(&world, &[ONCE, NO_RELIST, NOWHERE]);
    let newer = "select count(*) from cvsync.held_delete join cvsync.cv_seen as seen using (cv_id)
                  where held_delete.as_of > seen.as_of and filtered";
    let env = world.environment();
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    let (code, _, stderr) = output(&["resync", &changed.to_string()], env).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        world.count(newer).await,
        1,
        "it is held with the newer response"
    );
    stop(daemon).await;
    let calls = world.detail_calls();
    let daemon = Process::run(&world, &[ONCE, NO_RELIST]);
    until("the deletes are released", async || {
        world.rows("held_delete").await == 0 && is_settled(&world).await
    })
    .await;
    until("the changed CV is fetched", async || {
        world.documents().await == world.source.world(|w| w.live_documents())
    })
    .await;
    assert!(world.detail_calls() <= calls + 2, "only that one");
    stop(daemon).await;
    // The brake holds nothing that VDAB removes.
    world.source.world(|w| assert!(w.remove(changed)));
    world.settle();
    let summary = world.sync().await;
    assert_eq!((summary.tally.deleted, summary.tally.held), (1, 0));
}

#[tokio::test]
async fn a_wider_filter_holds_only_deletes_of_cvs_that_still_do_not_match() {
    let world = with_held_deletes().await;
    let before = stored(&world).await;
    // VDAB removes this one, which matches the next filter.
    let term = common_term(&world, "regio:");
    let gone = *with_term(&world, &term).first().unwrap();
    world.source.world(|w| assert!(w.remove(gone)));
    world.settle();
    world.sync().await;
    let of_vdab = "select count(*) from cvsync.held_delete where not filtered";
    assert_eq!(
        world.count(of_vdab).await,
        1,
        "it is held for another reason"
    );
    let keep = format!("regio:NOWHERE,{term}");
    let daemon = Process::run(&world, &[ONCE, NO_RELIST, ("CVSYNC_KEEP", &keep)]);
    let mut leaving = before.clone();
    leaving.retain(|id| !with_term(&world, &term).contains(id));
    until("the others are released", async || {
        let held: Vec<Uuid> = sqlx::query_scalar("select cv_id from cvsync.held_delete")
            .fetch_all(&world.database)
            .await
            .unwrap();
        held.into_iter().collect::<BTreeSet<_>>() == leaving && is_settled(&world).await
    })
    .await;
    assert_eq!(stored(&world).await, before);
    drop(daemon);
}

#[tokio::test]
async fn a_refit_whose_run_fails_backs_off_and_says_so() {
    let world = World::new(60).await;
    let term = common_term(&world, "regio:");
    let keep = ("CVSYNC_KEEP", term.as_str());
    let daemon = Process::run(&world, &[ONCE, NO_RELIST, NO_BRAKE, keep]);
    daemon.until_synced().await;
    stop(daemon).await;
    // Each run that is requested counts as failed.
    execute(
        &world,
        "create table cvsync.attempt (at timestamptz default clock_timestamp());
         create function cvsync.fails() returns trigger language plpgsql as $$
         begin
             insert into cvsync.attempt default values;
             new.failed := true;
             return new;
         end $$;
         create trigger fails before update on cvsync.run_request for each row
            when (old.done_at is null and new.done_at is not null) execute function cvsync.fails()",
    )
    .await;
    let daemon = Process::run(&world, &[ONCE, NO_RELIST, NO_BRAKE]);
    let said = "cannot be fetched again after a change of CVSYNC_KEEP";
    daemon
        .until("/api/status", |_, body| body.contains(said))
        .await;
    until("it is tried three times", async || {
        world.rows("attempt").await >= 3
    })
    .await;
    let least: f64 = sqlx::query_scalar(
        "select min(pause) from (select extract(epoch from at - lag(at) over (order by at))::float8 as pause
                                   from cvsync.attempt) as attempts",
    )
    .fetch_one(&world.database)
    .await
    .unwrap();
    assert!(least > 2.0, "{least} s");
    execute(&world, "drop trigger fails on cvsync.run_request").await;
    until("it is done", async || is_settled(&world).await).await;
    world.assert_database_equals_source().await;
    daemon
        .until("/api/status", |_, body| !body.contains(said))
        .await;
}

#[tokio::test]
async fn the_id_of_a_filtered_cv_that_vdab_removed_is_forgotten_by_a_comparison() {
    let mut world = World::new(30).await;
    let term = common_term(&world, "regio:");
    world.set("CVSYNC_KEEP", term.clone());
    world.settle();
    world.sync().await;
    let mut ids: Vec<Uuid> = world.source.world(|w| w.live_ids().collect());
    ids.retain(|id| !with_term(&world, &term).contains(id));
    let left_out = filtered(&world).await;
    let tombstones = "select count(*) from cvsync.cv_seen where gone and withheld is null";
    let gone = world.count(tombstones).await;
    assert_eq!(left_out, number(ids.len()));
    // One is listed as removed in a window that no sync lists again; the other one is not listed at all.
    world
        .source
        .world(|w| assert!(w.remove(ids[0]) && w.remove(ids[1]) && w.unlist(ids[1])));
    execute(
        &world,
        "update cvsync.watermark set position = position + interval '1 hour'",
    )
    .await;
    world.pass(TimeDelta::hours(2));
    let summary = world.request(Request::Reconcile).await;
    let difference = summary.difference.unwrap();
    let found = (difference.missing, difference.extra, difference.stale);
    assert_eq!(found, (0, 0, 0));
    assert_eq!(filtered(&world).await, left_out - 2);
    assert_eq!(world.count(tombstones).await, gone + 2);
    let calls = world.detail_calls();
    world.request(Request::Reconcile).await;
    assert_eq!(world.detail_calls(), calls, "they are asked for once");
}

#[tokio::test]
async fn cvs_that_no_longer_match_are_counted_as_such_and_not_as_removed() {
    let mut world = World::new(30).await;
    let term = common_term(&world, "regio:");
    world.settle();
    world.sync().await;
    world.set("CVSYNC_KEEP", term.clone());
    let leaving = world.live() - with_term(&world, &term).len();
    let unconfirm = "update cvsync.cv_seen set as_of = 'epoch'
                      where cv_id in (select cv_id from cvsync.cv where not cvsync.keeps(document, array['TERM'])
                                       order by cv_id limit 1)";
    execute(&world, unconfirm.replace("TERM", &term)).await;
    let summary = world.request(Request::Reconcile).await;
    let difference = summary.difference.unwrap();
    assert_eq!((difference.extra, difference.filtered), (0, 1));
    assert_eq!(summary.tally.deleted, 1);
    let env = world.environment();
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    let (code, stdout, stderr) = output(&["verify", "--sample", "100", "--json"], env).await;
    assert_eq!(code, Some(0), "{stderr}");
    let verdict: Value = serde_json::from_str(&stdout).unwrap();
    let found = (&verdict["deleted"], &verdict["gone"], &verdict["filtered"]);
    assert_eq!(found, (&json!(0), &json!(0), &json!(leaving - 1)));
}

/// A command that fetches slowly, once it has stored some CVs.
async fn slow_sync(world: &World, args: &[&str]) -> Process {
    let slow = Fault::Slow(Duration::from_millis(40));
    world.source.rule(Operation::Detail, slow);
    let command = Process::start(world, args, &[("CVSYNC_WORKERS", "1")]);
    let calls = world.detail_calls();
    until("some CVs are fetched", async || {
        world.detail_calls() > calls + 20
    })
    .await;
    command
}

#[tokio::test]
async fn a_command_writes_nothing_once_the_daemon_stores_another_shape() {
    for args in [&["sync"][..], &["sync", "--dry-run"], &["reconcile"]] {
        let world = World::new(150).await;
        let mut command = slow_sync(&world, args).await;
        // As a leader records it that starts now: it waits for transactions under way.
        execute(
            &world,
            "begin;
             lock table cvsync.stored_shape in exclusive mode;
             insert into cvsync.stored_shape (exclude, keep) values ('{/ervaringen}', '{}');
             commit",
        )
        .await;
        let written = world.rows("cv").await;
        let status = command.ended_within(Duration::from_mins(1)).await;
        let log = command.log();
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(
            log.contains("CVSYNC_DOCUMENT_EXCLUDE has changed in the daemon"),
            "{log}"
        );
        assert_eq!(world.rows("cv").await, written, "{args:?}");
    }
}

#[tokio::test]
async fn a_command_ends_once_the_database_may_have_lost_commits() {
    let world = World::new(150).await;
    let mut command = slow_sync(&world, &["sync"]).await;
    execute(
        &world,
        "create or replace function cvsync.home() returns text language sql stable as $$ select 'promoted' $$",
    )
    .await;
    let status = command.ended_within(Duration::from_mins(1)).await;
    assert_eq!(status.code(), Some(1));
    assert!(
        command.log().contains("may have lost commits"),
        "{}",
        command.log()
    );
    assert_eq!(world.watermark().await, None);
}
