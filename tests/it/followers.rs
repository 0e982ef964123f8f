//! The daemon and everyone who follows it, and the changes that a failover or a restore takes from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use cvsync::simulator::{Handle, Options};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::downstream::{FeedReader, MirrorClient, WebhookReceiver, difference};
use crate::process::Process;
use crate::running::{PATIENCE, until};
use crate::world::World;

/// A sync each second and nothing else: no comparison, no second listing, no overlap, nothing asked for again.
pub(crate) const SYNC_ALONE: &[(&str, &str)] = &[
    ("CVSYNC_SCHEDULE", "* * * * * *"),
    ("CVSYNC_SETTLE_LAG", "1s"),
    ("CVSYNC_WINDOW_OVERLAP", "0s"),
    ("CVSYNC_RECONCILE_SCHEDULE", "off"),
    ("CVSYNC_RELIST", "off"),
    ("CVSYNC_RECHECK_AFTER", "off"),
    TOKEN,
];

const TOKEN: (&str, &str) = ("CVSYNC_ADMIN_TOKEN", "canary-open-sesame-of-the-failover");
const SECRET: &str = "whsec_Y2FuYXJ5LWtleS1vZi10aGUtd2ViaG9vay10ZXN0";

pub(crate) const LAST_NUMBER: &str = "select greatest((select max(seq) from cvsync.cv_change), (select removed_seq from cvsync.feed))";

/// An empty schema at this address, and a source with so many CVs.
pub(crate) async fn world(url: &str, candidates: u32) -> World {
    let options = Options {
        candidates,
        ..Options::default()
    };
    World::on(url, options).await
}

/// The daemon, and everyone who follows it.
pub(crate) struct Downstream {
    pub(crate) daemon: Process,
    pub(crate) feed: FeedReader,
    webhook: Option<WebhookReceiver>,
    mirror: Option<MirrorClient>,
}

impl Downstream {
    /// The daemon and a reader of the feed.
    pub(crate) fn of_feed(world: &World) -> Self {
        Self {
            daemon: Process::run(world, SYNC_ALONE),
            feed: FeedReader::start(world.url()),
            webhook: None,
            mirror: None,
        }
    }

    /// The same with a receiver of the webhook.
    pub(crate) async fn with_webhook(world: &World) -> Self {
        let receiver = WebhookReceiver::start(world.url()).await;
        let webhook = [
            ("CVSYNC_WEBHOOK_URL", receiver.url()),
            ("CVSYNC_WEBHOOK_SECRET", SECRET),
        ];
        Self {
            daemon: Process::run(world, &[SYNC_ALONE, &webhook].concat()),
            feed: FeedReader::start(world.url()),
            webhook: Some(receiver),
            mirror: None,
        }
    }

    /// The same with a client of the mirror as well.
    pub(crate) async fn of_every_kind(world: &World) -> Self {
        let mut downstream = Self::with_webhook(world).await;
        let mirror = MirrorClient::start(downstream.daemon.address(), TOKEN.1);
        downstream.mirror = Some(mirror);
        downstream
    }

