//! The output of `--json` has the keys and types that docs/commands.md shows.

use std::process::Stdio;

use chrono::TimeDelta;
use cvsync::simulator::Fault;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use crate::process::{cvsync, free_address, output};
use crate::world::World;

const COMMANDS: &str = include_str!("../../docs/commands.md");

/// The example of a command: a block under a paragraph that names it, or a row of the table.
fn example(command: &str) -> Value {
    let (_, section) = COMMANDS.split_once("<!-- tests/it/json.rs").unwrap();
    let name = format!("`{command}`");
    let mut before = "";
    for (at, part) in section.split("```").enumerate() {
        if at % 2 == 1 && before.contains(&name) {
            return serde_json::from_str(part.strip_prefix("json").unwrap()).unwrap();
        }
        before = part;
    }
    let row = section
        .lines()
        .find(|line| line.starts_with(&format!("| {name} |")));
    let row = row.unwrap_or_else(|| panic!("docs/commands.md has no JSON of {command}"));
    serde_json::from_str(row.split('`').nth(3).unwrap()).unwrap()
}

/// Null stands for a value of any type.
fn assert_shape(shown: &Value, printed: &Value, place: &str) {
    match (shown, printed) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(shown), Value::Object(printed)) => {
            let keys = |object: &serde_json::Map<String, Value>| -> Vec<String> {
                object.keys().cloned().collect()
            };
            let (mut of_docs, mut of_command) = (keys(shown), keys(printed));
            of_docs.sort_unstable();
            of_command.sort_unstable();
            assert_eq!(of_docs, of_command, "{place}: {printed:?}");
            for (key, value) in shown {
                assert_shape(value, &printed[key], &format!("{place}.{key}"));
            }
        }
        (Value::Array(shown), Value::Array(printed)) => {
            for value in printed {
                assert_shape(&shown[0], value, &format!("{place}[]"));
            }
        }
        _ => assert_eq!(
            std::mem::discriminant(shown),
            std::mem::discriminant(printed),
            "{place}: {printed}"
        ),
    }
}

async fn printed(world: &World, command: &str, args: &[&str]) -> Value {
    let env = world.environment();
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    let args: Vec<&str> = command
        .split(' ')
        .chain(args.iter().copied())
        .chain(["--json"])
        .collect();
    let (_, stdout, stderr) = output(&args, env).await;
    let printed = serde_json::from_str(&stdout);
    let printed = printed.unwrap_or_else(|error| panic!("{args:?}: {error}: {stdout}{stderr}"));
    assert_shape(&example(command), &printed, command);
    printed
}

/// A world with a parked CV.
async fn with_a_parked_cv() -> (World, String) {
    let world = World::new(60).await;
    let parked = world.any_live_id();
    world.source.rule(parked, Fault::Http500);
    world.settle();
    printed(&world, "sync", &[]).await;
    (world, parked.to_string())
}

/// Holds the deletes of two CVs. VDAB has these, so any command that fetches one of them releases its delete.
async fn hold_two_deletes(world: &World) -> [String; 2] {
    let ids: Vec<Uuid> = world.documents().await.into_keys().take(2).collect();
    for id in &ids {
        sqlx::query("insert into cvsync.held_delete (cv_id, as_of) values ($1, now())")
            .bind(id)
            .execute(&world.database)
            .await
            .unwrap();
    }
    [ids[0].to_string(), ids[1].to_string()]
}

