//! Each alert is proven from end to end: a real fault in a real daemon makes a real Prometheus fire it, and a healthy daemon
//! fires none. Each query of the dashboard has data once a daemon has run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use cvsync::simulator::{Fault, Operation, Options};
use sqlx::AssertSqlSafe;
use tokio::process::Command;

use crate::process::{Process, free_address};
use crate::prometheus::{Prometheus, panels};
use crate::proxy::Trouble;
use crate::running::until;
use crate::world::World;

/// The longest time that a test waits. Three schedules take 30 seconds of it.
const PATIENCE: Duration = Duration::from_secs(150);

/// How long a healthy daemon is watched: longer than the slowest alert takes.
const WELL: Duration = Duration::from_mins(1);

/// Time between two queries of Prometheus.
const PERIOD: Duration = Duration::from_millis(500);

const SCHEDULE: &[(&str, &str)] = &[
    ("CVSYNC_SCHEDULE", "*/10 * * * * *"),
    ("CVSYNC_RECONCILE_SCHEDULE", "5/10 * * * * *"),
    ("CVSYNC_SETTLE_LAG", "1s"),
];

/// A daemon and the Prometheus that scrapes it.
struct Watched {
    daemon: Process,
    prometheus: Prometheus,
}

impl Watched {
    async fn synced(world: &World) -> Self {
        let daemon = Process::run(world, SCHEDULE);
        until_in_step(&daemon).await;
        Self::watching(daemon).await
    }

    async fn watching(daemon: Process) -> Self {
        let prometheus = Prometheus::scraping(&[daemon.address()]).await;
        Self { daemon, prometheus }
    }

    /// Waits until all of `wanted` fire and fails if another alert does. Calls `keep_on` before each query.
    async fn until_firing(&self, wanted: &[&str], keep_on: impl AsyncFnMut()) {
        until_firing(&self.prometheus, wanted, &[], keep_on).await;
    }
}

/// Waits until the lag is below the alert's limit: before its first sync has finished, a daemon is behind.
async fn until_in_step(daemon: &Process) {
    daemon.until_synced().await;
    let lag = "cvsync_source_lag_seconds{stream=\"kandidaten\"} ";
    let in_step = |line: &str| {
        let lag = line.strip_prefix(lag).and_then(|lag| lag.parse().ok());
        lag.is_some_and(|lag: f64| lag < 20.0)
    };
    daemon
        .until("/metrics", |_, body| body.lines().any(in_step))
        .await;
}

async fn until_firing(
    prometheus: &Prometheus,
    wanted: &[&str],
    ignored: &[&str],
    mut keep_on: impl AsyncFnMut(),
) {
    let begun = Instant::now();
    loop {
        keep_on().await;
        let mut firing = prometheus.firing().await;
        firing.retain(|name| !ignored.contains(&name.as_str()));
        let strangers: Vec<_> = firing
            .iter()
            .filter(|name| !wanted.contains(&name.as_str()))
            .collect();
        assert!(
            strangers.is_empty(),
            "{strangers:?} fire, and only {wanted:?} should"
        );
        if firing.len() == wanted.len() {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "only {firing:?} of {wanted:?} fire"
        );
        tokio::time::sleep(PERIOD).await;
    }
}

async fn nothing_more() {}

async fn execute(world: &World, sql: &str) {
    let done = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .execute(&world.database)
        .await;
    done.unwrap();
}

#[tokio::test]
async fn a_daemon_that_is_well_alerts_nobody() {
    let world = World::with(Options {
        candidates: 300,
        changes_per_second: 2.0,
        ..Options::default()
    })
    .await;
    let watched = Watched::synced(&world).await;
    let begun = Instant::now();
    while begun.elapsed() < WELL {
        assert_eq!(watched.prometheus.firing().await, Vec::<String>::new());
        tokio::time::sleep(PERIOD).await;
    }
    let scraped = "max(cvsync_last_success_timestamp_seconds{job=\"reconcile\"}) > 0";
    assert!(
        watched.prometheus.answers(scraped).await,
        "it was looked at"
    );
}

