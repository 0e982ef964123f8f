//! Faults of the source and of the network: nothing is lost, parked or fetched without need.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use cvsync::simulator::{Answer, Fault, Operation, Options};
use cvsync::vdab::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::proxy::Trouble;
use crate::running::{Running, until};
use crate::world::World;

const API: &str = "CVSYNC_API_BASE_URL";

fn json(status: u16, body: impl Into<bytes::Bytes>) -> Answer {
    Answer::new(status, body).with("content-type", "application/json")
}

async fn assert_whole(world: &World) {
    world.assert_database_equals_source().await;
    assert_eq!(world.rows("parked_cv").await, 0);
}

#[tokio::test]
async fn a_refused_connection_costs_few_attempts_and_parks_nothing() {
    let mut world = World::new(200).await;
    let proxy = world.through_proxy(API).await;
    proxy.set(Trouble::Down);
    let run = Running::start(&world);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert!(!run.is_over());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let attempts = run.pipeline.vdab.answers_received();
    assert!((1..=5).contains(&attempts), "{attempts} in four seconds");
    let (_, gate) = run.pipeline.vdab.closed_gates().pop_first().unwrap();
    assert_eq!(gate.reason, Reason::Outage);
    proxy.set(Trouble::None);
    run.ended().await.unwrap();
    assert_whole(&world).await;
}

#[tokio::test]
async fn connections_that_are_reset_anywhere_cost_calls_alone() {
    let mut world = World::new(400).await;
    let proxy = world.through_proxy(API).await;
    world.config.sync.retry_max_elapsed = Duration::from_mins(1);
    let mut random = fastrand::Rng::with_seed(7);
    let run = Running::start(&world);
    for _ in 0..25 {
        proxy.set(Trouble::Reset(random.usize(..60_000)));
        let struck = proxy.struck();
        until("one is reset", async || {
            proxy.struck() > struck || run.is_over()
        })
        .await;
    }
    proxy.set(Trouble::None);
    run.ended().await.unwrap();
    assert_whole(&world).await;
    let calls = world.detail_calls();
    assert!(calls < 2 * 400, "{calls}");
}

/// Responses that never end are given up in time, and the run ends with an error; a later run succeeds.
async fn is_given_up(trouble: Trouble) {
    let mut world = World::new(60).await;
    let proxy = world.through_proxy(API).await;
    world.config.api.timeout = Duration::from_secs(1);
    world.config.sync.retry_max_elapsed = Duration::from_secs(1);
    proxy.set(trouble);
    let begun = Instant::now();
    let error = world.try_sync().await.unwrap_err();
    world.config.api.timeout = Duration::from_secs(20);
    world.config.sync.retry_max_elapsed = Duration::from_secs(30);
    assert!(
        error
            .to_string()
            .contains("took longer than CVSYNC_API_TIMEOUT"),
        "{error}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(25),
        "{:?}",
        begun.elapsed()
    );
    world.assert_watermark_is_honest().await;
    proxy.set(Trouble::None);
    world.sync().await;
    assert_whole(&world).await;
}

#[tokio::test]
async fn a_body_that_drips() {
    is_given_up(Trouble::Slicer(1, Duration::from_millis(100))).await;
}

#[tokio::test]
async fn a_narrow_line() {
    is_given_up(Trouble::Bandwidth(200)).await;
}

#[tokio::test]
async fn a_network_that_swallows_everything() {
    is_given_up(Trouble::Swallow).await;
}