#[tokio::test]
async fn json_of_runs_and_repairs_has_the_documented_shape() {
    let (world, parked) = with_a_parked_cv().await;
    let range = [
        "--van",
        "2020-01-01T00:00:00Z",
        "--tot",
        "2020-01-02T00:00:00Z",
    ];
    printed(&world, "backfill", &range).await;
    printed(&world, "reconcile", &[]).await;
    printed(&world, "resync", &[&Uuid::from_u128(9).to_string()]).await;
    printed(&world, "verify", &["--sample", "5"]).await;
    let windows = printed(&world, "windows list", &[]).await;
    let id = windows[0]["id"].to_string();
    printed(&world, "windows relist", &[&id]).await;
    let held = hold_two_deletes(&world).await;
    assert_eq!(
        printed(&world, "parked list", &[]).await[0]["cv_id"],
        parked
    );
    printed(&world, "explain", &[&parked]).await;
    printed(&world, "explain", &[&held[0]]).await;
    printed(&world, "subject", &[&parked]).await;
    printed(&world, "subject", &[&held[0]]).await;
    let retried = printed(&world, "parked retry", &[&parked]).await;
    assert_eq!(retried["retried"], 1);
    assert_eq!(
        printed(&world, "parked drop", &[&parked]).await["dropped"],
        1
    );
    let deletes = printed(&world, "deletes list", &[]).await;
    assert_eq!(deletes.as_array().unwrap().len(), 2);
    let discarded = printed(&world, "deletes discard", &[&held[0]]).await;
    assert_eq!(discarded["discarded"], 1);
    let approved = printed(&world, "deletes approve", &["--all"]).await;
    assert_eq!(approved["approved"], 1);
    let other = Uuid::from_u128(8).to_string();
    let suppress = [held[1].as_str(), &other, "--reason", "objection"];
    let added = printed(&world, "suppressed add", &suppress).await;
    assert_eq!(added["suppressed"], 2);
    printed(&world, "suppressed list", &[]).await;
    printed(&world, "explain", &[&other]).await;
    let removed = printed(&world, "suppressed remove", &[&other]).await;
    assert_eq!(removed["removed"], 1);
    let back = world.watermark().await.unwrap() - TimeDelta::days(3);
    printed(&world, "rewind", &["--to", &back.to_rfc3339()]).await;
    sqlx::query("delete from cvsync.sync_window where id = $1")
        .bind(id.parse::<i64>().unwrap())
        .execute(&world.database)
        .await
        .unwrap();
    printed(&world, "windows gaps", &[]).await;
}

#[tokio::test]
async fn json_of_state_and_settings_has_the_documented_shape() {
    let (world, _) = with_a_parked_cv().await;
    hold_two_deletes(&world).await;
    printed(&world, "status", &[]).await;
    let paused = printed(&world, "pause", &["--reason", "backup"]).await;
    assert_eq!(paused["reason"], "backup");
    printed(&world, "status", &[]).await;
    assert_eq!(printed(&world, "resume", &[]).await["resumed"], true);
    assert_eq!(printed(&world, "resume", &[]).await["resumed"], false);
    printed(&world, "clients add", &["crm"]).await;
    printed(&world, "clients list", &[]).await;
    assert_eq!(
        printed(&world, "clients revoke", &["crm"]).await["revoked"],
        "crm"
    );
    sqlx::query("insert into cvsync.feed_consumer (name, seq) values ('index', 2)")
        .execute(&world.database)
        .await
        .unwrap();
    printed(&world, "feed list", &[]).await;
    assert_eq!(
        printed(&world, "feed forget", &["index"]).await["forgotten"],
        "index"
    );
    printed(&world, "migrate", &[]).await;
    printed(&world, "check", &[]).await;
    printed(&world, "config show", &[]).await;
    printed(&world, "privacy report", &[]).await;
}

#[tokio::test]
async fn json_of_calls_to_vdab_has_the_documented_shape() {
    let world = World::new(60).await;
    printed(&world, "conformance", &[]).await;
    printed(&world, "reference sync", &[]).await;
    printed(&world, "reference lookup", &["rijbewijzen"]).await;
    printed(&world, "search", &["--limit", "2"]).await;
    let address = free_address();
    let mut child = cvsync(&["simulate", "--listen", &address, "--json"], [])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).await.unwrap();
    let simulating = serde_json::from_str(&line).unwrap();
    assert_shape(&example("simulate"), &simulating, "simulate");
    child.kill().await.unwrap();
}
