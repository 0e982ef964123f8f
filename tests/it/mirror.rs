//! The mirror: the responses to a system that was written for VDAB's API, and its limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cvsync::config::{Config, Env};
use cvsync::model::window::instant;
use cvsync::model::{Brake, CvId, Document, Fate, Outcome};
use cvsync::store::apply;
use cvsync::sync::Pipeline;
use cvsync::telemetry::Metrics;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::{World, new_database, store, transaction};

const NEVER: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");
const TOKEN: (&str, &str) = ("CVSYNC_ADMIN_TOKEN", "canary-open-sesame");
pub(crate) const KEY: HeaderName = HeaderName::from_static("x-ibm-client-id");

/// VDAB's documentation, in the part that we know.
const CONTRACT: &str = include_str!("seed/openapi.json");

/// A daemon that serves a mirror, and the key of one of its clients.
struct Mirror {
    daemon: Process,
    key: String,
}

pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("{}: no JSON: {}", self.status, self.body))
    }

    /// The message of a refusal, after a check that it has the gateway's shape.
    fn refusal(&self) -> String {
        let json = self.json();
        assert_valid("the contract", CONTRACT, error_schema(), &json);
        assert_eq!(json["httpCode"], self.status.to_string(), "{json}");
        assert_eq!(self.headers["content-type"], "application/json");
        json["moreInformation"].as_str().unwrap().to_owned()
    }
}

fn error_schema() -> Value {
    json!({"$ref": "#/components/responses/Error/content/application~1json/schema"})
}

fn assert_valid(whose: &str, document: &str, mut schema: Value, value: &Value) {
    let document: Value = serde_json::from_str(document).unwrap();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let wrong: Vec<_> = validator
        .iter_errors(value)
        .map(|e| e.to_string())
        .collect();
    assert!(wrong.is_empty(), "{whose}: {wrong:?} in {value}");
}

/// Holds an answer to VDAB's schema and to the mirror's own.
async fn assert_shape(mirror: &Mirror, name: &str, value: &Value) {
    let schema = json!({"$ref": format!("#/components/schemas/{name}")});
    assert_valid("the contract", CONTRACT, schema.clone(), value);
    let served = request(mirror.daemon.address(), "/mirror/v1/openapi.json", &[])
        .await
        .body;
    assert_valid("its own document", &served, schema, value);
}

/// To make one takes longer than to use it; a connection of its own for each request, since tests share it.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let client = reqwest::Client::builder().no_proxy();
    client.pool_max_idle_per_host(0).build().unwrap()
});

pub(crate) async fn request(address: &str, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
    let mut request = CLIENT
        .get(format!("http://{address}{path}"))
        .timeout(Duration::from_secs(30));
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let answer = request.send().await.unwrap();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.text().await.unwrap(),
    }
}

async fn clients(world: &World, args: &[&str]) -> (Option<i32>, String, String) {
    let env = world.environment();
    let args: Vec<&str> = [&["clients"], args].concat();
    output(&args, env.iter().map(|(n, v)| (*n, v.as_str()))).await
}

