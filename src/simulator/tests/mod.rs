//! The simulator as a client sees it, over real sockets.

mod faults;

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::contract::KEY_HEADER;

struct Client {
    simulator: Simulator,
    clock: Clock,
    http: reqwest::Client,
}

impl Client {
    async fn start(options: Options) -> Self {
        let clock = Clock::default();
        let simulator = Simulator::start(options, clock.clone()).await.unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        Self {
            simulator,
            clock,
            http,
        }
    }

    async fn try_get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}/{path}", self.simulator.base_url());
        self.http
            .get(url)
            .header(KEY_HEADER, "test-key")
            .send()
            .await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.try_get(path).await.unwrap();
        (response.status().as_u16(), json_of(response).await)
    }

    /// A bulk call for the days from `from` to `to`, counted from now.
    fn bulk(&self, from: i64, to: i64, more: &str) -> String {
        let now = self.clock.now();
        let [van, tot] = [from, to]
            .map(|days| (now + TimeDelta::days(days)).to_rfc3339_opts(SecondsFormat::Millis, true));
        format!("kandidaten/bulk?van={van}&tot={tot}{more}")
    }

    fn any_cv(&self) -> Uuid {
        self.simulator
            .handle()
            .world(|world| world.live_ids().next().unwrap())
    }
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn without_the_key_nothing_is_answered() {
    let client = Client::start(Options::default()).await;
    let refused = json!({"httpCode": "401", "httpMessage": "Unauthorized", "moreInformation": "Invalid client id or secret."});
    let url = format!("{}/rijbewijzen", client.simulator.base_url());
    let missing = client.http.get(&url).send().await.unwrap();
    assert_eq!(
        (missing.status().as_u16(), json_of(missing).await),
        (401, refused.clone())
    );
    assert_eq!(client.get("rijbewijzen").await.0, 200);
    client
        .simulator
        .handle()
        .settings(|settings| settings.key = "rotated".to_owned());
    assert_eq!(client.get("rijbewijzen").await, (401, refused));
}

#[tokio::test]
async fn over_quota_is_429_and_the_headers_tell() {
    let client = Client::start(Options {
        rate_per_minute: Some(2),
        ..Options::default()
    })
    .await;
    let id = client.any_cv();
    let header =
        |response: &reqwest::Response, name| response.headers()[name].to_str().unwrap().to_owned();
    let first = client.try_get(&format!("kandidaten/{id}")).await.unwrap();
    assert_eq!(header(&first, "x-ratelimit-limit"), "name=rate-limit,2");
    assert_eq!(header(&first, "x-ratelimit-remaining"), "name=rate-limit,1");
    client.get(&format!("kandidaten/{id}")).await;
    let third = client.try_get(&format!("kandidaten/{id}")).await.unwrap();
    assert_eq!(third.status(), 429);
    let wait: u64 = header(&third, "retry-after").parse().unwrap();
    assert!((55..=60).contains(&wait));
    assert_eq!(
        header(&third, "x-ratelimit-reset"),
        format!("name=rate-limit,{wait}")
    );
    assert_eq!(
        json_of(third).await["moreInformation"],
        "Rate Limit exceeded"
    );
    assert_eq!(
        client.get("rijbewijzen").await.0,
        200,
        "each operation has its own quota"
    );
    let handle = client.simulator.handle();
    assert_eq!(handle.calls(Operation::Detail), 3);
    let statuses: Vec<_> = handle
        .call_log()
        .iter()
        .map(|call| (call.operation, call.id, call.status))
        .collect();
    assert_eq!(statuses[2], (Operation::Detail, Some(id), Some(429)));
    handle.settings(|settings| settings.rate_per_minute = None);
    assert_eq!(client.get(&format!("kandidaten/{id}")).await.0, 200);
}