#[tokio::test]
async fn a_line_that_is_cut_within_every_answer() {
    let mut world = World::new(60).await;
    let proxy = world.through_proxy(API).await;
    world.config.sync.retry_max_elapsed = Duration::from_secs(1);
    proxy.set(Trouble::Cut(300));
    let error = world.try_sync().await.unwrap_err();
    assert!(error.to_string().contains("incomplete response"), "{error}");
    proxy.set(Trouble::None);
    world.sync().await;
    assert_whole(&world).await;
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_said_so() {
    let mut world = World::new(1).await;
    world.set(API, "https://vdab.invalid/v1".into());
    let pipeline = cvsync::sync::Pipeline::new(
        &world.config,
        Some(Duration::from_millis(1)),
        world.clock.clone(),
        world.metrics.clone(),
        CancellationToken::new(),
    );
    let error = pipeline.unwrap().run().await.unwrap_err().to_string();
    assert!(
        error.contains("cannot be reached (the host name does not resolve;"),
        "{error}"
    );
}

/// Counts connections and never responds.
async fn trap() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, count)
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let (port, visits) = trap().await;
    let mut world = World::new(40).await;
    let statuses = [301, 302, 303, 307, 308];
    let ids: Vec<_> = world.source.world(|w| w.live_ids().take(6).collect());
    let redirect = |status| {
        let location = format!("http://127.0.0.1:{port}/v1/x");
        Fault::Answer(json(status, "{}").with("location", location))
    };
    for (status, id) in statuses.into_iter().zip(&ids) {
        world.source.script(*id, [redirect(status)]);
    }
    world
        .source
        .script(Operation::Bulk, [redirect(302), redirect(307)]);
    world.source.rule(ids[5], redirect(301));
    world.sync_again().await;
    world
        .assert_equal_but_for_parked(&[&ids[5].to_string()])
        .await;
    let visits = visits.load(Ordering::Relaxed);
    assert_eq!(visits, 0, "the key went to another server");
}

#[tokio::test]
async fn a_status_that_is_no_answer_is_no_data() {
    let mut world = World::new(40).await;
    let ids: Vec<_> = world.source.world(|w| w.live_ids().take(10).collect());
    let page = r#"{"aantal":0,"resultaten":[]}"#;
    let statuses = [202, 204, 205, 206, 304];
    for (status, ids) in statuses.into_iter().zip(ids.chunks(2)) {
        let document = world.source.world(|w| w.document(ids[0]).unwrap());
        world
            .source
            .rule(ids[0], Fault::Answer(json(status, document)));
        world
            .source
            .script(ids[1], [Fault::Answer(json(status, ""))]);
    }
    let pages = [202, 204].map(|status| Fault::Answer(json(status, page)));
    world.source.script(Operation::Bulk, pages);
    world.sync_again().await;
    let parked: Vec<_> = ids.chunks(2).map(|ids| ids[0].to_string()).collect();
    let parked: Vec<_> = parked.iter().map(String::as_str).collect();
    world.assert_equal_but_for_parked(&parked).await;
}

/// The output of `gzip` for these bytes.
fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .arg("-1c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = gzip.wait_with_output().unwrap().stdout;
    writing.join().unwrap();
    output
}

/// The most memory that this process ever held, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

#[tokio::test]
async fn a_small_body_that_unpacks_to_a_gigabyte_is_cut_at_its_limit() {
    let mut world = World::new(30).await;
    let ten = gzipped(&vec![b' '; 10 << 20]);
    // Members of a gzip file follow each other.
    let bomb = json(200, ten.repeat(100)).with("content-encoding", "gzip");
    let id = world.any_live_id();
    world.source.rule(id, Fault::Answer(bomb));
    let before = peak();
    world.sync_again().await;
    world.assert_equal_but_for_parked(&[&id.to_string()]).await;
    let class = "select count(*) from cvsync.parked_cv where error_class = 'too_large'";
    assert_eq!(world.count(class).await, 1);
    assert!(peak() - before < 100, "from {before} to {} MiB", peak());
}