pub(crate) async fn add_client(world: &World, name: &str) -> String {
    let (code, stdout, stderr) = clients(world, &["add", name, "--json"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let added: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(added["name"], name);
    added["key"].as_str().unwrap().to_owned()
}

impl Mirror {
    async fn of(world: &World) -> Self {
        let key = add_client(world, "crm").await;
        let daemon = Process::run(world, &[NEVER, AT_ONCE, TOKEN]);
        daemon.until_synced().await;
        Self { daemon, key }
    }

    async fn get(&self, path: &str) -> Answer {
        let path = format!("/mirror/v1{path}");
        request(self.daemon.address(), &path, &[(KEY, &self.key)]).await
    }

    async fn bulk(&self, van: DateTime<Utc>, tot: DateTime<Utc>, rest: &str) -> Value {
        let (van, tot) = (instant(van), instant(tot));
        let path = format!("/kandidaten/bulk?van={van}&tot={tot}{rest}");
        let answer = self.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    async fn found(&self, query: &str) -> Vec<Uuid> {
        let answer = self.get(&format!("/kandidaten?{query}&aantal=200")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        ids(&answer.json())
    }
}

fn ids(page: &Value) -> Vec<Uuid> {
    let results = page["resultaten"].as_array().unwrap().iter();
    results
        .map(|item| item["cvId"].as_str().unwrap().parse().unwrap())
        .collect()
}

fn statuses(page: &Value) -> Vec<(Uuid, String)> {
    let results = page["resultaten"].as_array().unwrap().iter();
    let status = results.map(|item| item["status"].as_str().unwrap().to_owned());
    ids(page).into_iter().zip(status).collect()
}

pub(crate) fn fate(id: Uuid, second: i64, content: Option<&str>) -> Outcome {
    let id = CvId(id);
    let fate = match content {
        Some(content) => {
            let body = format!(r#"{{"cvId":"{id}","status":"OPEN","x":"{content}"}}"#);
            Fate::Live(id, Document::read(body.as_bytes(), &[]).unwrap().1)
        }
        None => Fate::Gone(id),
    };
    Outcome {
        window: None,
        as_of: DateTime::from_timestamp(second, 0).unwrap(),
        fate,
    }
}

#[tokio::test]
async fn a_key_opens_until_it_is_revoked_and_no_answer_tells_why_it_does_not() {
    let world = World::new(20).await;
    let Mirror { daemon, key } = Mirror::of(&world).await;
    let standby = Process::run(&world, &[NEVER]);
    standby.until("/readyz", |status, _| status == 200).await;
    let other = add_client(&world, "Jobs & Co").await;
    let path = format!("/mirror/v1/kandidaten/{}", world.any_live_id());
    let bearer = format!("Bearer {}", TOKEN.1);
    let wrong = key.replace(|c: char| c.is_ascii_digit(), "0");
    for headers in [
        vec![(KEY, &*key)],
        vec![(KEY, &*other)],
        vec![(AUTHORIZATION, &*bearer)],
        vec![(AUTHORIZATION, "Bearer of another"), (KEY, &*key)],
        vec![(AUTHORIZATION, &*bearer), (KEY, "of another")],
    ] {
        let answer = request(daemon.address(), &path, &headers).await;
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.body);
    }
    let mut refused = Vec::new();
    for headers in [
        vec![],
        vec![(KEY, "")],
        vec![(KEY, &*wrong)],
        vec![(KEY, &key[1..])],
        vec![(KEY, TOKEN.1)],
        vec![(AUTHORIZATION, &*key)],
        vec![(KEY, &*wrong), (KEY, &*key)],
    ] {
        for path in [
            &*path,
            "/mirror/v1/kandidaten/x",
            "/mirror/nothing",
            "/mirror",
        ] {
            refused.push(request(daemon.address(), path, &headers).await);
        }
    }
    // The standby has no token.
    refused.push(request(standby.address(), &path, &[(AUTHORIZATION, &bearer)]).await);
    for answer in &refused {
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.body,
            r#"{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":"Invalid client id or secret."}"#
        );
    }
    assert_eq!(
        request(standby.address(), &path, &[(KEY, &key)])
            .await
            .status,
        200
    );
    let (code, said, _) = clients(&world, &["revoke", "crm"]).await;
    assert_eq!((code, said.contains("Revoked")), (Some(0), true), "{said}");
    for daemon in [&daemon, &standby] {
        until("the key opens nothing any more", async || {
            request(daemon.address(), &path, &[(KEY, &key)])
                .await
                .status
                == 401
        })
        .await;
        assert_eq!(
            request(daemon.address(), &path, &[(KEY, &other)])
                .await
                .status,
            200
        );
    }
    let (_, listed, _) = clients(&world, &["list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["name"], "Jobs & Co");
    assert!(listed[0]["last_used_at"].is_string() && listed[0]["revoked_at"].is_null());
    assert_eq!(listed[1]["name"], "crm");
    assert!(listed[1]["last_used_at"].is_string() && listed[1]["revoked_at"].is_string());
    let log = daemon.log() + &standby.log();
    let id = world.any_live_id().to_string();
    for secret in [&*key, &*other, TOKEN.1, &*id] {
        assert!(!log.contains(secret), "{log}");
    }
    let metrics = daemon.get("/metrics").await.unwrap().1;
    assert!(
        metrics.contains(r#"http_route="/mirror/v1/kandidaten/{id}""#),
        "{metrics}"
    );
    assert!(!metrics.contains(&id));
}

#[tokio::test]
async fn without_token_and_clients_the_mirror_is_shut() {
    let world = World::new(5).await;
    let daemon = Process::run(&world, &[NEVER]);
    daemon.until_synced().await;
    let path = format!("/mirror/v1/kandidaten/{}", world.any_live_id());
    for headers in [
        vec![],
        vec![(KEY, "")],
        vec![(KEY, "test-key")],
        vec![(AUTHORIZATION, "Bearer ")],
    ] {
        assert_eq!(request(daemon.address(), &path, &headers).await.status, 401);
    }
    let (code, listed, _) = clients(&world, &["list"]).await;
    assert_eq!((code, &*listed), (Some(0), "none\n"));
}

#[tokio::test]
async fn a_client_s_name_is_used_once_and_its_key_is_kept_as_a_hash() {
    let world = World::new(0).await;
    let key = add_client(&world, "crm").await;
    assert_eq!(key.len(), 64);
    assert_ne!(key, add_client(&world, "crm 2").await);
    clients(&world, &["revoke", "crm"]).await;
    for (args, said) in [
        (["add", "crm"], "the name \"crm\" is or was in use"),
        (["add", ""], "1 to 100 characters"),
        (["add", "a\nb"], "1 to 100 characters"),
        (["add", &"x".repeat(101)], "1 to 100 characters"),
        (["revoke", "crn"], "no client has the name \"crn\""),
    ] {
        let (code, stdout, stderr) = clients(&world, &args).await;
        assert_eq!((code, &*stdout), (Some(2), ""), "{args:?}");
        assert!(stderr.contains(said), "{stderr}");
    }
    assert_eq!(clients(&world, &["revoke", "crm"]).await.0, Some(0));
    let kept: Vec<String> =
        sqlx::query_scalar("select mirror_client::text from cvsync.mirror_client")
            .fetch_all(&world.database)
            .await
            .unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|row| !row.contains(&key[..16])), "{kept:?}");
}

#[tokio::test]
async fn a_document_is_answered_as_it_is_stored() {
    let mut world = World::new(40).await;
    let mirror = Mirror::of(&world).await;
    let gone = world.any_live_id();
    let stored: Vec<(Uuid, String)> = sqlx::query_as("select cv_id, document::text from cvsync.cv")
        .fetch_all(&world.database)
        .await
        .unwrap();
    assert_eq!(stored.len(), world.live());
    let (mirror_, paths) = (
        &mirror,
        stored.iter().map(|(id, _)| format!("/kandidaten/{id}")),
    );
    let answers = paths.map(|path| async move { mirror_.get(&path).await });
    // At once, so that several are read together.
    let answers = futures_util::future::join_all(answers).await;
    for (answer, (id, text)) in answers.iter().zip(&stored) {
        assert_eq!((answer.status, &answer.body), (200, text), "{id}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_shape(&mirror, "Cv", &answer.json()).await;
    }
    let path = format!("/mirror/v1/kandidaten/{gone}");
    let tag = mirror.get(&format!("/kandidaten/{gone}")).await.headers["etag"].clone();
    let hex = tag.to_str().unwrap().trim_matches('"');
    let packed = format!("W/\"{hex}-gzip\"");
    let conditional = [
        (KEY, &*mirror.key),
        (HeaderName::from_static("if-none-match"), &*packed),
    ];
    let unchanged = request(mirror.daemon.address(), &path, &conditional).await;
    assert_eq!((unchanged.status, &*unchanged.body), (304, ""));

    world.source.world(|world| world.remove(gone));
    world.settle();
    world.sync_again().await;
    assert_eq!(
        request(mirror.daemon.address(), &path, &conditional)
            .await
            .status,
        404
    );
    for unknown in [gone, Uuid::new_v4()] {
        let answer = mirror.get(&format!("/kandidaten/{unknown}")).await;
        assert_eq!(answer.status, 404);
        assert!(
            answer
                .refusal()
                .contains(&format!("{unknown} is geen bestaande "))
        );
    }
    for malformed in [
        "NOT_FOUND",
        "%ff%fe",
        "%00",
        &gone.simple().to_string(),
        &"x".repeat(9_000),
    ] {
        let answer = mirror.get(&format!("/kandidaten/{malformed}")).await;
        assert_eq!(
            (answer.status, &*answer.refusal()),
            (400, "Invalid string syntax")
        );
    }
    let log = mirror.daemon.log();
    assert!(
        !log.contains("status=404") && !log.contains("\"status\":404"),
        "{log}"
    );
}

#[tokio::test]
async fn a_window_holds_each_cv_once_at_its_latest_change() {
    let world = World::new(0).await;
    let mirror = Mirror::of(&world).await;
    let store = store(world.url());
    let id = Uuid::from_u128;
    let apply = async |batch: &[Outcome]| {
        store
            .apply(batch, Brake::on(1.0), chrono::DateTime::UNIX_EPOCH)
            .await
            .unwrap();
        sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(&world.database)
            .await
            .unwrap()
    };
    let begun: DateTime<Utc> = apply(&[]).await;
    let batch: Vec<_> = (1..=5).map(|n| fate(id(n), 1, Some("a"))).collect();
    let first = apply(&batch).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    // 1 and 2 are removed, 3 changes, 4 is removed and comes back, 5 stays.
    let gone = apply(&[
        fate(id(1), 2, None),
        fate(id(2), 2, None),
        fate(id(4), 2, None),
    ])
    .await;
    let last = apply(&[fate(id(3), 3, Some("b")), fate(id(4), 3, Some("b"))]).await;
    let second = apply(&[fate(id(2), 4, Some("b")), fate(id(2), 5, None)][..1]).await;
    let end = apply(&[fate(id(2), 5, None)]).await + TimeDelta::milliseconds(1);

    let all = mirror.bulk(begun, end, "").await;
    assert_shape(&mirror, "BulkPage", &all).await;
    let expected = [
        (5, "OPEN"),
        (1, "VERWIJDERD"),
        (3, "OPEN"),
        (4, "OPEN"),
        (2, "VERWIJDERD"),
    ];
    assert_eq!(
        statuses(&all),
        expected.map(|(n, status)| (id(n), status.to_owned()))
    );
    assert_eq!(all["aantal"], 5);
    // A change that a later one has followed is in no window.
    let cut = first + TimeDelta::milliseconds(2);
    assert_eq!(ids(&mirror.bulk(begun, cut, "").await), [id(5)]);
    assert!(gone < last && last < second && second < end);
    // As wide as one likes, and in whatever zone.
    let long_ago = "van=1970-01-01T01:00:00%2B01:00";
    let answer = mirror
        .get(&format!("/kandidaten/bulk?{long_ago}&tot={}", instant(end)))
        .await;
    assert_eq!(answer.json(), all);
    for (rest, expected) in [
        ("&vanaf=1&aantal=2", &[1, 3][..]),
        ("&vanaf=4", &[2]),
        ("&vanaf=5", &[]),
        ("&vanaf=9223372036854775807", &[]),
    ] {
        let page = mirror.bulk(begun, end, rest).await;
        assert_eq!(
            ids(&page),
            expected.iter().map(|n| id(*n)).collect::<Vec<_>>(),
            "{rest}"
        );
        assert_eq!(page["aantal"], 5);
    }
    assert_eq!(
        mirror.bulk(end, end, "").await,
        json!({"aantal": 0, "resultaten": []})
    );
}

async fn somebody_waits_for_the_lock(database: &PgPool) -> bool {
    sqlx::query_scalar(
        "select exists (
             select from pg_locks
               join pg_stat_activity using (pid)
              where not granted
                and datname = current_database())",
    )
    .fetch_one(database)
    .await
    .unwrap()
}

#[tokio::test]
async fn whoever_asks_for_one_window_after_the_other_misses_no_change_that_commits_late() {
    let world = World::new(0).await;
    let mirror = Mirror::of(&world).await;
    let begun = Utc::now() - TimeDelta::minutes(1);
    let mut tx = transaction(world.url()).await.unwrap();
    let written = [fate(Uuid::from_u128(1), 1, Some("a"))];
    apply::apply(&mut tx, &written, Brake::on(1.0), &[], DateTime::UNIX_EPOCH)
        .await
        .unwrap();
    let tot = Utc::now() + TimeDelta::milliseconds(1);
    let asked = mirror.bulk(begun, tot, "");
    let writer = async {
        until("the mirror waits for the writer", async || {
            somebody_waits_for_the_lock(&world.database).await
        })
        .await;
        tx.commit().await.unwrap();
    };
    let (first, ()) = tokio::join!(asked, writer);
    // A window up to a now that is yet to come here is answered when it has come.
    let ahead = Utc::now() + TimeDelta::milliseconds(1_500);
    let second = mirror.bulk(tot, ahead, "").await;
    assert!(Utc::now() >= ahead);
    assert_eq!(
        (ids(&first), ids(&second)),
        (vec![Uuid::from_u128(1)], vec![])
    );
}

#[tokio::test]
async fn among_many_writers_one_window_after_the_other_holds_every_change() {
    let world = World::new(0).await;
    let mirror = Mirror::of(&world).await;
    let begun = Utc::now() - TimeDelta::minutes(1);
    let writers = (0..3_u128).map(|writer| {
        let store = store(world.url());
        tokio::spawn(async move {
            for round in 1..30_u128 {
                let id = |n| Uuid::from_u128(writer * 1_000_000 + n);
                let mut batch = vec![
                    fate(id(round), 1, Some("a")),
                    fate(id(7), round as i64, Some(&round.to_string())),
                ];
                if round > 15 {
                    batch.push(fate(id(round - 10), 2, None));
                }
                while store
                    .apply(&batch, Brake::on(1.0), chrono::DateTime::UNIX_EPOCH)
                    .await
                    .is_err()
                {}
            }
        })
    });
    let writing = tokio::spawn(futures_util::future::join_all(writers.collect::<Vec<_>>()));
    let (mut van, mut latest) = (begun, BTreeMap::new());
    loop {
        let over = writing.is_finished();
        // Parameters have whole milliseconds.
        let tot = Utc::now() + TimeDelta::milliseconds(1);
        let page = mirror.bulk(van, tot, "&aantal=2000").await;
        latest.extend(statuses(&page));
        van = tot;
        if over {
            break;
        }
    }
    for writer in writing.await.unwrap() {
        writer.unwrap();
    }
    // A CV that was added and removed between two readings is listed as gone, although it was never listed as live.
    let live: BTreeSet<Uuid> = latest
        .iter()
        .filter(|(_, status)| *status == "OPEN")
        .map(|(id, _)| *id)
        .collect();
    let stored: BTreeSet<Uuid> = world.documents().await.into_keys().collect();
    assert_eq!(live, stored);
    assert!(latest.values().any(|status| status == "VERWIJDERD"));
}

#[tokio::test]
async fn a_mirror_can_be_mirrored() {
    let mut world = World::new(300).await;
    let mirror = Mirror::of(&world).await;
    let second = new_database().await;
    store(&second).migrate().await.unwrap();
    let mut env = world.environment();
    env.retain(|(name, _)| {
        !matches!(
            *name,
            "CVSYNC_API_BASE_URL" | "CVSYNC_API_KEY" | "CVSYNC_DATABASE_URL"
        )
    });
    env.extend([
        (
            "CVSYNC_API_BASE_URL",
            format!("http://{}/mirror/v1", mirror.daemon.address()),
        ),
        ("CVSYNC_API_KEY", mirror.key.clone()),
        ("CVSYNC_DATABASE_URL", second.clone()),
        ("CVSYNC_SETTLE_LAG", "1s".to_owned()),
    ]);
    let config = Config::load(&Env::new(env)).unwrap();
    let database = PgPool::connect(&second).await.unwrap();
    let documents = async |database: &PgPool| -> BTreeMap<Uuid, String> {
        sqlx::query_as("select cv_id, document::text from cvsync.cv")
            .fetch_all(database)
            .await
            .unwrap()
            .into_iter()
            .collect()
    };
    for round in 0..3 {
        let (mut deleted, mut updated) = (0, 0);
        // A window ends the settle lag before now, so the first run may be too early.
        until("all changes are mirrored", async || {
            let pipeline = Pipeline::new(
                &config,
                None,
                world.clock.clone(),
                Metrics::new().unwrap(),
                CancellationToken::new(),
            )
            .unwrap();
            let summary = pipeline.run().await.unwrap();
            deleted += summary.tally.deleted;
            updated += summary.tally.updated;
            documents(&database).await == documents(&world.database).await
        })
        .await;
        if round == 2 {
            assert_eq!((deleted, updated), (40, 40));
        }
        if round == 1 {
            let ids: Vec<Uuid> = world
                .source
                .world(|world| world.live_ids().take(80).collect());
            world.source.world(|world| {
                for (at, id) in ids.iter().enumerate() {
                    if at % 2 == 0 {
                        world.remove(*id)
                    } else {
                        world.update(*id)
                    };
                }
                world.add();
            });
            world.settle();
            world.sync_again().await;
        }
    }
    assert_eq!(documents(&database).await.len(), world.live());
}

#[tokio::test]
async fn a_client_that_takes_all_its_places_leaves_some_for_others_and_for_health() {
    let world = World::new(5).await;
    let mirror = Mirror::of(&world).await;
    let other = add_client(&world, "erp").await;
    let path = format!("/mirror/v1/kandidaten/{}", world.any_live_id());
    let ask = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nx-ibm-client-id: {}\r\n\r\n",
        mirror.key
    );
    // Answers that nobody reads, until they fill every buffer on the way.
    let many = ask.repeat(4_000);
    let slow = async || {
        let mut stream = TcpStream::connect(mirror.daemon.address()).await.unwrap();
        let write = stream.write_all(many.as_bytes());
        let _ = tokio::time::timeout(Duration::from_millis(300), write).await;
        stream
    };
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(slow().await);
    }
    until("the client has no place left", async || {
        let mut stream = TcpStream::connect(mirror.daemon.address()).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = vec![0; 64 * 1024];
        let read = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).to_lowercase();
        if answer.starts_with("http/1.1 200") {
            held.push(slow().await);
            return false;
        }
        assert!(answer.starts_with("http/1.1 503"), "{answer}");
        answer.contains("retry-after: 1") && answer.contains("connection: close")
    })
    .await;
    let address = mirror.daemon.address();
    assert_eq!(request(address, &path, &[(KEY, &other)]).await.status, 200);
    assert_eq!(mirror.daemon.get("/livez").await.unwrap().0, 200);
    // A place that is given back is there for the next one.
    held.clear();
    until("there is room again", async || {
        request(address, &path, &[(KEY, &mirror.key)]).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_client_gives_up_its_idle_connections_for_new_ones() {
    let world = World::new(5).await;
    let mirror = Mirror::of(&world).await;
    let ask = format!(
        "GET /mirror/v1/kandidaten/{} HTTP/1.1\r\nhost: x\r\nx-ibm-client-id: {}\r\n\r\n",
        world.any_live_id(),
        mirror.key
    );
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(mirror.daemon.address()).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = vec![0; 64 * 1024];
        let read = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        held.push(stream);
    }
}

#[tokio::test]
async fn the_mirror_can_be_closed_to_the_admin_token() {
    let world = World::new(5).await;
    let key = add_client(&world, "crm").await;
    let daemon = Process::run(
        &world,
        &[NEVER, TOKEN, ("CVSYNC_MIRROR_CREDENTIALS", "key")],
    );
    daemon.until_synced().await;
    let path = format!("/mirror/v1/kandidaten/{}", world.any_live_id());
    let bearer = format!("Bearer {}", TOKEN.1);
    let by_token = request(daemon.address(), &path, &[(AUTHORIZATION, &bearer)]).await;
    assert_eq!(by_token.status, 401);
    let by_key = request(daemon.address(), &path, &[(KEY, &key)]).await;
    assert_eq!(by_key.status, 200);
    let listed = request(daemon.address(), "/api/parked", &[(AUTHORIZATION, &bearer)]).await;
    assert_eq!(listed.status, 200, "the token opens everything else");
}

#[tokio::test]
async fn clients_that_hang_up_take_no_connection_from_others() {
    let world = World::new(5).await;
    world.sync().await;
    let mirror = Mirror::of(&world).await;
    let mut by_hand = PgConnection::connect(world.url()).await.unwrap();
    sqlx::raw_sql("begin; select from cvsync.feed for update")
        .execute(&mut by_hand)
        .await
        .unwrap();
    let path = format!(
        "/kandidaten/bulk?van=2026-01-01T00:00:00Z&tot={}",
        instant(Utc::now())
    );
    for _ in 0..8 {
        tokio::time::timeout(Duration::from_millis(200), mirror.get(&path))
            .await
            .err()
            .expect("it waits for the lock");
    }
    let path = format!("/kandidaten/{}", world.any_live_id());
    // Whoever waits for the lock gives up after five seconds, and not before.
    let soon = tokio::time::timeout(Duration::from_millis(4_500), mirror.get(&path)).await;
    assert_eq!(soon.expect("there is a connection for it").status, 200);
}

#[tokio::test]
async fn invalid_requests_are_rejected_in_the_gateways_format() {
    let world = World::new(5).await;
    let mirror = Mirror::of(&world).await;
    let now = instant(Utc::now());
    let window = format!("van=2026-01-01T00:00:00Z&tot={now}");
    let later = instant(Utc::now() + TimeDelta::hours(1));
    for (path, status, said) in [
        ("/", 404, "no resource"),
        ("/kandidatenlijst", 404, "no resource"),
        ("/kandidaten/a/b", 404, "no resource"),
        ("/rijbewijzen", 404, "no resource"),
        ("/kandidaten/bulk", 400, "van is required"),
        (
            &format!("/kandidaten/bulk?{window}&studies=a"),
            400,
            "unknown parameter \"studies\"; known parameters: van, tot",
        ),
        (
            &format!("/kandidaten/bulk?{window}&tot={now}"),
            400,
            "tot must be given only once",
        ),
        ("/kandidaten/bulk?van=2026-01-01", 400, "van must be a time"),
        (
            "/kandidaten/bulk?van=2026-01-01T00:00:00Z&tot=%ff",
            400,
            "tot must be a time",
        ),
        (
            &format!("/kandidaten/bulk?van={now}&tot=2026-01-01T00:00:00Z"),
            400,
            "van must not be later",
        ),
        (
            &format!("/kandidaten/bulk?van={now}&tot={later}"),
            400,
            "tot must not be in the future",
        ),
        (
            &format!("/kandidaten/bulk?{window}&aantal=0"),
            400,
            "aantal must be an integer from 1 to 2000",
        ),
        (
            &format!("/kandidaten/bulk?{window}&aantal=2001"),
            400,
            "aantal",
        ),
        (&format!("/kandidaten/bulk?{window}&vanaf=-1"), 400, "vanaf"),
        (
            &format!("/kandidaten/bulk?{window}&vanaf=1e3"),
            400,
            "vanaf",
        ),
        (
            &format!("/kandidaten/bulk?{window}&vanaf=99999999999999999999"),
            400,
            "vanaf",
        ),
    ] {
        let answer = mirror.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.refusal().contains(said), "{path}: {}", answer.body);
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let url = format!("http://{}/mirror/v1/kandidaten", mirror.daemon.address());
        let request = CLIENT
            .request(method.parse().unwrap(), url)
            .header(KEY, &mirror.key);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 405, "{method}");
        assert!(
            answer
                .text()
                .await
                .unwrap()
                .contains("\"httpCode\":\"405\"")
        );
    }
    // Longer than any head may be.
    let endless = format!("/kandidaten?zoekterm={}", "x".repeat(40_000));
    assert_eq!(mirror.get(&endless).await.status, 431);
}

#[tokio::test]
async fn openapi_description_needs_no_key() {
    let world = World::new(0).await;
    let mirror = Mirror::of(&world).await;
    let (status, document) = mirror.daemon.get("/mirror/v1/openapi.json").await.unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!((status, &document["openapi"]), (200, &json!("3.0.3")));
    let contract: Value = serde_json::from_str(CONTRACT).unwrap();
    for path in ["/kandidaten", "/kandidaten/{id}", "/kandidaten/bulk"] {
        let names = |document: &Value| -> BTreeSet<String> {
            let parameters = document["paths"][path]["get"]["parameters"]
                .as_array()
                .unwrap();
            parameters
                .iter()
                .map(|p| p["name"].as_str().unwrap().to_owned())
                .collect()
        };
        assert!(names(&contract).is_subset(&names(&document)), "{path}");
    }
}

/// Three people whose codes overlap.
const PEOPLE: [&str; 3] = [
    r#"{"status":"OPEN","wijzigingsDatum":"2026-01-02",
        "natuurlijkPersoon":{"achternaam":"Canary","officieelAdres":{"postcode":"9000"}},
        "ervaringen":[{"functieTitel":"Verpleegkundige in de ouderenzorg"}],
        "opleidingen":[{"naam":"MAE5AHH","info":"Een opleiding in de zorg"}],
        "attesteringen":[{"type":"rijbewijs","code":"B"},{"type":"attest","code":"A01"}],
        "competenties":[{"type":"talen","code":"N","niveau":"3"},{"type":"technischeCompetentie","code":"11721"},
                        {"type":"softSkill","code":"3"}],
        "gewensteJob":{"arbeidsRegimes":["V"],"arbeidsStelsels":["D"],"regios":["BE231A"],
                       "functies":[{"titel":"Verpleger","beroepsprofiel":{"code":"V10"}}]}}"#,
    r#"{"status":"OPEN",
        "ervaringen":[{"functieTitel":"Kok"},{"functieTitel":"Hulpkok, ook verpleegkundige"}],
        "opleidingen":[{"naam":"MAE5AHH"},{}],
        "competenties":[{"type":"talen","code":"N","niveau":"1"},{}],
        "gewensteJob":{"arbeidsRegimes":["V","D"],"regios":["BE100","BE231A"]}}"#,
    r#"{"status":"OPEN","ervaringen":[{"functieTitel":"Boekhouder"}],"opleidingen":[{"naam":"XB1"}],
        "attesteringen":[{"type":"attest","code":"B"}],
        "gewensteJob":{"regios":["BE100"]}}"#,
];

