//! A source, an operator and a login that do harm: none of them reaches a log, a screen or a table that is not theirs.
//!
//! Needs: postgres

use std::fmt::Write;

use cvsync::simulator::{Answer, Fault, Operation};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::process::{Process, output};
use crate::running::until;
use crate::views::{holding, rows};
use crate::world::World;

const NEVER: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");

/// An error of VDAB that names a person.
fn about_marie(status: u16) -> Fault {
    let body = r#"{"moreInformation":"Kandidaat Marie Janssens is\nniet zichtbaar\u202e\u200b"}"#;
    Fault::Answer(Answer::new(status, body).with("content-type", "application/json"))
}

async fn run(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let env = world.environment();
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    let (code, stdout, stderr) = output(args, env).await;
    (code, stdout + &stderr)
}

fn has_hidden(text: &str) -> bool {
    let is_hidden = |c: char| cvsync::model::is_hidden(c) && c != '\n';
    text.contains(is_hidden)
}

#[tokio::test]
async fn words_of_vdab_reach_no_log_no_status_and_no_page() {
    for (status, shown) in [
        (403, "VDAB refuses the key (403: 42 characters not shown)"),
        (
            400,
            "VDAB refuses the request (400: 42 characters not shown)",
        ),
    ] {
        let world = World::new(5).await;
        world.source.rule(Operation::Bulk, about_marie(status));
        let daemon = Process::run(&world, &[("CVSYNC_LOG", "trace")]);
        until("VDAB's words are in the log", async || {
            daemon.log().contains(shown)
        })
        .await;
        let mut all = daemon.log();
        for path in ["/", "/readyz", "/api/status", "/metrics"] {
            all += &daemon.get(path).await.unwrap().1;
        }
        for args in [&["check"][..], &["sync"], &["status"], &["conformance"]] {
            all += &run(&world, args).await.1;
        }
        assert!(all.contains(shown), "{all}");
        assert!(
            !all.contains("Marie") && !all.contains("zichtbaar"),
            "{all}"
        );
        assert!(!has_hidden(&all), "{all:?}");
    }
}

