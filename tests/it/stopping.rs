//! Commands that get a signal while they wait.

use std::process::{Output, Stdio};
use std::time::Duration;

use cvsync::simulator::{Answer, Fault, Operation};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::Child;

use crate::process::{cvsync, output};
use crate::running::until;
use crate::world::World;

/// No command that waits takes longer than this to stop. It is far more than they need, and less than the limit of a container engine.
const SOON: Duration = Duration::from_secs(9);

const LOCK_ALL: &str = "do $$
    declare name regclass;
    begin
        for name in select oid from pg_class where relnamespace = 'cvsync'::regnamespace and relkind = 'r' loop
            execute format('lock table %s in access exclusive mode', name);
        end loop;
    end $$";

fn start(world: &World, args: &[&str]) -> Child {
    let env = world.environment();
    let mut command = cvsync(args, env.iter().map(|(n, v)| (*n, v.as_str())));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args([signal, &pid]).status().unwrap().success());
}

async fn ended(child: Child, what: &str) -> Output {
    let ended = tokio::time::timeout(SOON, child.wait_with_output()).await;
    ended
        .unwrap_or_else(|_| panic!("{what} does not stop"))
        .unwrap()
}

#[tokio::test]
async fn a_command_that_waits_for_a_lock_stops_on_any_signal() {
    let world = World::new(3).await;
    world.sync().await;
    let id = world.source.world(|world| world.live_ids().next().unwrap());
    let id = id.to_string();
    let mut locking = world.database.begin().await.unwrap();
    sqlx::raw_sql(LOCK_ALL)
        .execute(&mut *locking)
        .await
        .unwrap();
    let commands: [&[&str]; 17] = [
        &["sync"],
        &["resync", &id],
        &["reconcile"],
        &["verify", "--sample", "1"],
        &["status"],
        &["status", "--watch"],
        &["parked", "list"],
        &["deletes", "list"],
        &["windows", "list"],
        &["clients", "list"],
        &["feed", "list"],
        &["explain", &id],
        &["reference", "sync"],
        &["export", "--format", "csv", "kandidaat"],
        &["pause"],
        &["resume"],
        &["migrate"],
    ];
    for (args, stop) in commands
        .into_iter()
        .zip(["-TERM", "-INT", "-HUP"].into_iter().cycle())
    {
        let child = start(&world, args);
        until(&format!("{args:?} waits"), async || {
            let waiting = "select count(*) from pg_stat_activity
                            where datname = current_database() and wait_event_type = 'Lock'";
            world.count(waiting).await > 0
        })
        .await;
        signal(&child, stop);
        let Output { status, stderr, .. } = ended(child, &format!("{args:?}")).await;
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{args:?} {stop}: {stderr}");
        assert!(stderr.contains("interrupted"), "{args:?}: {stderr}");
        // PostgreSQL takes a while to notice that the client has disconnected.
        until("the statement of the command has ended", async || {
            let end = "select count(*) from pg_stat_activity,
                              lateral pg_terminate_backend(pid)
                        where datname = current_database() and wait_event_type = 'Lock'";
            world.count(end).await == 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_command_whose_output_nobody_reads_stops_on_a_signal() {
    let world = World::new(1_000).await;
    world.sync().await;
    let mut export = start(&world, &["export", "--format", "ndjson", "competentie"]);
    let mut stdout = export.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).await.unwrap();
    signal(&export, "-TERM");
    assert_eq!(ended(export, "export").await.status.code(), Some(1));
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > 10_000, "it was in the middle of its output");
}

#[tokio::test]
async fn a_search_that_stops_early_leaves_whole_json() {
    let world = World::new(250).await;
    let slow = || [Fault::Pass, Fault::Slow(Duration::from_mins(1))];
    world.source.script(Operation::Search, slow());
    let before = world.source.calls(Operation::Search);
    let search = start(&world, &["search", "--json", "--limit", "250"]);
    until("the second page is asked for", async || {
        world.source.calls(Operation::Search) >= before + 2
    })
    .await;
    signal(&search, "-TERM");
    let done = ended(search, "search").await;
    assert_eq!(done.status.code(), Some(1));
    let found: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(found.len(), 200);
}

#[tokio::test]
async fn a_search_that_fails_midway_shows_what_it_has() {
    let world = World::new(250).await;
    let refused = || {
        let refused = Answer::new(400, r#"{"httpCode":"400"}"#.to_owned());
        let refused = refused.with("content-type", "application/json");
        [Fault::Pass, Fault::Answer(refused)]
    };
    let env = world.environment();
    let search = async |args: &[&str]| {
        world.source.script(Operation::Search, refused());
        let args = [&["search", "--limit", "250"], args].concat();
        let env = env.iter().map(|(n, v)| (*n, v.as_str()));
        let (code, stdout, stderr) = output(&args, env).await;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("400"), "{stderr}");
        stdout
    };
    let json: Vec<Value> = serde_json::from_str(&search(&["--json"]).await).unwrap();
    assert_eq!(json.len(), 200);
    assert_eq!(search(&["--ndjson"]).await.lines().count(), 200);
    assert_eq!(search(&[]).await.lines().count(), 201);
}