#[tokio::test]
async fn a_search_finds_by_every_code_and_by_words() {
    let world = World::new(0).await;
    let mirror = Mirror::of(&world).await;
    let id = |n: usize| Uuid::from_u128(n as u128);
    let batch: Vec<Outcome> = (1..=3)
        .map(|n| {
            let mut person: Value = serde_json::from_str(PEOPLE[n - 1]).unwrap();
            person["cvId"] = id(n).to_string().into();
            let document = Document::read(person.to_string().as_bytes(), &[])
                .unwrap()
                .1;
            Outcome {
                fate: Fate::Live(CvId(id(n)), document),
                ..fate(id(n), 1, None)
            }
        })
        .collect();
    store(world.url())
        .apply(&batch, Brake::on(1.0), chrono::DateTime::UNIX_EPOCH)
        .await
        .unwrap();
    world.until_searchable().await;
    for (query, expected) in [
        ("", &[1, 2, 3][..]),
        ("studies=MAE5AHH", &[1, 2]),
        ("studies=MAE5AHH&studies=XB1", &[1, 2, 3]),
        ("studies=MAE5AHH&gewensteRegios=BE100", &[2]),
        (
            "gewensteRegios=BE231A&gewensteRegios=BE100&studies=XB1",
            &[3],
        ),
        ("rijbewijzen=B", &[1]),
        ("attesten=B", &[3]),
        ("attesten=A01", &[1]),
        ("talen=N", &[1, 2]),
        ("talen=N:1", &[1, 2]),
        ("talen=N:2", &[1]),
        ("talen=N:3", &[1]),
        ("talen=N:4", &[]),
        ("technischeCompetenties=11721", &[1]),
        ("softSkills=3", &[1]),
        ("arbeidsRegimes=D", &[2]),
        ("arbeidsStelsels=D", &[1]),
        ("beroepsprofielen=V10", &[1]),
        (
            "beroepsprofielen=V10&talen=N:3&rijbewijzen=B&attesten=A01&softSkills=3&studies=MAE5AHH",
            &[1],
        ),
        ("beroepsprofielen=V10&softSkills=4", &[]),
        ("zoekterm=koks", &[2]),
        ("zoekterm=boekhouders+or+kok", &[2, 3]),
        ("zoekterm=verpleegkundigen", &[1, 2]),
        ("zoekterm=verpleegkundigen+-kok", &[1]),
        ("zoekterm=%22hulpkok+ook+verpleegkundige%22", &[2]),
        ("zoekterm=verpleegkundige&talen=N:2", &[1]),
        // A query without a required word finds nothing.
        ("zoekterm=-kok", &[]),
        ("zoekterm=kok+or+-boekhouder", &[]),
        // Words that say nothing find nothing.
        ("zoekterm=de+het", &[]),
        ("studies=%27%29%3B+drop+table+cvsync.cv%3B+--", &[]),
        ("zoekterm=%27%29%3B+drop+table+cvsync.cv%3B+--", &[]),
        ("zoekterm=%3A%2A+%26+%21+%7C+%28+%22+%3C-%3E", &[]),
        ("studies=%ff%fe", &[]),
        // Whoever a person is cannot be searched for by its codes.
        ("studies=9000", &[]),
    ] {
        let mut found = mirror.found(query).await;
        found.sort_unstable();
        assert_eq!(
            found,
            expected.iter().map(|n| id(*n)).collect::<Vec<_>>(),
            "{query}"
        );
    }
    assert_eq!(world.rows("cv").await, 3);
}