#[tokio::test]
async fn only_the_form_of_a_malformed_id_is_stored_and_it_is_removed() {
    let mut world = World::new(20).await;
    world.source.world(|w| {
        let at = w.now() - chrono::TimeDelta::days(1);
        w.list_extra(at, "jan.peeters@voorbeeld.be", Some("OPEN"));
    });
    world.sync_again().await;
    let (code, text) = run(&world, &["parked", "list", "--json"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("xxx.xxxxxxx@xxxxxxxxx.xx"), "{text}");
    assert!(!text.contains("peeters"), "{text}");
    for statement in [
        "update cvsync.parked_cv set next_attempt_at = now() - interval '31 days'",
        "delete from cvsync.job_success where job = 'housekeeping'",
    ] {
        sqlx::raw_sql(statement)
            .execute(&world.database)
            .await
            .unwrap();
    }
    let id = world.any_live_id();
    world.source.world(|w| w.update(id));
    world.settle();
    world.sync_again().await;
    assert_eq!(world.rows("parked_cv").await, 0);
}

#[tokio::test]
async fn a_reason_is_one_line_for_the_next_operator() {
    let world = World::new(5).await;
    let hostile = format!(
        "moving\u{1b}[2J\nhouse\u{202e}\u{200b} {}",
        "x".repeat(5_000)
    );
    let (code, text) = run(&world, &["pause", "--reason", &hostile]).await;
    assert_eq!(code, Some(0), "{text}");
    let stored: String = sqlx::query_scalar("select reason from cvsync.pause")
        .fetch_one(&world.database)
        .await
        .unwrap();
    assert_eq!(stored.chars().count(), 200);
    assert!(stored.starts_with("moving[2J house x"), "{stored}");
    // As an older version stored it, or a person with SQL.
    sqlx::query("update cvsync.pause set reason = $1, begun_by = $1")
        .bind(&hostile)
        .execute(&world.database)
        .await
        .unwrap();
    let daemon = Process::run(&world, &[NEVER]);
    let page = daemon
        .until("/", |_, body| body.contains("moving[2J house"))
        .await;
    let mut all = page + &daemon.get("/api/status").await.unwrap().1;
    for args in [&["status"][..], &["pause"], &["status", "--json"]] {
        all += &run(&world, args).await.1;
    }
    assert!(
        !has_hidden(&all) && !all.contains(&"x".repeat(201)),
        "{all:?}"
    );
}

#[tokio::test]
async fn a_time_that_no_clock_shows_stops_no_page() {
    let world = World::new(5).await;
    let id = Uuid::nil().to_string();
    let suppress = ["suppressed", "add", &id, "--reason", "other", "--until"];
    for (args, far) in [
        (&["pause", "--until"][..], "+262142-12-31T23:59:59Z"),
        (&["pause", "--until"], "2099-01-01T00:00:00Z"),
        (&["pause", "--until"], "1969-01-01T00:00:00Z"),
        (&suppress, "+262142-12-31T23:59:59Z"),
        (&suppress, "1969-01-01T00:00:00Z"),
    ] {
        let args = [args, &[far]].concat();
        let (code, text) = run(&world, &args).await;
        assert_eq!(code, Some(2), "{args:?}: {text}");
    }
    for by_hand in [
        "insert into cvsync.pause (reason, until) values ('x', '262142-12-31')",
        "insert into cvsync.pause (reason, since) values ('x', '294276-12-31')",
        "insert into cvsync.feed_consumer (name, seq, updated_at) values ('x', 0, '294276-12-31')",
        "update cvsync.watermark set position = '294276-12-31'",
    ] {
        let done = sqlx::raw_sql(AssertSqlSafe(by_hand))
            .execute(&world.database)
            .await;
        let is_refused = |done: &sqlx::postgres::PgQueryResult| done.rows_affected() == 0;
        assert!(done.as_ref().map_or(true, is_refused), "{by_hand}");
    }
    let daemon = Process::run(&world, &[NEVER]);
    daemon.until("/", |status, _| status == 200).await;
}

#[tokio::test]
async fn only_values_in_the_form_of_a_code_are_codes() {
    let odd = json!({"naam": "Marie", "straat": "Dorp 7"});
    let long = "x".repeat(41);
    let texts = ["Marie Janssens", "marie@voorbeeld.be", "", "-1", &long, "é"];
    let mut odds: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    odds.extend([odd, json!(["Marie"]), json!(true), Value::Null]);
    let documents = odds.iter().zip(1_u128..).map(|(odd, number)| {
        json!({
            "cvId": Uuid::from_u128(number),
            "ervaringen": [{"type": odd, "van": odd, "tot": odd}],
            "opleidingen": [{"type": odd, "naam": odd, "behaaldOp": odd, "behaaldIn": odd, "diploma": odd}],
            "attesteringen": [{"type": "attest", "code": odd, "eigenWagen": odd}],
            "competenties": [
                {"type": "talen", "code": odd, "niveau": odd},
                {"type": "softSkill", "code": odd, "score": odd},
            ],
            "gewensteJob": {
                "regios": [odd], "arbeidsRegimes": [odd], "arbeidsStelsels": [odd],
                "functies": [{"beroepsprofiel": {"code": odd}, "ervaring": odd}],
            },
        })
    });
    let (_, database) = holding(documents).await;
    let codes: Vec<String> = sqlx::query_scalar("select unnest(codes) from cvsync.kandidaat")
        .fetch_all(&database)
        .await
        .unwrap();
    assert_eq!(codes, [] as [String; 0]);
    let mut shown = String::new();
    for view in [
        "ervaring",
        "opleiding",
        "attestering",
        "competentie",
        "gewenste_job",
        "gewenste_functie",
        "gewenste_regio",
    ] {
        for row in rows(&database, view).await {
            let row = row.as_object().unwrap();
            let columns = row.iter().filter(|(name, _)| !name.ends_with("_tekst"));
            let columns: Vec<_> = columns.filter(|(name, _)| *name != "cv_id").collect();
            let _ = writeln!(shown, "{view} {columns:?}");
            // An object or a list is nowhere.
            assert!(!format!("{row:?}").contains("straat"), "{view}: {row:?}");
            assert!(
                !format!("{row:?}").contains("[\\\"Marie"),
                "{view}: {row:?}"
            );
        }
    }
    assert!(!shown.to_lowercase().contains("marie"), "{shown}");
}

#[tokio::test]
async fn nobody_executes_a_function_of_the_schema_without_a_grant() {
    let (_, database) = holding([]).await;
    let public: Vec<String> = sqlx::query_scalar(
        "select oid::regprocedure::text
           from pg_proc
          where pronamespace = 'cvsync'::regnamespace
            and prorettype <> 'trigger'::regtype
            and has_function_privilege('public', oid, 'execute')",
    )
    .fetch_all(&database)
    .await
    .unwrap();
    assert!(
        public.is_empty(),
        "a migration must revoke execute from public: {public:?}"
    );
    let is_granted: bool = sqlx::query_scalar(
        "select has_function_privilege('cvsync_reader', 'cvsync.grant_readers()', 'execute')",
    )
    .fetch_one(&database)
    .await
    .unwrap();
    assert!(!is_granted);
}

#[tokio::test]
async fn a_process_leaves_no_core_dump() {
    let world = World::new(5).await;
    let daemon = Process::run(&world, &[NEVER]);
    daemon.until("/livez", |status, _| status == 200).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{limits}");
}
