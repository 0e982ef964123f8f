//! Wrong responses from the source: they stop nothing and delete nothing, and the watermark passes only CVs that are applied
//! or parked.

use std::sync::Arc;
use std::time::Duration;

use cvsync::simulator::{Answer, Fault, FaultShare, Operation};
use cvsync::sync::Request;
use cvsync::vdab::Reason;
use uuid::Uuid;

use crate::running::until;
use crate::world::World;

fn json(status: u16, body: &str) -> Fault {
    Fault::Answer(Answer::new(status, body.to_owned()).with("content-type", "application/json"))
}

/// One CV always gets this response, all others the right one: it is parked, and the rest is stored.
async fn is_parked(answer: impl FnOnce(Uuid) -> Fault, class: &str) {
    let mut world = World::new(60).await;
    let id = world.any_live_id();
    world.source.rule(id, answer(id));
    world.sync_again().await;
    world.assert_equal_but_for_parked(&[&id.to_string()]).await;
    let found: String = sqlx::query_scalar("select error_class from cvsync.parked_cv")
        .fetch_one(&world.database)
        .await
        .unwrap();
    assert_eq!(found, class);
    assert!(world.watermark().await.is_some());
}

#[tokio::test]
async fn html_with_status_200() {
    is_parked(|_| Fault::Html200, "unreadable").await;
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    is_parked(|_| Fault::CutOff, "transport").await;
}

#[tokio::test]
async fn a_body_that_looks_complete_but_is_cut() {
    is_parked(|_| Fault::CutShort, "unreadable").await;
}

#[tokio::test]
async fn a_connection_that_is_reset() {
    is_parked(|_| Fault::Reset, "transport").await;
}

#[tokio::test]
async fn a_document_of_another_cv() {
    let other = r#"{"cvId":"30dbfef1-59df-4521-a111-964bf0208e68","status":"OPEN"}"#;
    is_parked(|_| json(200, other), "unreadable").await;
}

