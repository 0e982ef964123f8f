//! `cvsync search`: VDAB's own example, paging, fields, what VDAB refuses; and one quota for a person and a daemon.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use cvsync::simulator::{Answer, CallRecord, Fault, Operation, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use crate::process::{Process, cvsync, free_address, output};
use crate::proxy::Trouble;
use crate::running::until;
use crate::world::World;

const ZOEKRESULTAAT: &str = include_str!("seed/zoekresultaat.json");
const CV_IN_PART: &str = include_str!("seed/cv-in-part.json");
const SHOWN: &str = "cb60cf85-1380-4a5a-adae-0b7bc6160661";

fn answer(status: u16, content_type: &str, body: impl Into<String>) -> Fault {
    Fault::Answer(Answer::new(status, body.into()).with("content-type", content_type))
}

fn page(body: impl Into<String>) -> Fault {
    answer(200, "application/json", body)
}

/// Exit code, stdout and stderr of a search. Without the database, unless it is asked for.
async fn search(world: &World, database: bool, args: &[&str]) -> (Option<i32>, String, String) {
    let env = world.environment();
    let env = env
        .iter()
        .filter(|(name, _)| database || *name != "CVSYNC_DATABASE_URL");
    let args: Vec<_> = ["search"].iter().chain(args).copied().collect();
    output(&args, env.map(|(n, v)| (*n, v.as_str()))).await
}

/// Names and values.
type Query = Vec<(String, String)>;

/// The query of each search at the source.
fn asked(world: &World) -> Arc<Mutex<Vec<Query>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    world.source.on_request(move |call, _| {
        if call.operation == Operation::Search {
            noted.lock().unwrap().push(call.query.clone());
        }
    });
    asked
}