#[tokio::test]
async fn packed_answers_are_read_and_broken_ones_are_asked_for_again() {
    let mut world = World::new(30).await;
    let ids: Vec<_> = world.source.world(|w| w.live_ids().take(3).collect());
    let document = |id| world.source.world(|w| w.document(id).unwrap());
    let packed = |body: Vec<u8>| Fault::Answer(json(200, body).with("content-encoding", "gzip"));
    let whole = gzipped(document(ids[0]).as_bytes());
    let mut flipped = gzipped(document(ids[1]).as_bytes());
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let half = gzipped(document(ids[2]).as_bytes());
    world.source.script(ids[0], [packed(whole)]);
    world
        .source
        .script(ids[1], [packed(flipped), packed(b"no gzip".to_vec())]);
    world
        .source
        .script(ids[2], [packed(half[..half.len() / 2].to_vec())]);
    world.config.sync.retry_max_elapsed = Duration::from_secs(10);
    world.sync_again().await;
    assert_whole(&world).await;
}

/// Sends a body for as long as anybody listens.
async fn endless_server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head =
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"resultaten\":[";
                let mut next = stream.write_all(head).await;
                while next.is_ok() {
                    next = stream.write_all(&vec![b' '; 64 << 10]).await;
                    counter.fetch_add(64 << 10, Ordering::Relaxed);
                }
            });
        }
    });
    (port, sent)
}

#[tokio::test]
async fn a_body_without_an_end_is_left_at_its_limit() {
    let (port, sent) = endless_server().await;
    let mut world = World::new(0).await;
    world.set(API, format!("http://127.0.0.1:{port}/v1"));
    let before = peak();
    let error = world.try_sync().await.unwrap_err().to_string();
    let remedy = "larger than 8 MiB; set CVSYNC_PAGE_SIZE to a smaller number";
    assert!(error.contains(remedy), "{error}");
    let sent = sent.load(Ordering::Relaxed) >> 20;
    // 8 MiB and what the sockets hold, for each width at which the window is requested.
    assert!(sent < 256, "{sent} MiB were taken");
    assert!(peak() - before < 100);
}

#[tokio::test]
async fn connections_that_were_closed_while_idle_are_not_missed() {
    let mut world = World::new(60).await;
    let proxy = world.through_proxy(API).await;
    world.sync_again().await;
    for _ in 0..5 {
        proxy.set(Trouble::Down);
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.set(Trouble::None);
        let ids: Vec<Uuid> = world.source.world(|w| w.live_ids().take(20).collect());
        world
            .source
            .world(|w| assert!(ids.iter().all(|id| w.update(*id))));
        world.settle();
        world.sync_again().await;
        assert_whole(&world).await;
    }
    assert!(proxy.accepted() > 5);
}

/// The gate after a 429 with this `Retry-After` on the first bulk call: seconds until the next call, and the run.
async fn wait_after_429(world: &World, retry_after: Option<String>) -> (u64, Running) {
    world
        .source
        .script(Operation::Bulk, [Fault::RateLimit { retry_after }]);
    let run = Running::start(world);
    until("the gate closes", async || {
        !run.pipeline.vdab.closed_gates().is_empty()
    })
    .await;
    let (_, gate) = run.pipeline.vdab.closed_gates().pop_first().unwrap();
    assert_eq!(gate.reason, Reason::RateLimit);
    (gate.probe_in_seconds, run)
}

fn http_date(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn retry_after_is_obeyed_in_all_its_forms_within_reason() {
    let ahead =
        |world: &World, seconds| http_date(world.source_clock.now() + TimeDelta::seconds(seconds));
    let world = World::new(20).await;
    // The local clock is of no account: the date is measured against the answer's own.
    world.clock.set_skew(TimeDelta::hours(-3));
    let begun = Instant::now();
    let (wait, _run) = wait_after_429(&world, Some(ahead(&world, 100))).await;
    let least = 95_u64.saturating_sub(begun.elapsed().as_secs());
    assert!((least..=100).contains(&wait), "{wait}");
    let (wait, _run) = wait_after_429(&world, Some("31536000".into())).await;
    assert!((880..=900).contains(&wait), "{wait}");
    let (wait, _run) = wait_after_429(&world, Some(ahead(&world, 1_000_000))).await;
    assert!((880..=900).contains(&wait), "{wait}");
    for soon in [
        Some(ahead(&world, -1_000)),
        Some("0".into()),
        Some("bald".into()),
        None,
    ] {
        let begun = Instant::now();
        let (wait, run) = wait_after_429(&world, soon.clone()).await;
        assert!(wait <= 1, "{soon:?}: {wait}");
        run.ended().await.unwrap();
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_millis(450),
            "{soon:?}: asked again after {took:?}"
        );
    }
    assert_whole(&world).await;
}

