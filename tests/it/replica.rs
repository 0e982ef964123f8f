//! The mirror reads from a standby: no answer claims to be newer than it is, and none comes from a server that does not follow the
//! primary.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use cvsync::model::Brake;
use cvsync::model::window::instant;
use cvsync::simulator::Options;
use cvsync::store::apply;
use reqwest::header::AUTHORIZATION;
use serde_json::Value;
use uuid::Uuid;

use crate::mirror::{Answer, KEY, add_client, fate, request};
use crate::pair::Pair;
use crate::process::{Process, output};
use crate::proxy::Trouble;
use crate::running::{PATIENCE, until};
use crate::world::{World, new_database, transaction};

const NEVER: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");
const TOKEN: (&str, &str) = ("CVSYNC_ADMIN_TOKEN", "canary-open-sesame-of-the-replica");
const READ_URL: &str = "CVSYNC_DATABASE_READ_URL";
const ONE: Uuid = Uuid::from_u128(1);

/// A world behind the pair's address, with no CVs at its source.
async fn world(pair: &Pair) -> World {
    let options = Options {
        candidates: 0,
        ..Options::default()
    };
    let world = World::on(&pair.url(), options).await;
    pair.until_caught_up().await;
    world
}

/// A daemon whose mirror reads from this address.
async fn daemon(world: &World, read_url: &str) -> Process {
    let daemon = Process::run(world, &[NEVER, AT_ONCE, TOKEN, (READ_URL, read_url)]);
    daemon.until_synced().await;
    daemon
}

async fn get(daemon: &Process, path: &str) -> Answer {
    let bearer = format!("Bearer {}", TOKEN.1);
    let path = format!("/mirror/v1{path}");
    request(daemon.address(), &path, &[(AUTHORIZATION, &bearer)]).await
}

async fn detail(daemon: &Process) -> Answer {
    get(daemon, &format!("/kandidaten/{ONE}")).await
}

async fn window(daemon: &Process, tot: DateTime<Utc>) -> Answer {
    let van = instant(tot - TimeDelta::hours(1));
    let path = format!("/kandidaten/bulk?van={van}&tot={}", instant(tot));
    get(daemon, &path).await
}

