//! The previous release and this version on one database: either leads, and nothing is lost.
//!
//! `xtask/upgrade` builds the previous release, and runs these tests.

use std::process::Stdio;
use std::time::Duration;

use cvsync::simulator::Options;
use tokio::process::Command;

use crate::downstream::{FeedReader, difference};
use crate::followers::{Changes, LAST_NUMBER, SYNC_ALONE, phase, until_in_phase};
use crate::process::{Process, free_address};
use crate::running::until;
use crate::world::{World, new_database};

/// Calls per minute: the first sync takes long enough that both versions work on it.
const QUOTA: u32 = 6_000;

/// A daemon stops within this time.
const STOPPED: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    Previous,
    This,
}

use Version::{Previous, This};

impl Version {
    fn command(self, world: &World, args: &[&str]) -> Command {
        let binary = match self {
            This => env!("CARGO_BIN_EXE_cvsync").to_owned(),
            Previous => std::env::var("CVSYNC_TEST_PREVIOUS")
                .expect("CVSYNC_TEST_PREVIOUS is missing: run xtask/upgrade, which sets it"),
        };
        let mut command = Command::new(binary);
        command
            .args(args)
            .env_clear()
            .envs(world.environment())
            .kill_on_drop(true);
        command
    }

    fn run(self, world: &World) -> Process {
        let address = free_address();
        let mut command = self.command(world, &["run"]);
        command
            .envs(SYNC_ALONE.iter().copied())
            .env("CVSYNC_HTTP_ADDR", &address);
        Process::spawn(command, address)
    }

    /// Exit code, stdout and stderr of a command.
    async fn output(self, world: &World, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.command(world, args);
        let done = command.stdin(Stdio::null()).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    }

    async fn must(self, world: &World, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.output(world, args).await;
        assert_eq!(code, Some(0), "{self:?} {args:?}: {stdout}{stderr}");
        stdout
    }
}

/// A source that changes all the time, a database with the schema of the previous release, and a reader of the feed.
struct Upgrade {
    world: World,
    changes: Changes,
    feed: FeedReader,
}

impl Upgrade {
    async fn begin(candidates: u32) -> Self {
        let url = new_database().await;
        let options = Options {
            candidates,
            rate_per_minute: Some(QUOTA),
            ..Options::default()
        };
        let mut world = World::beside(&url, options).await;
        world.set_all(vec![
            ("CVSYNC_API_RATE_PER_MINUTE", QUOTA.to_string()),
            ("CVSYNC_MAX_DELETE_SHARE", "1".to_owned()),
        ]);
        Previous.must(&world, &["migrate"]).await;
        Self {
            changes: Changes::start(world.source.clone()),
            feed: FeedReader::start(world.url()),
            world,
        }
    }

    /// Holds the table and the reader of the feed to the source, once the watermark has passed all changes.
    async fn assert_nothing_is_lost(&self) {
        self.changes.pause(true);
        let now = self.world.source_clock.now();
        until("the watermark has passed all changes", async || {
            self.world.watermark().await >= Some(now)
        })
        .await;
        let last = self.world.count(LAST_NUMBER).await;
        until("the feed is read", async || self.feed.position() >= last).await;
        let expected = self.world.source.world(|world| world.live_documents());
        let table = self.world.documents().await;
        assert_eq!(difference(&table, &expected), None, "the table");
        let read = self.feed.documents();
        assert_eq!(difference(&read, &expected), None, "the reader of the feed");
        assert_eq!(self.world.rows("parked_cv").await, 0);
        self.changes.pause(false);
    }
}

#[tokio::test]
#[ignore = "needs the previous release: run xtask/upgrade"]
async fn either_version_leads_beside_the_other_and_nothing_is_lost() {
    let upgrade = Upgrade::begin(1_000).await;
    let world = &upgrade.world;
    let mut leader = Previous.run(world);
    until_in_phase(&leader, "leading").await;
    let stored = async || world.rows("cv").await > 100;
    until("the first sync has begun", stored).await;
    // The first handover falls into the first sync. The new version migrates while the previous one leads.
    for (next, signal) in [
        (This, "-TERM"),
        (Previous, "-KILL"),
        (This, "-KILL"),
        (Previous, "-TERM"),
        (This, "-KILL"),
    ] {
        let standby = next.run(world);
        until_in_phase(&standby, "standby").await;
        assert_eq!(phase(&leader).await.as_deref(), Some("leading"));
        let before = world.count(LAST_NUMBER).await;
        until("the leader still works", async || {
            world.count(LAST_NUMBER).await > before
        })
        .await;
        leader.signal(signal);
        until_in_phase(&standby, "leading").await;
        println!(
            "{next:?} leads after {signal}, the watermark is at {:?}",
            world.watermark().await
        );
        leader = standby;
        if world.watermark().await.is_some() {
            upgrade.assert_nothing_is_lost().await;
        }
    }
    upgrade.assert_nothing_is_lost().await;
    let gaps = This.must(world, &["windows", "gaps", "--json"]).await;
    assert_eq!(gaps.trim(), "[]");
}

#[tokio::test]
#[ignore = "needs the previous release: run xtask/upgrade"]
async fn the_previous_release_refuses_to_run_once_a_cv_is_suppressed() {
    let upgrade = Upgrade::begin(50).await;
    let world = &upgrade.world;
    let mut old = Previous.run(world);
    until_in_phase(&old, "leading").await;
    let new = This.run(world);
    until_in_phase(&new, "standby").await;
    upgrade.assert_nothing_is_lost().await;
    let id = world.any_live_id();
    let add = [
        "suppressed",
        "add",
        "--reason",
        "objection",
        &id.to_string(),
    ];
    This.must(world, &add).await;
    // The previous version still believes that it leads, and the CV changes again and again.
    until("this version leads", async || {
        assert!(world.source.world(|world| world.update(id)));
        assert!(!world.documents().await.contains_key(&id));
        phase(&new).await.as_deref() == Some("leading")
    })
    .await;
    let refused = "run the newer version of cvsync";
    until("the previous version says why", async || {
        old.log().contains(refused)
    })
    .await;
    upgrade.changes.pause(true);
    let now = world.source_clock.now();
    until("the changes are listed", async || {
        world.watermark().await >= Some(now)
    })
    .await;
    assert!(!world.documents().await.contains_key(&id));
    old.signal("-TERM");
    assert_eq!(old.ended_within(STOPPED).await.code(), Some(0));
    for command in ["migrate", "sync"] {
        let (code, _, stderr) = Previous.output(world, &[command]).await;
        assert_eq!(code, Some(1), "{command}");
        assert!(stderr.contains(refused), "{command}: {stderr}");
    }
}
