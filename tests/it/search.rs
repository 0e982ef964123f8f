//! `cvsync search`: VDAB's own example, paging, fields, what VDAB refuses; and one quota for a person and a daemon.

use std::collections::BTreeSet;
use std::time::Duration;

use cvsync::simulator::{Answer, Fault, FaultKind, Operation, Options};
use serde_json::Value;
use uuid::Uuid;

use crate::process::{Process, cvsync, output};
use crate::world::World;

const ZOEKRESULTAAT: &str = include_str!("seed/zoekresultaat.json");
const CV_IN_PART: &str = include_str!("seed/cv-in-part.json");
const SHOWN: &str = "cb60cf85-1380-4a5a-adae-0b7bc6160661";

fn answer(status: u16, content_type: &str, body: impl Into<String>) -> Fault {
    Fault::Answer(Answer::new(status, body.into()).with("content-type", content_type))
}

fn json(body: &str) -> Fault {
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

/// What the source was asked in each search.
fn asked(world: &World) -> std::sync::Arc<std::sync::Mutex<Vec<Vec<(String, String)>>>> {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&asked);
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
        [json(ZOEKRESULTAAT), json(ZOEKRESULTAAT)],
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
    world.source.rule(shown, json(CV_IN_PART));
    let whole = [&example[..], &["--detail", "--json"]].concat();
    let (code, stdout, stderr) = search(&world, false, &whole).await;
    assert_eq!(code, Some(0), "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    let expected: Value = serde_json::from_str(CV_IN_PART).unwrap();
    assert_eq!(found, Value::Array(vec![expected]));
    assert!(stderr.contains("6 are gone meanwhile"), "{stderr}");
    assert!(
        !stderr.contains(SHOWN) && !stderr.contains("+32477"),
        "{stderr}"
    );
}