#[tokio::test]
async fn a_search_ranks_pages_and_gives_the_fields_that_are_asked_for() {
    let world = World::new(0).await;
    let mirror = Mirror::of(&world).await;
    let id = |n: u128| Uuid::from_u128(n);
    let person = |n: u128, words: &str| {
        let body = format!(
            r#"{{"cvId":"{}","status":"OPEN","iklId":12345678901234567890123,"natuurlijkPersoon":{{"email":"c@n.example"}},
                 "ervaringen":[{{"functieTitel":"{words}"}}]}}"#,
            id(n)
        );
        Outcome {
            fate: Fate::Live(CvId(id(n)), Document::read(body.as_bytes(), &[]).unwrap().1),
            ..fate(id(n), 1, None)
        }
    };
    let batch: Vec<Outcome> = [
        person(1, "lasser"),
        person(2, "lasser, lasser en nog eens lasser"),
    ]
    .into_iter()
    .chain((3..=50).map(|n| person(n, "metselaar")))
    .collect();
    store(world.url())
        .apply(&batch, Brake::on(1.0), chrono::DateTime::UNIX_EPOCH)
        .await
        .unwrap();
    world.until_searchable().await;
    assert_eq!(mirror.found("zoekterm=lasser").await, [id(2), id(1)]);

    let page = mirror
        .get("/kandidaten?velden=iklId&velden=ervaringen&velden=competenties&vanaf=1&aantal=1")
        .await;
    let expected = format!(
        r#"{{"aantal":50,"resultaten":[{{"cvId":"{}","ervaringen":[{{"functieTitel":"lasser, lasser en nog eens lasser"}}],"iklId":12345678901234567890123}}]}}"#,
        id(2)
    );
    assert_eq!(
        page.json(),
        serde_json::from_str::<Value>(&expected).unwrap()
    );
    let with_commas = mirror
        .get("/kandidaten?velden=iklId,ervaringen,competenties&vanaf=1&aantal=1")
        .await;
    assert_eq!(with_commas.body, page.body);
    let plain = mirror.get("/kandidaten").await.json();
    assert_shape(&mirror, "SearchPage", &plain).await;
    assert_shape(&mirror, "SearchPage", &page.json()).await;
    assert_eq!(plain["resultaten"].as_array().unwrap().len(), 20);
    assert_eq!(plain["resultaten"][0], json!({"cvId": id(1)}));
    let mut all = Vec::new();
    for vanaf in (0..60).step_by(15) {
        all.extend(ids(&mirror
            .get(&format!("/kandidaten?vanaf={vanaf}&aantal=15"))
            .await
            .json()));
    }
    assert_eq!(all, (1..=50).map(id).collect::<Vec<_>>());
    let far = mirror
        .get("/kandidaten?vanaf=9223372036854775807")
        .await
        .json();
    assert_eq!(far, json!({"aantal": 50, "resultaten": []}));
}

