//! Each fault as a client sees it.

use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

use super::super::{Answer, Fault, Operation, Options};
use super::{Client, json_of};

fn fault(text: &str) -> Options {
    Options {
        faults: vec![text.parse().unwrap()],
        ..Options::default()
    }
}

#[tokio::test]
async fn refusing_faults_answer_as_the_gateway_does() {
    for (kind, expected) in [
        ("http-500=1", 500),
        ("http-503=1", 503),
        ("rate-limit=1", 429),
        ("missing-detail=1", 404),
    ] {
        let client = Client::start(fault(kind)).await;
        let path = format!("kandidaten/{}", client.any_cv());
        let mut with_retry_after = 0;
        for _ in 0..20 {
            let response = client.try_get(&path).await.unwrap();
            assert_eq!(response.status(), expected, "{kind}");
            with_retry_after += u8::from(response.headers().contains_key("retry-after"));
            assert_eq!(
                json_of(response).await["httpCode"],
                expected.to_string(),
                "{kind}"
            );
        }
        let sometimes = (1..20).contains(&with_retry_after);
        assert_eq!(
            sometimes,
            [503, 429].contains(&expected),
            "{kind}: {with_retry_after}"
        );
    }
}

#[tokio::test]
async fn an_html_page_comes_with_200() {
    let client = Client::start(fault("html-200=1")).await;
    let response = client.try_get("rijbewijzen").await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["content-type"]
        ),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(
        response
            .text()
            .await
            .unwrap()
            .starts_with("<!doctype html>")
    );
}

#[tokio::test]
async fn a_reset_breaks_the_connection_in_mid_body() {
    let client = Client::start(fault("reset=1")).await;
    let response = client
        .try_get(&format!("kandidaten/{}", client.any_cv()))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let error = response.bytes().await.unwrap_err();
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let reset = causes.any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionReset)
    });
    assert!(reset, "{error:?}");
}

#[tokio::test]
async fn a_truncated_body_is_sometimes_announced_and_sometimes_not() {
    let client = Client::start(Options::default()).await;
    let id = client.any_cv();
    let whole = client
        .try_get(&format!("kandidaten/{id}"))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    client
        .simulator
        .handle()
        .set_faults(["truncate=1".parse().unwrap()]);
    let (mut broken, mut short) = (0, 0);
    for _ in 0..20 {
        match client
            .try_get(&format!("kandidaten/{id}"))
            .await
            .unwrap()
            .bytes()
            .await
        {
            Ok(body) => {
                assert_eq!(body, whole[..whole.len() / 2]);
                short += 1;
            }
            Err(error) => {
                assert!(error.is_decode() || error.is_body(), "{error:?}");
                broken += 1;
            }
        }
    }
    assert!(broken > 0 && short > 0, "{broken} broken, {short} short");
}

#[tokio::test]
async fn a_stall_answers_nothing_and_does_not_delay_the_end() {
    let client = Client::start(fault("stall=1")).await;
    let waiting =
        tokio::time::timeout(Duration::from_millis(200), client.try_get("rijbewijzen")).await;
    assert!(waiting.is_err());
    assert_eq!(client.simulator.handle().call_log()[0].status, None);
    let stalled = client.try_get("softskills");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.simulator.shared.stop.cancel();
    };
    let begin = Instant::now();
    let (answer, ()) = tokio::join!(stalled, stop);
    assert!(answer.is_err());
    client.simulator.shutdown().await;
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_bulk_page_can_hold_garbage_and_unknown_words() {
    let client = Client::start(fault("garbage-id=1")).await;
    let (_, page) = client.get(&client.bulk(-4, 1, "&aantal=2000")).await;
    let items = page["resultaten"].as_array().unwrap().clone();
    assert_eq!(page["aantal"], items.len() - 1);
    assert!(items.iter().any(|item| item["cvId"] == "NOT_FOUND"));
    client
        .simulator
        .handle()
        .set_faults(["unknown-status=1".parse().unwrap()]);
    let (_, page) = client.get(&client.bulk(-4, 1, "&aantal=2000")).await;
    let words: Vec<_> = page["resultaten"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["status"].as_str().unwrap())
        .collect();
    assert!(words.contains(&"IN_BEHANDELING") && words.contains(&"OPEN"));
}

#[tokio::test]
async fn a_script_and_a_rule_say_what_comes_next() {
    let client = Client::start(Options::default()).await;
    let handle = client.simulator.handle();
    let id = client.any_cv();
    let path = format!("kandidaten/{id}");
    handle.rule(id, Fault::Http500);
    let teapot = Answer::new(418, "short and stout")
        .with("content-type", "text/plain")
        .with("x-mine", "yes");
    handle.script(Operation::Detail, [Fault::Answer(teapot), Fault::Pass]);
    let response = client.try_get(&path).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-mine"]),
        (418, &"yes".parse().unwrap())
    );
    assert_eq!(response.text().await.unwrap(), "short and stout");
    assert_eq!(client.get(&path).await.0, 200);
    assert_eq!(client.get(&path).await.0, 500);
    assert_eq!(client.get("rijbewijzen").await.0, 200);
    handle.clear_faults();
    assert_eq!(client.get(&path).await.0, 200);
}