fn as_of(answer: &Answer) -> DateTime<Utc> {
    answer.headers["x-cvsync-as-of"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// Stores this content of the CV, as a writer beside the daemon does; returns the time of the change.
async fn write(world: &World, id: Uuid, version: i64) -> DateTime<Utc> {
    let batch = [fate(id, version, Some(&version.to_string()))];
    let mut tx = world.database.begin().await.unwrap();
    let applied = apply::apply(&mut tx, &batch, Brake::on(1.0), &[], DateTime::UNIX_EPOCH);
    applied.await.unwrap();
    tx.commit().await.unwrap();
    sqlx::query_scalar("select changed_at from cvsync.cv where cv_id = $1")
        .bind(id)
        .fetch_one(&world.database)
        .await
        .unwrap()
}

fn version(answer: &Answer) -> i64 {
    answer.json()["x"].as_str().unwrap().parse().unwrap()
}

async fn until_answers(daemon: &Process, status: u16) {
    until("the mirror answers so", async || {
        detail(daemon).await.status == status
    })
    .await;
}

/// Reads while others write, and holds each answer to the changes that it must have.
async fn assert_as_of_is_never_too_late(world: &World, daemon: &Process) {
    const VERSIONS: i64 = 30;
    let writing = async {
        let mut changes = Vec::new();
        for version in 1..=VERSIONS {
            changes.push((version, write(world, ONE, version).await));
            // Another writer's change, which must not be hidden by the time of this one.
            write(world, Uuid::from_u128(2), version).await;
        }
        changes
    };
    let reading = async {
        let mut answers = Vec::new();
        loop {
            let answer = detail(daemon).await;
            if answer.status == 404 {
                answers.push((0, as_of(&answer)));
                continue;
            }
            assert_eq!(answer.status, 200, "{}", answer.body);
            answers.push((version(&answer), as_of(&answer)));
            if version(&answer) == VERSIONS {
                return answers;
            }
        }
    };
    let (changes, answers) = tokio::join!(writing, reading);
    for (got, at) in answers {
        let due = changes.iter().filter(|(_, changed)| *changed < at);
        let due = due.map(|(version, _)| *version).max().unwrap_or(0);
        assert!(got >= due, "version {got} as of {at}, but {due} is older");
    }
}

#[tokio::test]
async fn as_of_is_never_too_late_on_the_primary() {
    let world = World::new(0).await;
    let daemon = Process::run(&world, &[NEVER, AT_ONCE, TOKEN]);
    daemon.until_synced().await;
    assert_as_of_is_never_too_late(&world, &daemon).await;
    let begun = Utc::now();
    for path in [
        "/kandidaten",
        "/kandidaten/00000000-0000-0000-0000-000000000009",
    ] {
        until("nothing is missing", async || {
            as_of(&get(&daemon, path).await) >= begun
        })
        .await;
    }
    let answer = window(&daemon, begun).await;
    assert!(as_of(&answer) >= begun, "{}", answer.body);
}

#[tokio::test]
async fn as_of_is_never_too_late_on_a_standby() {
    let pair = Pair::start().await;
    let world = world(&pair).await;
    let daemon = daemon(&world, &pair.standby_url()).await;
    assert_as_of_is_never_too_late(&world, &daemon).await;
    let begun = Utc::now();
    until("nothing is missing", async || {
        as_of(&detail(&daemon).await) >= begun
    })
    .await;
    let answer = window(&daemon, Utc::now()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["aantal"], 2);
    let searched = get(&daemon, "/kandidaten?aantal=1").await;
    assert_eq!(searched.status, 200, "{}", searched.body);
    assert!(searched.headers.contains_key("x-cvsync-as-of"));
}

#[tokio::test]
async fn window_that_the_standby_has_not_reached_is_refused_until_it_has() {
    let pair = Pair::start().await;
    let world = world(&pair).await;
    write(&world, ONE, 1).await;
    let daemon = daemon(&world, &pair.standby_url()).await;
    until_answers(&daemon, 200).await;
    pair.hold_replay(true).await;
    let changed = write(&world, ONE, 2).await;
    let tot = changed + TimeDelta::milliseconds(2);
    let refused = window(&daemon, tot).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    let old = detail(&daemon).await;
    assert_eq!(version(&old), 1);
    assert!(as_of(&old) <= changed);
    let early = window(&daemon, as_of(&old)).await;
    assert_eq!(early.status, 200, "{}", early.body);
    pair.hold_replay(false).await;
    let begun = Instant::now();
    let answer = loop {
        let answer = window(&daemon, tot).await;
        if answer.status == 200 {
            break answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", answer.body);
    };
    assert_eq!(answer.json()["aantal"], 1);
    assert_eq!(version(&detail(&daemon).await), 2);
    let far = window(&daemon, Utc::now() + TimeDelta::minutes(1)).await;
    assert_eq!(far.status, 400, "{}", far.body);
}

#[tokio::test]
async fn search_is_as_of_the_last_change_that_is_indexed() {
    let pair = Pair::start().await;
    let world = world(&pair).await;
    let daemon = daemon(&world, &pair.standby_url()).await;
    write(&world, Uuid::from_u128(2), 1).await;
    world.until_searchable().await;
    // The indexer waits for its row, so the next change stays unindexed.
    let mut held = transaction(world.url()).await.unwrap();
    sqlx::raw_sql("select from cvsync.feed_consumer where name = 'search' for update")
        .execute(&mut *held)
        .await
        .unwrap();
    let changed = write(&world, ONE, 1).await;
    until("documents are as of a later time", async || {
        as_of(&detail(&daemon).await) > changed
    })
    .await;
    let searched = get(&daemon, "/kandidaten?aantal=1").await;
    assert!(as_of(&searched) <= changed);
    held.rollback().await.unwrap();
    until("it is indexed", async || {
        as_of(&get(&daemon, "/kandidaten?aantal=1").await) > changed
    })
    .await;
}

#[tokio::test]
async fn standby_answers_while_the_primary_is_away() {
    let pair = Pair::start().await;
    let world = world(&pair).await;
    write(&world, ONE, 1).await;
    let key = add_client(&world, "crm").await;
    let daemon = daemon(&world, &pair.standby_url()).await;
    let path = format!("/mirror/v1/kandidaten/{ONE}");
    let with_key = async || request(daemon.address(), &path, &[(KEY, &key)]).await;
    until("the key works", async || with_key().await.status == 200).await;
    let before = as_of(&detail(&daemon).await);
    pair.front().set(Trouble::Down);
    daemon.until("/readyz", |status, _| status == 503).await;
    let away = Utc::now();
    for answer in [detail(&daemon).await, with_key().await] {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(as_of(&answer) < away && version(&answer) == 1);
    }
    assert_eq!(window(&daemon, before).await.status, 200);
    assert_eq!(window(&daemon, away).await.status, 503);
    pair.front().set(Trouble::None);
    until("it goes on", async || as_of(&detail(&daemon).await) > away).await;
}

#[tokio::test]
async fn standby_that_is_away_is_reported_and_makes_no_instance_unready() {
    let pair = Pair::start().await;
    let world = world(&pair).await;
    write(&world, ONE, 1).await;
    let nobody = format!("postgres://u:p@{}/cvsync", crate::process::free_address());
    let daemon = daemon(&world, &nobody).await;
    let refused = detail(&daemon).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    daemon
        .until("/metrics", |_, body| {
            body.contains("cvsync_mirror_replica_up 0")
        })
        .await;
    let (status, _) = daemon.get("/readyz").await.unwrap();
    assert_eq!(status, 200);
    let health: Value = serde_json::from_str(&daemon.get("/api/status").await.unwrap().1).unwrap();
    let text = health["health"].to_string();
    assert!(
        text.contains("mirror_replica") && text.contains(READ_URL),
        "{text}"
    );
    assert!(!text.contains("CVSYNC_DATABASE_URL"), "{text}");
}

/// Checks the setting by `cvsync check`; returns its exit code and the line about the replica.
async fn check(world: &World, read_url: &str) -> (Option<i32>, String) {
    let mut env = world.environment();
    env.push((READ_URL, read_url.to_owned()));
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    let (code, stdout, stderr) = output(&["check"], env).await;
    let line = stdout.lines().find(|line| line.contains("read replica"));
    (
        code,
        line.unwrap_or_else(|| panic!("{stdout}{stderr}"))
            .to_owned(),
    )
}

#[tokio::test]
async fn server_that_does_not_belong_to_the_primary_is_refused() {
    let pair = Pair::start().await;
    let world = world(&pair).await;
    write(&world, ONE, 1).await;
    // It has the same tables and rows, and is a copy of nothing.
    let other = World::on(&new_database().await, Options::default()).await;
    write(&other, ONE, 1).await;
    let daemon = daemon(&world, other.url()).await;
    let refused = detail(&daemon).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    let (code, line) = check(&world, other.url()).await;
    assert_eq!(code, Some(1));
    assert!(line.contains("system identifiers are"), "{line}");
    let (code, line) = check(&world, &pair.standby_url()).await;
    assert!(
        code == Some(0) && line.contains("a standby of the primary"),
        "{line}"
    );
    let (code, line) = check(&world, &pair.url()).await;
    assert!(
        code == Some(0) && line.contains("the primary itself"),
        "{line}"
    );
}

/// The former primary still runs, with a change that the failover lost.
#[tokio::test]
async fn server_that_kept_lost_commits_is_refused_after_a_failover() {
    let mut pair = Pair::start().await;
    let world = world(&pair).await;
    write(&world, ONE, 1).await;
    let (former, promoted) = (pair.primary_url(), pair.standby_url());
    let stays = daemon(&world, &former).await;
    // It stands by.
    let moves = Process::run(&world, &[NEVER, AT_ONCE, TOKEN, (READ_URL, &promoted)]);
    moves.until("/readyz", |status, _| status == 200).await;
    until_answers(&stays, 200).await;
    until_answers(&moves, 200).await;
    pair.until_caught_up().await;
    pair.stop_receiving();
    write(&world, ONE, 2).await;
    // Nobody keeps a connection to the former primary, except as the server to read from.
    pair.front().set(Trouble::Down);
    pair.promote().await;
    // Which takes until it hears from the new primary.
    until_answers(&stays, 503).await;
    let at = Utc::now();
    until("the new primary answers", async || {
        let answer = detail(&moves).await;
        answer.status == 200 && as_of(&answer) > at && version(&answer) == 1
    })
    .await;
    assert_eq!(detail(&stays).await.status, 503);
    let (code, line) = check(&world, &former).await;
    assert!(code == Some(1) && line.contains("was promoted"), "{line}");
}

#[tokio::test]
async fn read_url_is_masked_and_held_to_the_same_rules() {
    let world = World::new(0).await;
    let env = |url: &str| {
        let mut env = world.environment();
        env.push((READ_URL, url.to_owned()));
        env
    };
    let good = env("postgres://me:canary@127.0.0.1:5433/cv");
    let good = good.iter().map(|(name, value)| (*name, value.as_str()));
    let (code, stdout, _) = output(&["config", "show"], good).await;
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("postgres://me:********@127.0.0.1:5433/cv"),
        "{stdout}"
    );
    assert!(!stdout.contains("canary"), "{stdout}");
    for wrong in ["mysql://db/cv", "postgres://me:canary@db/cv?sslmode=canary"] {
        let wrong = env(wrong);
        let wrong = wrong.iter().map(|(name, value)| (*name, value.as_str()));
        let (code, _, stderr) = output(&["check"], wrong).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(
            stderr.contains(READ_URL) && !stderr.contains("canary"),
            "{stderr}"
        );
    }
}