#[tokio::test]
async fn a_search_that_asks_for_too_much_or_for_what_is_not_known_is_refused() {
    let world = World::new(0).await;
    let mirror = Mirror::of(&world).await;
    let velden = "velden=iklId&".repeat(5);
    assert_eq!(
        mirror.get(&format!("/kandidaten?{velden}")).await.status,
        200
    );
    let long = "x".repeat(201);
    let many = "studies=a&".repeat(201);
    for (query, said) in [
        (
            format!("{velden}velden=status"),
            "velden must have at most 5 fields",
        ),
        (
            "velden=iklId,ervaringn".to_owned(),
            "unknown field \"ervaringn\" in velden; known fields: cvId, status",
        ),
        ("velden=IklId".to_owned(), "unknown field \"IklId\""),
        ("velden=natuurlijkPersoon.gsm".to_owned(), "unknown field"),
        ("velden=iklId,,status".to_owned(), "unknown field \"\""),
        (
            "velden=a,b,c,d,e,f".to_owned(),
            "velden must have at most 5 fields",
        ),
        ("studies=".to_owned(), "studies must not be empty"),
        ("zoekterm=%20".to_owned(), "zoekterm must not be empty"),
        (
            "vanaf=1&vanaf=2".to_owned(),
            "vanaf must be given only once",
        ),
        (
            "aantal=201".to_owned(),
            "aantal must be an integer from 1 to 200",
        ),
        ("aantal=x".to_owned(), "aantal"),
        ("vanaf=-1".to_owned(), "vanaf"),
        ("talen=N:x".to_owned(), "a level from 1 to 9"),
        ("talen=N:10".to_owned(), "a level from 1 to 9"),
        (format!("zoekterm={long}"), "zoekterm must have at most 200"),
        ("studies=%00".to_owned(), "no NUL"),
        ("zoekterm=%00".to_owned(), "no NUL"),
        ("velden=%00".to_owned(), "no NUL"),
        (many, "at most 200 values"),
    ] {
        let answer = mirror.get(&format!("/kandidaten?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.refusal().contains(said), "{}", answer.body);
    }
    let unknown = mirror.get("/kandidaten?postcode=9000&studies=a").await;
    let said = unknown.refusal();
    assert_eq!(unknown.status, 400);
    for known in [
        "studies",
        "gewensteRegios",
        "rijbewijzen",
        "attesten",
        "talen",
        "technischeCompetenties",
        "softSkills",
        "arbeidsRegimes",
        "arbeidsStelsels",
        "beroepsprofielen",
        "zoekterm",
        "velden",
        "vanaf",
        "aantal",
    ] {
        assert!(said.contains(known), "{said}");
    }
    assert!(said.contains("postcode"), "{said}");
}