    /// Waits until the watermark has passed everything that the source did so far, and everyone has read as far as they
    /// know of.
    pub(crate) async fn until_in_step(&self, world: &World) {
        let (now, begun) = (world.source_clock.now(), Instant::now());
        while world.watermark().await < Some(now) {
            let log = || self.daemon.log();
            assert!(begun.elapsed() < PATIENCE, "not in step:\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let last = world.count(LAST_NUMBER).await;
        until("the feed is read", async || self.feed.position() >= last).await;
        if self.webhook.is_some() {
            let place = "select seq from cvsync.feed_consumer where name = 'webhook'";
            let delivered = async || world.count(place).await >= last;
            until("the webhook is delivered", delivered).await;
        }
        if let Some(mirror) = &self.mirror {
            let now = Utc::now();
            until("the mirror is read", async || mirror.until() >= now).await;
        }
    }

    /// Holds the table and each copy to the source, document by document.
    pub(crate) async fn assert_all_equal_the_source(&self, world: &World) {
        let expected = world.source.world(|world| world.live_documents());
        let table = world.documents().await;
        let webhook = self.webhook.as_ref().map(WebhookReceiver::documents);
        let mirror = self.mirror.as_ref().map(MirrorClient::documents);
        let found = [
            ("the table", Some(table)),
            ("the reader of the feed", Some(self.feed.documents())),
            ("the receiver of the webhook", webhook),
            ("the client of the mirror", mirror),
        ];
        let wrong: Vec<String> = found
            .iter()
            .filter_map(|(who, found)| {
                let difference = difference(found.as_ref()?, &expected)?;
                Some(format!("{who}: {difference}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(world.rows("parked_cv").await, 0);
    }

    /// How often the daemon has noticed that commits were lost.
    pub(crate) async fn losses(&self) -> u64 {
        let metrics = self.daemon.get("/metrics").await.unwrap().1;
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix("cvsync_history_lost_total "));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Holds the daemon to have said each loss once.
    pub(crate) async fn assert_noticed(&self, losses: u64) {
        assert_eq!(self.losses().await, losses, "{}", self.daemon.log());
        let log = self.daemon.log();
        let said = log
            .lines()
            .filter(|line| line.contains("the database lost commits"));
        assert_eq!(said.count() as u64, losses, "{log}");
    }
}

/// Changes of the source, 50 each second.
pub(crate) struct Changes {
    paused: Arc<AtomicBool>,
    changing: JoinHandle<()>,
}

impl Changes {
    pub(crate) fn start(source: Handle) -> Self {
        let paused = Arc::new(AtomicBool::new(false));
        let changing = tokio::spawn({
            let paused = Arc::clone(&paused);
            async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(20));
                loop {
                    ticks.tick().await;
                    if !paused.load(Ordering::Relaxed) {
                        source.world(change);
                    }
                }
            }
        });
        Self { paused, changing }
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.changing.abort();
    }
}

fn change(world: &mut cvsync::simulator::World) {
    let ids: Vec<Uuid> = world.live_ids().collect();
    let id = ids[fastrand::usize(..ids.len())];
    match fastrand::u8(0..20) {
        0 => assert!(world.remove(id)),
        1 => drop(world.add()),
        _ => assert!(world.update(id)),
    }
}

/// Changes of the source that are stored and read downstream, and then lost.
pub(crate) struct Lost {
    reverted: (Uuid, String),
    reborn: (Uuid, String),
    passing: Uuid,
}

impl Lost {
    /// The source changes: this many CVs, and some that are new or removed.
    pub(crate) fn happen(world: &World, updates: usize) -> Self {
        world.source.world(|world| {
            let ids: Vec<Uuid> = world.live_ids().take(updates + 5).collect();
            let text = |id| (id, world.document(id).unwrap());
            let (reverted, reborn) = (text(ids[0]), text(ids[1]));
            assert!(world.update(reverted.0) && world.remove(reborn.0));
            assert!(ids[2..5].iter().all(|id| world.remove(*id)));
            assert!(ids[5..].iter().all(|id| world.update(*id)));
            world.add();
            Self {
                reverted,
                reborn,
                passing: world.add(),
            }
        })
    }

    /// The source returns to states that the database still has: the changes in between must reach the copies all the same.
    pub(crate) fn revert(self, world: &World) {
        world.source.world(|world| {
            let now = world.now();
            for (id, text) in [self.reverted, self.reborn] {
                world.put(id, text, now);
            }
            assert!(world.remove(self.passing));
        });
    }
}

/// Holds the numbers since a loss to be higher than any number before: `kept` is the last that is not lost.
pub(crate) async fn assert_numbers_grow(world: &World, kept: i64, highest: i64) {
    let next = format!("select coalesce(min(seq), 0) from cvsync.cv_change where seq > {kept}");
    let next: i64 = sqlx::query_scalar(AssertSqlSafe(next))
        .fetch_one(&world.database)
        .await
        .unwrap();
    assert!(next > highest, "{next} came after {highest}");
}

pub(crate) async fn phase(daemon: &Process) -> Option<String> {
    let (_, body) = daemon.get("/api/status").await?;
    let status: Value = serde_json::from_str(&body).ok()?;
    Some(status["phase"].as_str()?.to_owned())
}

pub(crate) async fn until_in_phase(daemon: &Process, wanted: &str) {
    let begun = Instant::now();
    while phase(daemon).await.as_deref() != Some(wanted) {
        let log = || daemon.log();
        assert!(begun.elapsed() < PATIENCE, "not {wanted}:\n{}", log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