#[tokio::test]
async fn a_document_that_postgresql_cannot_store() {
    is_parked(
        |id| json(200, &format!(r#"{{"cvId":"{id}","x":"\u0000"}}"#)),
        "unstorable",
    )
    .await;
}

#[tokio::test]
async fn a_server_error_of_its_own() {
    is_parked(|_| Fault::Http500, "server_error").await;
}

#[tokio::test]
async fn a_body_without_an_end() {
    is_parked(
        |id| {
            let padding = "x".repeat(3 << 20);
            json(200, &format!(r#"{{"cvId":"{id}","x":"{padding}"}}"#))
        },
        "too_large",
    )
    .await;
}

#[tokio::test]
async fn an_id_that_is_no_uuid_is_parked_and_never_asked_for() {
    let mut world = World::new(60).await;
    world.source.world(|w| {
        let at = w.now() - chrono::TimeDelta::days(1);
        w.list_extra(at, "NOT_FOUND", Some("OPEN"));
        w.list_extra(at, "../../secret", Some("VERWIJDERD"));
    });
    world.sync_again().await;
    world
        .assert_equal_but_for_parked(&["../../xxxxxx", "XXX_XXXXX"])
        .await;
    let log = world.source.call_log();
    let details = log
        .iter()
        .filter(|call| call.operation == Operation::Detail);
    assert_eq!(details.count() as u64, world.documents().await.len() as u64);
}

#[tokio::test]
async fn an_unknown_status_deletes_nothing_and_the_detail_decides() {
    let mut world = World::new(60).await;
    world.sync_again().await;
    let stored = world.documents().await;
    world
        .source
        .set_faults(vec!["unknown-status=1".parse::<FaultShare>().unwrap()]);
    let ids: Vec<_> = stored.keys().copied().collect();
    world.source.world(|w| {
        w.update(ids[0]);
        w.remove(ids[1]);
    });
    world.settle();
    world.sync_again().await;
    world.assert_database_equals_source().await;
    assert_eq!(world.documents().await.len(), stored.len() - 1);
}

#[tokio::test]
async fn a_page_of_html_that_says_404_is_no_proof_that_a_cv_is_gone() {
    let page = Answer::new(404, "<html>not found</html>").with("content-type", "text/html");
    is_parked(|_| Fault::Answer(page), "unreadable").await;
}

#[tokio::test]
async fn gone_by_its_detail_is_gone() {
    let mut world = World::new(60).await;
    world.sync_again().await;
    let ids: Vec<_> = world.documents().await.into_keys().take(4).collect();
    for (id, answer) in ids.iter().zip([
        json(410, r#"{"httpCode":"410","httpMessage":"Gone"}"#),
        json(404, r#"{"httpMessage":"Not Found"}"#),
        json(
            400,
            r#"{"moreInformation":"x is geen bestaande kandidaat"}"#,
        ),
        json(
            200,
            &format!(r#"{{"cvId":"{}","status":"GESLOTEN"}}"#, ids[3]),
        ),
    ]) {
        world.source.rule(*id, answer);
        world.source.world(|w| w.update(*id));
    }
    let before = world.documents().await.len();
    world.settle();
    let summary = world.sync_again().await;
    assert_eq!(summary.tally.deleted, 4);
    assert_eq!(world.documents().await.len(), before - 4);
}

#[tokio::test]
async fn a_wrong_key_stops_the_calls_and_loses_nothing() {
    let mut world = World::new(60).await;
    world.sync_again().await;
    let (watermark, stored) = (world.watermark().await, world.documents().await);
    world.source.settings(|s| s.key = "another".into());
    world.settle();
    let calls = world.bulk_calls() + world.detail_calls();
    let pipeline = Arc::new(world.pipeline());
    let run = tokio::spawn({
        let pipeline = Arc::clone(&pipeline);
        async move { pipeline.run().await }
    });
    until("a gate is closed", async || {
        !pipeline.vdab.closed_gates().is_empty()
    })
    .await;
    assert!(!run.is_finished(), "the run waits for a person");
    assert!(world.bulk_calls() + world.detail_calls() <= calls + 1);
    let (_, gate) = pipeline.vdab.closed_gates().pop_first().unwrap();
    assert_eq!(gate.reason, Reason::Auth);
    assert!(gate.probe_in_seconds >= 10, "{gate:?}");
    assert!(gate.message.contains("CVSYNC_API_KEY"), "{}", gate.message);
    assert_eq!(world.watermark().await, watermark);
    assert_eq!(world.documents().await, stored);
    run.abort();
}

#[tokio::test]
async fn many_bad_cvs_and_no_good_one_among_them_are_not_taken_for_an_outage() {
    let mut world = World::new(60).await;
    world.sync_again().await;
    world.settle();
    let ids: Vec<_> = world.documents().await.into_keys().take(30).collect();
    for id in &ids {
        world.source.rule(*id, Fault::Http500);
        world.source.world(|w| w.update(*id));
    }
    world.settle();
    world.sync_again().await;
    let ids: Vec<_> = ids.iter().map(Uuid::to_string).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    world.assert_equal_but_for_parked(&ids).await;
}

#[tokio::test]
async fn a_probe_that_fails_by_itself_is_not_the_only_one() {
    let mut world = World::new(25).await;
    world.sync_again().await;
    world.settle();
    let mut ids: Vec<_> = world.documents().await.into_keys().collect();
    let good = ids.pop().unwrap();
    for id in &ids {
        world.source.rule(*id, Fault::Http500);
    }
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.update(*id)) && w.update(good)));
    world.settle();
    // Whichever it asks for first when the gate is to open again, it is one of the bad ones.
    let pipeline = world.pipeline();
    pipeline
        .vdab
        .suggest_canaries([ids[0], good].map(cvsync::model::CvId));
    let run = tokio::time::timeout(Duration::from_mins(1), pipeline.run());
    run.await.expect("the run ends").unwrap();
    let ids: Vec<_> = ids.iter().map(Uuid::to_string).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    world.assert_equal_but_for_parked(&ids).await;
}

#[tokio::test]
async fn a_cv_that_closes_the_gate_again_and_again_is_parked() {
    is_parked(
        |_| Fault::RateLimit {
            retry_after: Some("0".into()),
        },
        "refused",
    )
    .await;
}

#[tokio::test]
async fn an_outage_parks_nothing_and_the_next_run_catches_up() {
    let mut world = World::new(120).await;
    world.config.sync.retry_max_elapsed = Duration::from_millis(300);
    world.source.rule(Operation::Detail, Fault::Http500);
    let error = world.try_sync().await.unwrap_err();
    assert!(error.to_string().contains("500"), "{error}");
    assert_eq!(
        world.count("select count(*) from cvsync.parked_cv").await,
        0
    );
    assert_eq!(world.documents().await.len(), 0);
    world.source.clear_faults();
    world.sync().await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn faults_of_every_transient_kind_at_once_cost_calls_and_nothing_else() {
    let candidates = std::env::var("CVSYNC_TEST_FAULTY_CVS").map_or(1_000, |n| n.parse().unwrap());
    let mut world = World::new(candidates).await;
    // An answer that stalls is given up; a machine that does, for a moment, loses none of those under way.
    world.config.api.timeout = Duration::from_secs(3);
    world.config.sync.retry_max_elapsed = Duration::from_mins(1);
    // Each fifth answer.
    let shares: Vec<FaultShare> = [
        "http-500=0.05",
        "http-503=0.01",
        "rate-limit=0.01",
        "reset=0.05",
        "stall=0.01",
        "truncate=0.04",
        "html-200=0.03",
    ]
    .map(|share| share.parse().unwrap())
    .into();
    world.source.set_faults(shares);
    world.sync().await;
    let calls = world.detail_calls();
    // By chance a CV fails at each of its attempts: it is parked, and loses nothing either.
    let parked = world.rows("parked_cv").await;
    assert!(parked <= 5, "{parked} parked");
    world.source.clear_faults();
    sqlx::query("update cvsync.parked_cv set next_attempt_at = now()")
        .execute(&world.database)
        .await
        .unwrap();
    world.sync_again().await;
    world.assert_database_equals_source().await;
    let live = world.documents().await.len() as u64;
    assert!(calls * 10 <= live * 13, "{calls} calls for {live} CVs");
}

/// The answers of one CV that would close the gate if they were everybody's, and the class under which it is parked.
fn own_errors() -> Vec<(Fault, &'static str)> {
    let refused = r#"{"httpCode":"403","moreInformation":"Not registered to plan"}"#;
    let late = || Some("900".to_owned());
    vec![
        (json(403, refused), "refused"),
        (json(401, "{}"), "refused"),
        (
            Fault::RateLimit {
                retry_after: late(),
            },
            "refused",
        ),
        (
            Fault::Http503 {
                retry_after: late(),
            },
            "server_error",
        ),
        (Fault::Reset, "transport"),
        (Fault::Stall, "transport"),
    ]
}

#[tokio::test]
async fn one_cvs_own_error_closes_no_gate_and_parks_that_cv_alone() {
    let mut world = World::new(150).await;
    world.config.api.timeout = Duration::from_secs(1);
    world.sync_again().await;
    let ids: Vec<Uuid> = world.documents().await.into_keys().collect();
    let errors = own_errors();
    for (id, (fault, _)) in ids.iter().zip(&errors) {
        world.source.rule(*id, fault.clone());
    }
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.update(*id))));
    world.settle();
    let calls = world.detail_calls();
    let pipeline = world.pipeline();
    let run = tokio::time::timeout(Duration::from_secs(30), pipeline.run());
    run.await.expect("no CV closes the gate for long").unwrap();
    let calls = world.detail_calls() - calls;
    assert!(calls < 200, "{calls} calls for 150 CVs of which 6 fail");
    pipeline.vdab.count_closed_time();
    let metrics = world.metrics.render().unwrap();
    for reason in ["auth", "rate_limit", "outage"] {
        let closed = format!("cvsync_gate_closed_seconds_total{{reason=\"{reason}\"}} 0\n");
        assert!(metrics.contains(&closed), "{metrics}");
    }
    let parked: Vec<(String, String, bool)> = sqlx::query_as(
        "select cv_id, error_class, next_attempt_at > now() + interval '14 minutes'
           from cvsync.parked_cv order by 1",
    )
    .fetch_all(&world.database)
    .await
    .unwrap();
    let expected = ids.iter().zip(&errors).enumerate();
    let expected: Vec<_> = expected
        .map(|(at, (id, (_, class)))| (id.to_string(), (*class).to_owned(), matches!(at, 2 | 3)))
        .collect();
    assert_eq!(parked, expected);
}

#[tokio::test]
async fn an_error_of_every_detail_closes_the_gate_at_once() {
    for (fault, reason) in [
        (json(403, "{}"), Reason::Auth),
        (
            Fault::Http503 {
                retry_after: Some("900".into()),
            },
            Reason::Outage,
        ),
    ] {
        let mut world = World::new(100).await;
        world.sync_again().await;
        let ids: Vec<Uuid> = world.documents().await.into_keys().collect();
        world
            .source
            .world(|w| assert!(ids.iter().all(|id| w.update(*id))));
        world.settle();
        world.source.rule(Operation::Detail, fault);
        let calls = world.detail_calls();
        let pipeline = Arc::new(world.pipeline());
        let run = tokio::spawn({
            let pipeline = Arc::clone(&pipeline);
            async move { pipeline.run().await }
        });
        until("the gate is closed", async || {
            !pipeline.vdab.closed_gates().is_empty()
        })
        .await;
        assert_eq!(
            pipeline.vdab.closed_gates().pop_first().unwrap().1.reason,
            reason
        );
        let calls = world.detail_calls() - calls;
        let most = u64::try_from(world.config.sync.workers).unwrap() + 2;
        assert!(calls <= most, "{calls} calls");
        assert_eq!(world.rows("parked_cv").await, 0);
        run.abort();
    }
}

#[tokio::test]
async fn cvs_that_keep_failing_do_not_hold_up_the_others() {
    let mut world = World::new(300).await;
    world.config.sync.retry_max_elapsed = Duration::from_secs(30);
    world.config.api.timeout = Duration::from_secs(2);
    world.sync_again().await;
    let ids: Vec<Uuid> = world.documents().await.into_keys().collect();
    let changes = world.rows("cv_change").await;
    let (bad, good) = ids.split_at(ids.len() / 2);
    for (at, id) in bad.iter().enumerate() {
        let fault = match at % 50 {
            0 => Fault::Stall,
            n if n % 2 == 0 => Fault::Http500,
            _ => Fault::Html200,
        };
        world.source.rule(*id, fault);
    }
    // Those that fail are listed first.
    world
        .source
        .world(|w| assert!(bad.iter().chain(good).all(|id| w.update(*id))));
    world.settle();
    let pipeline = Arc::new(world.pipeline());
    let run = tokio::spawn({
        let pipeline = Arc::clone(&pipeline);
        async move { pipeline.run().await }
    });
    let all = changes + i64::try_from(good.len()).unwrap();
    until("all that can be fetched are", async || {
        world.rows("cv_change").await == all
    })
    .await;
    assert!(!run.is_finished(), "the others are still retried");
    assert_eq!(world.rows("parked_cv").await, 0);
    run.abort();
}

#[tokio::test]
async fn a_429_is_obeyed_by_all_workers() {
    let world = World::new(200).await;
    let over = |retry_after: &str| Fault::RateLimit {
        retry_after: Some(retry_after.into()),
    };
    let source = &world.source;
    source.script(Operation::Detail, [Fault::Pass, Fault::Pass]);
    source.rule(Operation::Detail, over("2"));
    let pipeline = world.pipeline();
    let mended = async {
        until("the gate is closed", async || {
            !pipeline.vdab.closed_gates().is_empty()
        })
        .await;
        source.clear_faults();
    };
    tokio::join!(async { pipeline.run().await.unwrap() }, mended);
    world.assert_database_equals_source().await;
    let log = source.call_log();
    let at = log.iter().find(|call| call.status == Some(429)).unwrap().at;
    // Calls under way when the answer came may still arrive, and two other CVs are asked for before the gate closes.
    let meanwhile = log
        .iter()
        .filter(|call| call.operation == Operation::Detail)
        .filter(|call| call.at > at && call.at < at + Duration::from_millis(1_950))
        .count();
    assert!(meanwhile < world.config.sync.workers + 2, "{meanwhile}");
}

/// All samples of a metric together.
fn sum(world: &World, name: &str) -> u64 {
    let metrics = world.metrics.render().unwrap();
    let values = metrics.lines().filter(|line| line.starts_with(name));
    values
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[tokio::test]
async fn listed_ids_and_results_add_up_whatever_is_listed_reconciles_included() {
    let mut world = World::new(90).await;
    let ids: Vec<_> = world.source.world(|w| w.live_ids().take(30).collect());
    world.source.rule(ids[0], Fault::Http500);
    world.source.world(|w| {
        let at = w.now() - chrono::TimeDelta::days(1);
        for (number, id) in ids.iter().chain(&ids).enumerate() {
            let status = ["OPEN", "VERWIJDERD", "ANDERS"][number % 3];
            // The same id in another spelling.
            w.list_extra(at, id.to_string().to_uppercase(), Some("OPEN"));
            w.list_extra(at, id.to_string(), Some(status));
        }
        for garbage in ["NOT_FOUND", "NOT_FOUND", "", "7"] {
            w.list_extra(at, garbage, None);
        }
    });
    let summary = world.sync_again().await;
    assert_eq!(summary.tally.listed, summary.tally.done());
    world
        .assert_equal_but_for_parked(&["", "#", "XXX_XXXXX", &ids[0].to_string()])
        .await;
    world.source.world(|w| {
        w.remove(ids[1]);
        w.remove(ids[2]);
        w.update(ids[3]);
    });
    world.settle();
    for request in [Request::UpToNow, Request::Relist, Request::Reconcile] {
        let summary = world.request(request.clone()).await;
        assert_eq!(summary.tally.listed, summary.tally.done(), "{request:?}");
        let (listed, records) = (
            sum(&world, "cvsync_listed_total{"),
            sum(&world, "cvsync_records_total{"),
        );
        assert_eq!(listed, records, "{request:?}");
        assert!(listed > 200);
    }
    assert!(sum(&world, "cvsync_page_drift_total{kind=\"duplicate\"}") >= 60);
}

#[tokio::test]
async fn an_id_that_stands_twice_on_a_page_is_fetched_once() {
    let mut world = World::new(60).await;
    rewrite(&world, |page| {
        let items = page["resultaten"].as_array_mut().unwrap();
        let mut again = items.clone();
        for item in &mut again {
            item["cvId"] = item["cvId"].as_str().unwrap().to_uppercase().into();
        }
        items.extend(again);
    });
    let summary = world.sync_again().await;
    world.assert_database_equals_source().await;
    assert_eq!(summary.tally.listed, summary.tally.done());
    assert_eq!(world.detail_calls(), world.live() as u64);
}

/// Changes each page of the simulator.
fn rewrite(world: &World, change: impl Fn(&mut serde_json::Value) + Send + 'static) {
    world.source.rewrite(Operation::Bulk, move |answer| {
        let mut page = serde_json::from_slice(&answer.body).unwrap();
        change(&mut page);
        answer.body = page.to_string().into();
    });
}

#[tokio::test]
async fn an_odd_item_is_parked_and_the_window_goes_on() {
    let mut world = World::new(40).await;
    rewrite(&world, |page| {
        let odd = serde_json::json!([
            null, 7, "x", true, [], {}, [{}], {"cvId": null}, {"cvId": {"id": 1}}, {"cvId": ["x"], "status": {}},
        ]);
        let items = page["resultaten"].as_array_mut().unwrap();
        for (at, item) in odd.as_array().unwrap().iter().enumerate() {
            items.insert(at.min(items.len()), item.clone());
        }
        for item in items.iter_mut().skip(12) {
            item["status"] = serde_json::json!([1]);
        }
    });
    let summary = world.sync_again().await;
    assert!(summary.watermark.is_some());
    assert_eq!(summary.tally.listed, summary.tally.done());
    world.assert_equal_but_for_parked(&["", "#", "x"]).await;
}

#[tokio::test]
async fn an_answer_that_proves_nothing_settles_no_window() {
    let mut world = World::new(40).await;
    world.sync_again().await;
    let (before, id) = (world.watermark().await, world.any_live_id());
    world.source.world(|w| w.update(id));
    world.settle();
    for body in [
        "",
        "{}",
        "[]",
        "null",
        r#"["error"]"#,
        r#"{"resultaten":null}"#,
        r#"{"aantal":1,"resultaten":null}"#,
        r#"{"aantal":0,"resultaten":false}"#,
        r#"{"aantal":0,"resultaten":{"error":"x"}}"#,
        r#"{"httpCode":"500","httpMessage":"Internal Server Error"}"#,
    ] {
        world.source.rule(Operation::Bulk, json(200, body));
        world.config.sync.retry_max_elapsed = Duration::from_millis(1);
        assert!(world.try_sync().await.is_err(), "{body}");
        assert_eq!(world.watermark().await, before, "{body}");
    }
    world.source.rule(Operation::Bulk, json(204, ""));
    assert!(world.try_sync().await.is_err());
    world.source.clear_faults();
    world.sync_again().await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_byte_order_mark_before_a_document_is_ignored() {
    let mut world = World::new(20).await;
    world.source.rewrite(Operation::Detail, |answer| {
        answer.body = ["\u{feff}".as_bytes(), &answer.body].concat().into();
    });
    world.sync_again().await;
    world.assert_database_equals_source().await;
    assert_eq!(world.rows("parked_cv").await, 0);
}

#[tokio::test]
async fn a_number_that_would_fill_the_disk_is_parked() {
    is_parked(
        |id| {
            let numbers = vec!["1e999"; 50_000].join(",");
            json(200, &format!(r#"{{"cvId":"{id}","x":[{numbers}]}}"#))
        },
        "unstorable",
    )
    .await;
}