#[tokio::test]
async fn bulk_keeps_to_its_limits() {
    let client = Client::start(Options::default()).await;
    let (status, page) = client.get(&client.bulk(-4, 1, "&aantal=3")).await;
    assert_eq!(
        (status, page["resultaten"].as_array().unwrap().len()),
        (200, 3)
    );
    assert!(page["aantal"].as_u64().unwrap() > 3);
    for wrong in [
        client.bulk(-5, 1, ""),
        client.bulk(1, -1, ""),
        client.bulk(-1, 1, "&aantal=0"),
        client.bulk(-1, 1, "&aantal=2001"),
        client.bulk(-1, 1, "&vanaf=-1"),
        "kandidaten/bulk?van=2026-02-13T12:00:00.000Z".to_owned(),
        "kandidaten/bulk?van=gisteren&tot=2026-02-13T12:00:00.000Z".to_owned(),
    ] {
        let (status, error) = client.get(&wrong).await;
        assert_eq!(
            (status, &error["httpCode"]),
            (400, &json!("400")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_detail_is_the_document_or_the_news_that_it_is_gone() {
    let client = Client::start(Options::default()).await;
    let handle = client.simulator.handle();
    let id = client.any_cv();
    let (status, document) = client.get(&format!("kandidaten/{id}")).await;
    assert_eq!(
        (status, &document),
        (
            200,
            &handle.world(|world| world.live_documents()[&id].clone())
        )
    );
    handle.world(|world| world.remove(id));
    let (status, error) = client.get(&format!("kandidaten/{id}")).await;
    assert_eq!(
        (status, &error["moreInformation"]),
        (404, &json!(format!("{id} is geen bestaande kandidaat")))
    );
    let (status, error) = client.get("kandidaten/NOT_FOUND").await;
    assert_eq!(
        (status, &error["moreInformation"]),
        (400, &json!("Invalid string syntax"))
    );
    assert_eq!(client.get("kandidatuur").await.0, 404);
}

#[tokio::test]
async fn search_filters_and_selects() {
    let client = Client::start(Options::default()).await;
    let documents = client
        .simulator
        .handle()
        .world(|world| world.live_documents());
    let has = |document: &Value, studie: &str, regio: &str| {
        let opleidingen = document["opleidingen"].as_array().unwrap();
        opleidingen
            .iter()
            .any(|opleiding| opleiding["naam"] == studie)
            && document["gewensteJob"]["regios"]
                .as_array()
                .unwrap()
                .iter()
                .any(|found| found == regio)
    };
    let expected: Vec<_> = documents
        .iter()
        .filter(|(_, document)| {
            has(document, "MAE5AHH", "BE231A") || has(document, "SOT4HAN", "BE231A")
        })
        .map(|(id, document)| json!({"cvId": id, "iklId": document["iklId"]}))
        .collect();
    let query = "kandidaten?studies=MAE5AHH&studies=SOT4HAN&gewensteRegios=BE231A&velden=iklId&aantal=200&anders=x";
    let (_, page) = client.get(query).await;
    assert!(!expected.is_empty() && expected.len() < 50);
    assert_eq!(page["aantal"], expected.len());
    assert!(
        page["resultaten"]
            .as_array()
            .unwrap()
            .iter()
            .all(|result| expected.contains(result))
    );
    // Each of the others as a walk over the documents has it.
    for (filter, list, kind) in [
        ("rijbewijzen", "attesteringen", "rijbewijs"),
        ("attesten", "attesteringen", "attest"),
        ("talen", "competenties", "talen"),
        (
            "technischeCompetenties",
            "competenties",
            "technischeCompetentie",
        ),
        ("softSkills", "competenties", "softSkill"),
    ] {
        let codes = |document: &Value| -> Vec<String> {
            let elements = document[list].as_array().unwrap().iter();
            elements
                .filter(|element| element["type"] == kind)
                .map(|element| element["code"].as_str().unwrap().to_owned())
                .collect()
        };
        let code = documents
            .iter()
            .find_map(|(_, document)| codes(document).pop())
            .unwrap();
        let expected = documents
            .iter()
            .filter(|(_, document)| codes(document).contains(&code))
            .count();
        let (_, page) = client.get(&format!("kandidaten?{filter}={code}")).await;
        assert_eq!(page["aantal"], expected, "{filter}={code}");
    }
    let (_, page) = client.get("kandidaten?vanaf=90").await;
    assert_eq!(
        page["resultaten"].as_array().unwrap().len(),
        documents.len() - 90
    );
    assert_eq!(
        client
            .get("kandidaten?velden=a&velden=b&velden=c&velden=d&velden=e&velden=f")
            .await
            .0,
        400
    );
    assert_eq!(client.get("kandidaten?aantal=201").await.0, 400);
}

#[tokio::test]
async fn reference_lists_are_codes_and_labels() {
    let client = Client::start(Options::default()).await;
    for list in "rijbewijzen softskills attesten jobdomeinen arbeidsstelsels arbeidsregimes arbeidscontracten \
                 arbeidscontractduren diplomas?trefwoord=master"
        .split_whitespace()
    {
        let (status, codes) = client.get(list).await;
        assert_eq!(status, 200, "{list}");
        assert!(codes[0]["code"].is_string() && codes[0]["omschrijving"].is_string(), "{list}");
    }
    assert_eq!(client.get("diplomas").await.0, 400);
}

#[tokio::test]
async fn answers_carry_the_time_of_the_source() {
    let client = Client::start(Options::default()).await;
    client.clock.set_skew(TimeDelta::hours(1));
    let response = client.try_get("rijbewijzen").await.unwrap();
    let date = httpdate::parse_http_date(response.headers()["date"].to_str().unwrap()).unwrap();
    let behind = client.clock.now() - DateTime::<Utc>::from(date);
    assert!((0..3).contains(&behind.num_seconds()), "{behind}");
    assert_eq!(
        response.headers()["content-type"],
        "application/json; charset=utf-8"
    );
    client
        .simulator
        .handle()
        .settings(|settings| settings.send_date = false);
    assert!(
        !client
            .try_get("rijbewijzen")
            .await
            .unwrap()
            .headers()
            .contains_key("date")
    );
}

#[tokio::test]
async fn a_test_can_change_the_world_before_an_answer() {
    let client = Client::start(Options::default()).await;
    let id = client.any_cv();
    client.simulator.handle().on_request(move |call, world| {
        if call.operation == Operation::Bulk {
            world.update(id);
        }
    });
    for _ in 0..3 {
        let (_, page) = client.get(&client.bulk(-4, 1, "&aantal=2000")).await;
        assert_eq!(
            page["resultaten"].as_array().unwrap().last().unwrap()["cvId"],
            json!(id)
        );
    }
}

#[tokio::test]
async fn changes_come_by_themselves() {
    let epoch = Clock::default().now() - TimeDelta::seconds(50);
    let options = Options {
        changes_per_second: 2.0,
        epoch: Some(epoch),
        ..Options::default()
    };
    let client = Client::start(options).await;
    let (_, page) = client.get(&client.bulk(0, 1, "")).await;
    assert_eq!(page["aantal"], 0, "nothing in the future");
    let van = epoch.to_rfc3339_opts(SecondsFormat::Millis, true);
    let tot = client
        .clock
        .now()
        .to_rfc3339_opts(SecondsFormat::Millis, true);
    let (_, page) = client
        .get(&format!("kandidaten/bulk?van={van}&tot={tot}&aantal=2000"))
        .await;
    let changed = page["resultaten"].as_array().unwrap().len();
    assert!(
        (40..=100).contains(&changed),
        "{changed} of 100 changes, some to the same CV"
    );
}