#[tokio::test]
async fn every_panel_of_the_dashboard_has_data() {
    let mut world = World::with(Options {
        candidates: 300,
        changes_per_second: 5.0,
        rate_per_minute: Some(100_000),
        ..Options::default()
    })
    .await;
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    a_month_of_changes(&world).await;
    world.source.set_faults(["http-500=0.05".parse().unwrap()]);
    world.source.rule(world.any_live_id(), Fault::Http500);

    world
        .source
        .world(|w| w.delay_listing(TimeDelta::seconds(5)));
    let watched = Watched::watching(Process::run(&world, SCHEDULE)).await;
    let mut unanswered: BTreeMap<_, _> = panels()
        .into_iter()
        .map(|(title, query)| (query, title))
        .collect();
    assert!(unanswered.len() > 40);
    let begun = Instant::now();
    for look in 0.. {
        // From time to time the database is unreachable, for longer than a lease holds without renewal.
        proxy.set(if look % 30 >= 24 {
            Trouble::Down
        } else {
            Trouble::None
        });
        if let Some(id) = world.source.world(|w| w.live_ids().next()) {
            world.source.world(|w| w.remove(id));
        }
        let mut answered = Vec::new();
        for query in unanswered.keys() {
            if watched.prometheus.answers(query).await {
                answered.push(query.clone());
            }
        }
        unanswered.retain(|query, _| !answered.contains(query));
        if unanswered.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no data for {unanswered:#?}");
        tokio::time::sleep(PERIOD).await;
    }
}

/// As if 300 changes were usual at this time of the week.
async fn a_month_of_changes(world: &World) {
    execute(
        world,
        "insert into cvsync.sync_window (van, tot, fresh, state, listed, unchanged, finished_at)
         select tot - interval '1 hour', tot, true, 'settled', 300, 300, tot
           from (select now() - interval '1 hour' - make_interval(weeks => week) as tot
                   from generate_series(1, 4) as week) as weeks",
    )
    .await;
}

#[tokio::test]
async fn no_daemon_is_cvsync_down() {
    let world = World::new(10).await;
    let Watched { daemon, prometheus } = Watched::synced(&world).await;
    daemon.kill().await;
    until_firing(&prometheus, &["CvsyncDown"], &[], nothing_more).await;
}

#[tokio::test]
async fn no_database_is_cvsync_not_ready() {
    let mut world = World::new(10).await;
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    let watched = Watched::synced(&world).await;
    proxy.set(Trouble::Down);
    watched
        .until_firing(&["CvsyncNotReady"], nothing_more)
        .await;
}

#[tokio::test]
async fn an_outage_of_the_source_is_cvsync_behind_and_silent() {
    let world = World::new(10).await;
    let watched = Watched::synced(&world).await;
    world
        .source
        .rule(Operation::Bulk, Fault::Http503 { retry_after: None });
    watched
        .until_firing(&["CvsyncBehind", "CvsyncSilent"], nothing_more)
        .await;
}

#[tokio::test]
async fn no_second_listing_for_days_is_cvsync_not_relisted() {
    let world = World::new(10).await;
    let watched = Watched::synced(&world).await;
    let relisted = "select count(*) from cvsync.job_success where job = 'relist'";
    until("it is made once", async || world.count(relisted).await == 1).await;
    let long_ago =
        "update cvsync.job_success set at = now() - interval '4 days' where job = 'relist'";
    execute(&world, long_ago).await;
    watched
        .until_firing(&["CvsyncNotRelisted"], nothing_more)
        .await;
    let status = watched.daemon.get("/api/status").await.unwrap().1;
    assert!(
        status.contains("second listing last succeeded on"),
        "{status}"
    );
}

#[tokio::test]
async fn a_first_sync_that_gets_nowhere_is_cvsync_never_synced() {
    let world = World::new(10).await;
    world
        .source
        .rule(Operation::Bulk, Fault::Http503 { retry_after: None });
    let watched = Watched::watching(Process::run(&world, SCHEDULE)).await;
    watched
        .until_firing(&["CvsyncNeverSynced"], nothing_more)
        .await;
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_cvsync_no_leader() {
    let world = World::new(10).await;
    execute(
        &world,
        "insert into cvsync.lease (name, holder, epoch, expires_at)
         values ('sync', 'gone', 1, now() + interval '1 hour')",
    )
    .await;
    let watched = Watched::watching(Process::run(&world, SCHEDULE)).await;
    watched
        .until_firing(&["CvsyncNoLeader"], nothing_more)
        .await;
}

#[tokio::test]
async fn two_daemons_that_lead_are_cvsync_two_leaders() {
    let worlds = [World::new(10).await, World::new(10).await];
    let daemons = worlds.each_ref().map(|world| Process::run(world, SCHEDULE));
    for daemon in &daemons {
        until_in_step(daemon).await;
    }
    let prometheus = Prometheus::scraping(&daemons.each_ref().map(Process::address)).await;
    until_firing(&prometheus, &["CvsyncTwoLeaders"], &[], nothing_more).await;
}

#[tokio::test]
async fn a_wrong_key_is_cvsync_key_refused() {
    let world = World::new(10).await;
    let watched = Watched::synced(&world).await;
    world
        .source
        .settings(|settings| "renewed".clone_into(&mut settings.key));
    watched
        .until_firing(&["CvsyncKeyRefused"], nothing_more)
        .await;
}

#[tokio::test]
async fn no_quota_for_half_of_the_time_is_cvsync_quota_closed() {
    let world = World::new(10).await;
    let watched = Watched::synced(&world).await;
    let retry_after = Some("60".to_owned());
    world
        .source
        .rule(Operation::Bulk, Fault::RateLimit { retry_after });
    // CvsyncBehind would fire a little later.
    watched
        .until_firing(&["CvsyncQuotaClosed"], nothing_more)
        .await;
}

#[tokio::test]
async fn work_that_gets_nowhere_is_cvsync_stuck() {
    let world = World::new(200).await;
    let watched = Watched::synced(&world).await;
    world.source.rule(Operation::Detail, Fault::Stall);
    world.source.world(|w| (0..50).for_each(|_| _ = w.add()));
    let all = ["CvsyncBehind", "CvsyncSilent", "CvsyncStuck"];
    watched.until_firing(&all, nothing_more).await;
}

#[tokio::test]
async fn a_backlog_that_stands_still_is_cvsync_backlog_still() {
    let world = World::new(200).await;
    let patient = ("CVSYNC_RETRY_MAX_ELAPSED", "10m");
    let alone = ("CVSYNC_RECONCILE_SCHEDULE", "off");
    let daemon = Process::run(&world, &[SCHEDULE[0], SCHEDULE[2], patient, alone]);
    until_in_step(&daemon).await;
    let watched = Watched::watching(daemon).await;
    let id = world.any_live_id();
    world.source.rule(id, Fault::Http500);
    execute(
        &world,
        &format!("delete from cvsync.cv_seen where cv_id = '{id}'"),
    )
    .await;
    let back = "update cvsync.watermark set position = position - interval '31 days'";
    execute(&world, back).await;
    watched
        .until_firing(&["CvsyncBacklogStill"], nothing_more)
        .await;
}

#[tokio::test]
async fn a_cv_that_fails_for_over_a_day_is_cvsync_parked() {
    let world = World::new(10).await;
    let id = world.any_live_id();
    world.source.rule(id, Fault::Http500);
    let watched = Watched::synced(&world).await;
    assert_eq!(world.rows("parked_cv").await, 1);
    execute(
        &world,
        "update cvsync.parked_cv set first_failed_at = now() - interval '25 hours'",
    )
    .await;
    watched.until_firing(&["CvsyncParked"], nothing_more).await;
}

#[tokio::test]
async fn a_mass_of_deletes_is_cvsync_deletes_held() {
    let world = World::new(1_500).await;
    let watched = Watched::synced(&world).await;
    world.source.world(|w| {
        let ids: Vec<_> = w.live_ids().take(1_200).collect();
        assert!(ids.into_iter().all(|id| w.remove(id)));
    });
    // On a slow machine, this many deletes take longer than one delete may take at this test's pace.
    let held = &["CvsyncDeletesHeld"];
    until_firing(
        &watched.prometheus,
        held,
        &["CvsyncDeletesLate"],
        nothing_more,
    )
    .await;
}

#[tokio::test]
async fn deletes_that_take_long_are_cvsync_deletes_late() {
    let world = World::new(300).await;
    let watched = Watched::synced(&world).await;
    // VDAB shows them more than a minute late.
    world
        .source
        .world(|w| w.delay_listing(TimeDelta::seconds(70)));
    let remove_one = async || {
        world.source.world(|w| {
            let id = w.live_ids().next().unwrap();
            assert!(w.remove(id));
        });
    };
    watched
        .until_firing(&["CvsyncDeletesLate"], remove_one)
        .await;
}

#[tokio::test]
async fn rows_that_vanish_again_and_again_are_cvsync_reconcile_difference() {
    let world = World::new(300).await;
    let watched = Watched::synced(&world).await;
    let vanish = async || {
        execute(
            &world,
            "with gone as (delete from cvsync.cv
                            where cv_id in (select cv_id from cvsync.cv order by changed_at limit 1)
                        returning cv_id)
             delete from cvsync.cv_seen where cv_id in (select cv_id from gone)",
        )
        .await;
    };
    watched
        .until_firing(&["CvsyncReconcileDifference"], vanish)
        .await;
}

#[tokio::test]
async fn far_fewer_changes_than_usual_are_cvsync_quiet() {
    let world = World::new(0).await;
    a_month_of_changes(&world).await;
    let watched = Watched::synced(&world).await;
    watched.until_firing(&["CvsyncQuiet"], nothing_more).await;
}

#[tokio::test]
async fn a_pause_that_lasts_is_cvsync_paused() {
    let world = World::new(10).await;
    let watched = Watched::synced(&world).await;
    execute(
        &world,
        "insert into cvsync.pause (reason) values ('moving house')",
    )
    .await;
    watched.until_firing(&["CvsyncPaused"], nothing_more).await;
}

#[tokio::test]
async fn a_consumer_that_stands_still_is_cvsync_feed_consumer_behind() {
    let world = World::new(10).await;
    let watched = Watched::synced(&world).await;
    execute(
        &world,
        "insert into cvsync.feed_consumer (name, seq) values ('warehouse', 0)",
    )
    .await;
    watched
        .until_firing(&["CvsyncFeedConsumerBehind"], nothing_more)
        .await;
}

#[tokio::test]
async fn a_cv_that_cannot_be_indexed_is_cvsync_unsearchable() {
    let world = World::new(10).await;
    let watched = Watched::synced(&world).await;
    world.until_searchable().await;
    execute(
        &world,
        "insert into cvsync.cv_unsearchable (cv_id, error_code) select cv_id, '22000' from cvsync.cv limit 1",
    )
    .await;
    watched
        .until_firing(&["CvsyncUnsearchable"], nothing_more)
        .await;
}

#[tokio::test]
async fn a_receiver_that_is_away_is_cvsync_webhook_fails() {
    let mut world = World::new(10).await;
    let nobody = format!("http://{}/", free_address());
    world.set_all(vec![
        ("CVSYNC_WEBHOOK_URL", nobody),
        (
            "CVSYNC_WEBHOOK_SECRET",
            "whsec_bm90IHRoaXMgYnV0IHJhbmRvbSBieXRlczogMzIgb2YgdGhlbQ==".to_owned(),
        ),
    ]);
    let watched = Watched::synced(&world).await;
    let add = async || {
        world.source.world(|w| _ = w.add());
    };
    // It does not get on in the feed, and here a day is half a minute.
    let ignored = &["CvsyncFeedConsumerBehind"];
    until_firing(&watched.prometheus, &["CvsyncWebhookFails"], ignored, add).await;
}

#[tokio::test]
async fn a_standby_that_is_away_is_cvsync_replica_behind() {
    let mut world = World::new(10).await;
    let nobody = format!("postgres://u:p@{}/cvsync", free_address());
    world.set("CVSYNC_DATABASE_READ_URL", nobody);
    let watched = Watched::synced(&world).await;
    watched
        .until_firing(&["CvsyncReplicaBehind"], nothing_more)
        .await;
}

#[tokio::test]
async fn wrong_admin_tokens_are_cvsync_token_guessed() {
    let mut world = World::new(10).await;
    world.set(
        "CVSYNC_ADMIN_TOKEN",
        "canary-open-sesame-of-the-alerts".to_owned(),
    );
    let watched = Watched::synced(&world).await;
    let url = format!("http://{}/api/parked", watched.daemon.address());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let guess = async || {
        for _ in 0..5 {
            let asked = client.get(&url).bearer_auth("wrong").send().await;
            assert_eq!(asked.unwrap().status(), 401);
        }
    };
    watched.until_firing(&["CvsyncTokenGuessed"], guess).await;
}

#[tokio::test]
async fn a_log_that_cannot_be_written_and_a_wrong_clock_alert() {
    let world = World::new(10).await;
    let ahead = TimeDelta::minutes(5);
    world
        .source
        .settings(|settings| settings.date_ahead = ahead);
    let address = free_address();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec \"$0\" run 2>/dev/full",
            env!("CARGO_BIN_EXE_cvsync"),
        ])
        .env_clear()
        .envs(world.environment())
        .envs(SCHEDULE.iter().copied())
        .env("CVSYNC_HTTP_ADDR", &address)
        .kill_on_drop(true);
    let daemon = Process::spawn(command, address);
    until_in_step(&daemon).await;
    let watched = Watched::watching(daemon).await;
    watched
        .until_firing(
            &["CvsyncLogLinesDropped", "CvsyncClocksDisagree"],
            nothing_more,
        )
        .await;
    let status = watched.daemon.get("/api/status").await.unwrap().1;
    assert!(status.contains("log lines were dropped"), "{status}");
    assert_eq!(watched.daemon.get("/livez").await.unwrap().0, 200);
}

#[test]
fn each_rule_has_a_test_here() {
    let tests = include_str!("alerts.rs");
    for line in include_str!("../../deploy/prometheus/rules.yml").lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            assert!(
                tests.contains(&format!("{alert:?}")),
                "{alert} is never seen to fire"
            );
        }
    }
}