/// Bulk answers with this total instead of the right one, from CVs of one day.
async fn lying_world(size: u16, candidates: u32, total: &str) -> World {
    let mut world = World::with(Options {
        candidates,
        history: TimeDelta::hours(20),
        ..Options::default()
    })
    .await;
    world.config.sync.page_size = size;
    let total = total.to_owned();
    world.source.rewrite(Operation::Bulk, move |answer| {
        let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let items = &page["resultaten"];
        let body = match total.as_str() {
            "missing" => format!(r#"{{"resultaten":{items}}}"#),
            "text" => format!(r#"{{"aantal":"{}","resultaten":{items}}}"#, page["aantal"]),
            "page" => {
                let length = items.as_array().unwrap().len();
                format!(r#"{{"aantal":{length},"resultaten":{items}}}"#)
            }
            total => format!(r#"{{"aantal":{total},"resultaten":{items}}}"#),
        };
        answer.body = body.into();
    });
    world
}

const LIES: [&str; 7] = ["0", "-1", "1", "999999999999", "missing", "text", "page"];

#[tokio::test]
async fn totals_that_lie_hide_nothing() {
    for total in LIES {
        let mut world = lying_world(20, 150, total).await;
        world.sync_again().await;
        world.assert_database_equals_source().await;
        let calls = world.bulk_calls();
        assert!(calls < 300, "{total}: {calls} calls");
    }
}

#[tokio::test]
async fn a_window_that_counts_cvs_and_lists_none_is_not_settled() {
    let mut world = World::new(50).await;
    // The second time as if CVs left the window between its count and that of its halves.
    for leaving in [0, 1] {
        let mut answers = 0;
        world.source.rewrite(Operation::Bulk, move |answer| {
            let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let total = page["aantal"].as_u64().unwrap();
            answers += u64::from(total > 0);
            let total = total.saturating_sub(leaving * answers);
            answer.body = format!(r#"{{"aantal":{total},"resultaten":[]}}"#).into();
        });
        let error = world.try_sync().await.unwrap_err();
        assert!(
            error.to_string().contains("counts CVs and lists none"),
            "{error}"
        );
    }
    world.source.rewrite(Operation::Bulk, |_| ());
    world.sync_again().await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn totals_that_lie_about_an_instant_that_cannot_be_cut_hide_nothing() {
    for total in LIES {
        let mut world = lying_world(20, 0, total).await;
        world.source.world(|w| {
            let instant = w.now() - TimeDelta::hours(5);
            for number in 0..95 {
                let id = Uuid::from_u128(number);
                w.put(id, format!(r#"{{"cvId":"{id}","status":"OPEN"}}"#), instant);
            }
        });
        world.sync_again().await;
        world.assert_database_equals_source().await;
        assert_eq!(world.documents().await.len(), 95);
        let calls = world.bulk_calls();
        assert!(calls < 400, "{total}: {calls} calls");
    }
}

#[tokio::test]
async fn a_source_whose_pages_have_no_end_ends_the_run() {
    let mut world = World::new(50).await;
    world.config.sync.page_size = 10;
    let items: Vec<_> = (0..10)
        .map(|n| {
            format!(
                r#"{{"cvId":"{}","status":"VERWIJDERD"}}"#,
                Uuid::from_u128(n)
            )
        })
        .collect();
    let page = format!(r#"{{"resultaten":[{}]}}"#, items.join(","));
    world
        .source
        .rule(Operation::Bulk, Fault::Answer(json(200, page)));
    let error = world.try_sync().await.unwrap_err().to_string();
    assert!(error.contains("pages"), "{error}");
    world.source.clear_faults();
    world.sync_again().await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn ids_that_come_twice_and_in_any_order_are_one_cv_each() {
    let mut world = World::new(300).await;
    world.config.sync.page_size = 50;
    let ids: Vec<_> = world.source.world(|w| w.live_ids().take(40).collect());
    world.source.world(|w| {
        let at = w.now() - TimeDelta::days(1);
        for id in ids.iter().chain(&ids) {
            w.list_extra(at, id.to_string(), Some("OPEN"));
        }
    });
    let mut random = fastrand::Rng::with_seed(3);
    world.source.rewrite(Operation::Bulk, move |answer| {
        let mut page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        random.shuffle(page["resultaten"].as_array_mut().unwrap());
        answer.body = page.to_string().into();
    });
    let summary = world.sync_again().await;
    assert_whole(&world).await;
    assert_eq!(summary.tally.listed, summary.tally.done());
    assert_eq!(world.rows("cv_change").await as usize, world.live());
}

#[tokio::test]
async fn a_local_clock_that_jumps_loses_nothing() {
    let world = World::new(900).await;
    world
        .source
        .rule(Operation::Detail, Fault::Slow(Duration::from_millis(10)));
    let run = Running::start(&world);
    for hours in [1, -1, 24, 0] {
        let calls = world.detail_calls();
        until("it goes on", async || {
            world.detail_calls() > calls + 100 || run.is_over()
        })
        .await;
        world.clock.set_skew(TimeDelta::hours(hours));
    }
    run.ended().await.unwrap();
    for hours in [1, -1, 24, -24] {
        world.clock.set_skew(TimeDelta::hours(hours));
        let id = world.any_live_id();
        world.source.world(|w| assert!(w.update(id)));
        world.sync().await;
        let ahead = world.source_clock.now() - world.watermark().await.unwrap();
        assert!(ahead > TimeDelta::seconds(59), "{hours}: {ahead}");
        world.settle();
        world.sync().await;
        assert_whole(&world).await;
    }
}

#[tokio::test]
async fn a_source_that_never_tells_its_time_is_followed_by_the_other_clocks() {
    let mut world = World::new(100).await;
    world.source.settings(|settings| settings.send_date = false);
    world.sync_again().await;
    assert_whole(&world).await;
    let behind = world.source_clock.now() - world.watermark().await.unwrap();
    assert!(behind > TimeDelta::seconds(119), "{behind}");
    let id = world.any_live_id();
    world.source.world(|w| assert!(w.update(id)));
    world.settle();
    world.sync_again().await;
    assert_whole(&world).await;
    // Ahead by two minutes, it would end windows in the source's future.
    world.clock.set_skew(TimeDelta::minutes(2));
    world.sync_again().await;
    let behind = world.source_clock.now() - world.watermark().await.unwrap();
    assert!(behind > TimeDelta::seconds(119), "{behind}");
}

#[tokio::test]
async fn windows_that_the_source_finds_too_wide_are_narrowed_once() {
    let mut world = World::new(200).await;
    world
        .source
        .settings(|settings| settings.max_window = TimeDelta::hours(20));
    let refused = |world: &World| {
        let log = world.source.call_log();
        log.iter().filter(|call| call.status == Some(400)).count()
    };
    world.sync_again().await;
    assert_whole(&world).await;
    let times = "5 days, 2 1/2 days, 30 hours, and 30 hours again: three times each";
    assert_eq!(refused(&world), 12, "{times}");
    world.pass(TimeDelta::days(4));
    world.sync_again().await;
    assert_eq!(refused(&world), 12, "the limit is remembered");
    world
        .source
        .settings(|settings| settings.max_window = TimeDelta::zero());
    world.settle();
    let error = world.try_sync().await.unwrap_err().to_string();
    assert!(error.contains("400"), "{error}");
}