fn ids(stdout: &str) -> Vec<String> {
    let found: Vec<Value> = serde_json::from_str(stdout).unwrap();
    found
        .iter()
        .map(|one| one["cvId"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_example_of_vdabs_page() {
    let world = World::new(0).await;
    let asked = asked(&world);
    world.source.script(
        Operation::Search,
        [page(ZOEKRESULTAAT), page(ZOEKRESULTAAT)],
    );
    let example = ["studies=MAE5AHH", "gewensteRegios=BE231A"];
    let (code, stdout, stderr) = search(&world, false, &example).await;
    assert_eq!(code, Some(0), "{stderr}");
    let seed: Value = serde_json::from_str(ZOEKRESULTAAT).unwrap();
    let lines: Vec<_> = stdout.lines().map(str::trim).collect();
    assert_eq!(lines[0], "cvId");
    assert_eq!(lines.len(), 8, "{stdout}");
    for (line, result) in lines[1..]
        .iter()
        .zip(seed["resultaten"].as_array().unwrap())
    {
        assert_eq!(*line, result["cvId"].as_str().unwrap());
    }
    let query = asked.lock().unwrap()[0].clone();
    let query: Vec<_> = query
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        query[..2],
        [("studies", "MAE5AHH"), ("gewensteRegios", "BE231A")]
    );

    // Of the seven the page shows one whole; the others are gone, as far as this source knows.
    let shown: Uuid = SHOWN.parse().unwrap();
    world.source.rule(shown, page(CV_IN_PART));
    let whole = [&example[..], &["--detail", "--json"]].concat();
    let (code, stdout, stderr) = search(&world, false, &whole).await;
    assert_eq!(code, Some(0), "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    let expected: Value = serde_json::from_str(CV_IN_PART).unwrap();
    assert_eq!(found, Value::Array(vec![expected]));
    assert!(
        stderr.contains("6 CVs not shown: removed at VDAB"),
        "{stderr}"
    );
    assert!(
        !stderr.contains(SHOWN) && !stderr.contains("+32477"),
        "{stderr}"
    );
}

#[tokio::test]
async fn filters_go_through_as_they_are_and_may_be_repeated() {
    let world = World::new(30).await;
    let asked = asked(&world);
    let odd = "Robert'); drop table cvsync.cv;--";
    let args = [
        "studies=A",
        "studies=B",
        "onbekend=",
        &format!("zoekterm={odd}"),
        "x y=a&b=c d+e%41#?/é\u{1f600}",
        "--limit",
        "5",
    ];
    let (code, _, stderr) = search(&world, false, &args).await;
    assert_eq!(code, Some(0), "{stderr}");
    let query = asked.lock().unwrap()[0].clone();
    let query: Vec<_> = query
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let expected = [
        ("studies", "A"),
        ("studies", "B"),
        ("onbekend", ""),
        ("zoekterm", odd),
        ("x y", "a&b=c d+e%41#?/é\u{1f600}"),
        ("vanaf", "0"),
        ("aantal", "5"),
    ];
    assert_eq!(query, expected);
}

#[tokio::test]
async fn pages_are_turned_until_the_limit_or_the_end() {
    let world = World::new(520).await;
    let asked = asked(&world);
    let live: BTreeSet<String> = world
        .source
        .world(|w| w.live_ids().map(|id| id.to_string()).collect());
    assert!(live.len() > 400);
    let (code, stdout, stderr) = search(&world, false, &["--ndjson", "--limit", "100000"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found: BTreeSet<_> = lines
        .iter()
        .map(|line| line["cvId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((lines.len(), found), (live.len(), live));
    let (_, stdout, _) = search(&world, false, &["--json", "--limit", "250"]).await;
    assert_eq!(ids(&stdout).len(), 250);
    let pages = |name: &str| -> Vec<String> {
        let asked = asked.lock().unwrap();
        let values = asked.iter().flatten().filter(|(n, _)| n == name);
        values.map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(pages("vanaf"), ["0", "200", "400", "0", "200"]);
    assert_eq!(
        pages("aantal"),
        ["200"; 5],
        "where VDAB counts pages, they must be of one size"
    );
}

#[tokio::test]
async fn a_total_under_another_name_or_none_and_pages_that_repeat_themselves() {
    let world = World::new(0).await;
    let numbered = |from: u32, to: u32| -> Value {
        (from..to)
            .map(|n| json!({"cvId": Uuid::from_u128(n.into()), "nieuw": [n]}))
            .collect()
    };
    let of_sister = json!({"totaalAantalResultaten": 30, "resultaten": numbered(0, 20)});
    let shifted = json!({"totaalAantalResultaten": 30, "resultaten": numbered(18, 28)});
    let pages = [page(of_sister.to_string()), page(shifted.to_string())];
    world.source.script(Operation::Search, pages);
    let (code, stdout, stderr) = search(&world, false, &["--json", "--limit", "50"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(ids(&stdout).len(), 28, "what came twice is shown once");
    // Without a total a short page is the last one.
    let first = json!({"resultaten": numbered(0, 200)}).to_string();
    let last = json!({"resultaten": numbered(200, 203)}).to_string();
    world
        .source
        .script(Operation::Search, [page(first), page(last)]);
    let (_, stdout, _) = search(&world, false, &["--json", "--limit", "999"]).await;
    assert_eq!(ids(&stdout).len(), 203);
    // A source that does not turn its pages has an end all the same.
    let same = json!({"aantal": 1_000_000, "resultaten": numbered(0, 20)}).to_string();
    world.source.rule(Operation::Search, page(same));
    let before = world.source.calls(Operation::Search);
    let (code, stdout, _) = search(&world, false, &["--json", "--limit", "999"]).await;
    assert_eq!((code, ids(&stdout).len()), (Some(0), 20));
    assert_eq!(world.source.calls(Operation::Search) - before, 2);
}

#[tokio::test]
async fn fields_are_selected_and_shown_as_columns() {
    let world = World::new(30).await;
    let asked = asked(&world);
    let args = ["--velden", "status,wijzigingsDatum", "--limit", "3"];
    let (code, stdout, stderr) = search(&world, false, &args).await;
    assert_eq!(code, Some(0), "{stderr}");
    let heads: Vec<_> = stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["cvId", "status", "wijzigingsDatum"]);
    assert!(
        stdout.lines().skip(1).all(|line| line.contains("OPEN")),
        "{stdout}"
    );
    assert_eq!(stdout.lines().count(), 4);
    let (_, stdout, _) = search(&world, false, &[&args[..], &["--json"]].concat()).await;
    let found: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found[0]["status"], "OPEN");
    // Of the whole CV any field can be a column, also one that lies deeper.
    let deep = [
        "--detail",
        "--velden",
        "status,natuurlijkPersoon.geslacht",
        "--limit",
        "3",
    ];
    let (code, stdout, stderr) = search(&world, false, &deep).await;
    assert_eq!(code, Some(0), "{stderr}");
    let row: Vec<_> = stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row.len(), 3, "{stdout}");
    let sent = asked.lock().unwrap().last().unwrap().clone();
    assert!(sent.iter().all(|(name, _)| name != "velden"), "{sent:?}");
}

#[tokio::test]
async fn invalid_search_is_wrong_use_and_costs_no_call() {
    let world = World::new(10).await;
    for (args, said) in [
        (&["studies"][..], "KEY=VALUE"),
        (&["=x"], "KEY=VALUE"),
        (&["vanaf=20"], "--limit"),
        (&["aantal=20"], "--limit"),
        (&["velden=status"], "--velden"),
        (&["--velden", "a,b,c,d,e,f"], "at most 5"),
        (&["--velden", "a,,b"], "empty name"),
        (&["--limit", "0"], "0"),
        (&["--limit", "-1"], "-1"),
        (&["--json", "--ndjson"], "cannot be used with"),
    ] {
        let (code, stdout, stderr) = search(&world, false, args).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    assert_eq!(world.source.calls(Operation::Search), 0);
}

#[tokio::test]
async fn message_of_vdab_is_not_shown_off_a_terminal() {
    let world = World::new(10).await;
    let words = r#"{"httpCode":"400","httpMessage":"Bad Request","moreInformation":"Onbekende waarde 'X1'\nvoor studies\u001b[2J"}"#;
    let refused = answer(400, "application/json", words);
    world.source.script(Operation::Search, [refused]);
    let (code, stdout, stderr) = search(&world, false, &["studies=X1", "--json"]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.contains("VDAB refuses the request (400: Bad Request; 37 characters not shown)"),
        "{stderr}"
    );
    // A gateway's error page is not a result; the request is retried.
    world.source.script(Operation::Search, [Fault::Html200]);
    let (code, stdout, _) = search(&world, false, &["--json", "--limit", "3"]).await;
    assert_eq!((code, ids(&stdout).len()), (Some(0), 3));
    world.source.rule(Operation::Search, Fault::Html200);
    let (code, stdout, stderr) = search(&world, false, &["--json"]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("it is not JSON"), "{stderr}");
    world.source.clear_faults();
    world
        .source
        .settings(|settings| settings.key = "another".to_owned());
    let (code, stdout, stderr) = search(&world, false, &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("VDAB refuses the key (401"), "{stderr}");
    assert!(stderr.contains("check CVSYNC_API_KEY"), "{stderr}");
}

#[tokio::test]
async fn a_cv_that_fails_by_itself_costs_no_other() {
    let world = World::new(20).await;
    let listed: Vec<Uuid> = world.source.world(|w| w.live_ids().take(5).collect());
    world.source.rule(listed[1], Fault::MissingDetail);
    world.source.rule(listed[2], Fault::Http500);
    let args = ["--detail", "--ndjson", "--limit", "5"];
    let (code, stdout, stderr) = search(&world, false, &args).await;
    assert_eq!(code, Some(1), "{stderr}");
    let documents: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = world.source.world(|w| w.live_documents());
    let expected: Vec<_> = [0, 3, 4].map(|n| expected[&listed[n]].clone()).into();
    assert_eq!(documents, expected, "whole, and in the order of the list");
    assert!(
        stderr.contains("1 CV not shown: removed at VDAB"),
        "{stderr}"
    );
    assert!(
        stderr.contains("1 CV could not be fetched: VDAB failed (500)"),
        "{stderr}"
    );
}

#[tokio::test]
async fn search_makes_no_calls_once_its_reader_is_gone() {
    let world = World::new(400).await;
    let env = world.environment();
    let env = env
        .iter()
        .filter(|(name, _)| *name != "CVSYNC_DATABASE_URL");
    let args = ["search", "--detail", "--ndjson", "--limit", "400"];
    let mut child = cvsync(&args, env.map(|(n, v)| (*n, v.as_str())))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().starts_with('{'));
    drop(lines);
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait()).await;
    assert!(ended.unwrap().unwrap().success());
    // The pipe's buffer takes some lines before the command notices that its reader is gone.
    assert!(world.detail_calls() < 150, "{}", world.detail_calls());
}

#[tokio::test]
async fn parts_that_are_not_wanted_are_not_shown_either() {
    let mut world = World::new(10).await;
    world.set("CVSYNC_DOCUMENT_EXCLUDE", "/natuurlijkPersoon".to_owned());
    let args = ["--detail", "--json", "--limit", "3"];
    let (code, stdout, stderr) = search(&world, false, &args).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(ids(&stdout).len(), 3);
    assert!(!stdout.contains("natuurlijkPersoon"));
}

#[tokio::test]
async fn a_database_that_is_away_or_has_no_daemon_is_no_hindrance() {
    let mut world = World::new(10).await;
    let args = ["--detail", "--json", "--limit", "3"];
    let (code, stdout, stderr) = search(&world, true, &args).await;
    assert_eq!((code, ids(&stdout).len()), (Some(0), 3), "{stderr}");
    assert!(!stderr.contains("the quota is not shared"), "{stderr}");
    let nowhere = format!("postgres://u:canary@{}/x", free_address());
    world.set("CVSYNC_DATABASE_URL", nowhere);
    let (code, stdout, stderr) = search(&world, true, &args).await;
    assert_eq!((code, ids(&stdout).len()), (Some(0), 3), "{stderr}");
    assert!(stderr.contains("the quota is not shared"), "{stderr}");
    assert!(!stderr.contains("canary"), "{stderr}");
}

#[tokio::test]
async fn a_moment_without_the_database_is_no_reason_to_share_no_quota() {
    let mut world = World::new(10).await;
    // A daemon leads, and takes its time to lend.
    sqlx::query(
        "insert into cvsync.lease values ('sync', 'somebody', 1, now() + interval '1 hour')",
    )
    .execute(&world.database)
    .await
    .unwrap();
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    let args = ["--json", "--limit", "3"];
    let lending = async {
        until("it asks", async || world.rows("quota_loan").await > 0).await;
        // The row is visible a moment before the command knows that it is written.
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.set(Trouble::Down);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let connections = proxy.accepted();
        proxy.set(Trouble::None);
        until("it is back", async || proxy.accepted() > connections).await;
        assert_eq!(world.source.calls(Operation::Search), 0, "it waits");
        sqlx::query("update cvsync.quota_loan set granted_at = now()")
            .execute(&world.database)
            .await
            .unwrap();
    };
    let ((code, stdout, stderr), ()) = tokio::join!(search(&world, true, &args), lending);
    assert_eq!((code, ids(&stdout).len()), (Some(0), 3), "{stderr}");
    assert!(!stderr.contains("lends no calls"), "{stderr}");
}

/// The most calls within any span of this length.
fn busiest(calls: &[CallRecord], span: Duration) -> usize {
    (0..calls.len())
        .map(|first| {
            let from = calls[first].at;
            calls[first..]
                .iter()
                .take_while(|call| call.at < from + span)
                .count()
        })
        .max()
        .unwrap_or(0)
}

#[tokio::test]
async fn a_person_and_a_daemon_share_one_quota_and_the_person_goes_first() {
    const FOUND: u128 = 60;
    // Ten calls a second; the daemon has work for minutes.
    let mut world = World::with(Options {
        candidates: 3_000,
        rate_per_minute: Some(600),
        ..Options::default()
    })
    .await;
    world.set("CVSYNC_API_RATE_PER_MINUTE", "600".to_owned());
    // The CVs that the person finds are older than all that the daemon fetches.
    let of_person: BTreeSet<Uuid> = (1..=FOUND).map(Uuid::from_u128).collect();
    world.source.world(|w| {
        let at = w.now() - TimeDelta::days(60);
        for id in &of_person {
            w.put(*id, format!(r#"{{"cvId":"{id}","status":"OPEN"}}"#), at);
        }
    });
    let results: Vec<_> = of_person.iter().map(|id| json!({"cvId": id})).collect();
    let results = json!({"aantal": FOUND as u64, "resultaten": results}).to_string();
    world.source.rule(Operation::Search, page(results));
    let daemon = Process::run(&world, &[]);
    until("the daemon is at full speed", async || {
        world.detail_calls() > 60
    })
    .await;
    let env = world.environment();
    let env: Vec<_> = env.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let verify = ["verify", "--sample", "20", "--json"];
    let by_person = ["--detail", "--json", "--limit", "100"];
    let ((code, stdout, stderr), verified) = tokio::join!(
        search(&world, true, &by_person),
        output(&verify, env.iter().copied())
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(ids(&stdout).len(), of_person.len());
    assert_eq!(verified.0, Some(0), "{}", verified.2);
    assert_eq!(world.rows("quota_loan").await, 0, "nothing is left behind");
    let log = world.source.call_log();
    assert!(log.iter().all(|call| call.status == Some(200)));
    let details: Vec<_> = log
        .into_iter()
        .filter(|call| call.operation == Operation::Detail)
        .collect();
    let is_of_person = |call: &CallRecord| call.id.is_some_and(|id| of_person.contains(&id));
    let first = details.iter().position(is_of_person).unwrap();
    let last = details.iter().rposition(is_of_person).unwrap();
    let others = last + 1 - first - of_person.len();
    assert!(others < 4 * of_person.len(), "{others} others came between");
    assert!(
        daemon
            .get("/api/status")
            .await
            .unwrap()
            .1
            .contains("leading"),
        "the daemon still has work"
    );
    // Eight seconds of the quota are 80 calls and a small burst; two quotas would make 140 of them.
    let most = busiest(&details, Duration::from_secs(8));
    assert!(most <= 105, "{most} calls in 8 s");
    let most = busiest(&details, Duration::from_secs(2));
    assert!(most >= 15, "{most} calls in 2 s: nobody was at full speed");
}
