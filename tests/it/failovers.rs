//! Failovers at random moments of random work. After each of them, everyone who follows equals the source again.
//!
//! A life begins with an empty database, and its first failover hits the first sync. A failing life prints its seed and its events.
//! `CVSYNC_TEST_SEED=7` plays it again, as far as a test decides the order of events. `CVSYNC_TEST_FAILOVERS=200` plays more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cvsync::simulator::{Fault, Operation};
use fastrand::Rng;
use futures_util::future::join_all;
use sqlx::AssertSqlSafe;
use tokio::time::sleep;
use uuid::Uuid;

use crate::followers::{Downstream, LAST_NUMBER, world};
use crate::histories::{Log, number};
use crate::pair::Pair;
use crate::running::until;
use crate::world::World;

/// Number of failovers, unless `CVSYNC_TEST_FAILOVERS` gives another.
const FAILOVERS: u64 = 3;

/// In one life: each leaves the folder of a server behind.
const PER_LIFE: u64 = 4;

/// As many lives at once as a small machine bears.
const AT_ONCE: usize = 2;

/// A leader that lists again later than this, from the first response of the new primary, is counted.
const HEALING: Duration = Duration::from_secs(15);

/// A leader has taken the lease from the server that answers.
const LED: &str = "select count(*) from cvsync.lease where home = cvsync.home() and expires_at > clock_timestamp()";

#[tokio::test]
async fn everyone_equals_the_source_after_failovers_at_random_moments() {
    if let Some(seed) = number("CVSYNC_TEST_SEED") {
        return Box::pin(play(seed, PER_LIFE)).await.print();
    }
    let failovers = number("CVSYNC_TEST_FAILOVERS").unwrap_or(FAILOVERS);
    let first = fastrand::u64(..1 << 32);
    println!("{failovers} failovers from CVSYNC_TEST_SEED={first}");
    let lives = (0..failovers.div_ceil(PER_LIFE)).map(|life| {
        let left = failovers - life * PER_LIFE;
        (first + life, left.min(PER_LIFE))
    });
    let mut figures = Figures::default();
    for lives in lives.collect::<Vec<_>>().chunks(AT_ONCE) {
        let played = lives
            .iter()
            .map(|(seed, failovers)| play(*seed, *failovers));
        for life in join_all(played).await {
            figures.add(life);
        }
        figures.print();
    }
}

async fn play(seed: u64, failovers: u64) -> Figures {
    let mut life = Life::begin(seed).await;
    life.first_sync().await;
    life.fail_over().await;
    for _ in 1..failovers {
        life.pair.follow().await;
        life.work().await;
        life.fail_over().await;
    }
    life.world.database.close().await;
    std::mem::take(&mut life.figures)
}

#[derive(Default)]
struct Figures {
    /// Failovers that took changes from a reader that had seen them.
    losses: usize,
    /// Times from the first response of the new primary to the first listing.
    healing: Vec<Duration>,
    /// Times from the first response of the new primary until everyone has read as far as the watermark.
    in_step: Vec<Duration>,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.losses += other.losses;
        self.healing.extend(other.healing);
        self.in_step.extend(other.in_step);
    }

    fn print(&self) {
        let spread = |times: &[Duration]| {
            let mut times = times.to_vec();
            times.sort_unstable();
            let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64();
            format!("median {:.1} s, maximum {:.1} s", at(50), at(100))
        };
        let late = self.healing.iter().filter(|time| **time > HEALING).count();
        println!(
            "{} failovers, {} with lost changes; healing begins: {}, {late} after {HEALING:?}; in step: {}",
            self.healing.len(),
            self.losses,
            spread(&self.healing),
            spread(&self.in_step),
        );
    }
}

#[derive(Clone, Copy, Debug)]
enum Changes {
    None,
    Updates,
    Deletes,
    OfAnyKind,
}

struct Life {
    random: Rng,
    pair: Pair,
    world: World,
    downstream: Downstream,
    /// The source's documents when the standby stopped receiving.
    received: BTreeMap<Uuid, String>,
    figures: Figures,
    log: Log,
}

impl Life {
    async fn begin(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let pair = Pair::start().await;
        let mut world = world(&pair.url(), random.u32(60..300)).await;
        world.set("CVSYNC_MAX_DELETE_SHARE", "1".to_owned());
        pair.until_caught_up().await;
        let pause = Duration::from_millis(random.u64(1..40));
        world.source.rule(Operation::Detail, Fault::Slow(pause));
        Self {
            downstream: Downstream::of_every_kind(&world).await,
            random,
            pair,
            world,
            received: BTreeMap::new(),
            figures: Figures::default(),
            log: Log(vec![format!("seed {seed}")]),
        }
    }

    fn note(&mut self, event: impl Into<String>) {
        self.log.0.push(event.into());
    }

    /// The first sync goes on until a random CV.
    async fn first_sync(&mut self) {
        let all = self.world.live() as u64;
        let received = self.random.u64(0..all);
        let sent = self.random.u64(received..=all);
        self.note(format!(
            "a first sync of {all}: {received} received, {sent} fetched"
        ));
        self.until_fetched(received).await;
        self.stop_receiving();
        self.until_fetched(sent).await;
    }

    async fn until_fetched(&self, cvs: u64) {
        let fetched = async || self.world.detail_calls() >= cvs;
        until("so many CVs are fetched", fetched).await;
    }

    /// The source changes, first while the standby receives, then while it does not.
    async fn work(&mut self) {
        let kinds = [
            Changes::None,
            Changes::Updates,
            Changes::Deletes,
            Changes::OfAnyKind,
        ];
        let changes = self.random.choice(kinds).unwrap();
        let received = Duration::from_millis(self.random.u64(0..3_000));
        let lost = Duration::from_millis(self.random.u64(0..5_000));
        self.note(format!(
            "{changes:?} for {received:?}, and for {lost:?} without the standby"
        ));
        self.change(changes, received).await;
        self.stop_receiving();
        self.change(changes, lost).await;
    }

    fn stop_receiving(&mut self) {
        self.pair.stop_receiving();
        self.received = self.world.source.world(|world| {
            let ids = world.live_ids();
            ids.map(|id| (id, world.document(id).unwrap())).collect()
        });
    }

    /// The source changes every few milliseconds for this time.
    async fn change(&mut self, changes: Changes, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.change_once(changes);
            sleep(Duration::from_millis(self.random.u64(5..200))).await;
        }
    }

    fn change_once(&mut self, changes: Changes) {
        let random = &mut self.random;
        self.world.source.world(|world| {
            let ids: Vec<Uuid> = world.live_ids().collect();
            let id = *random.choice(&ids).unwrap();
            match (changes, random.u8(0..6)) {
                (Changes::None, _) => {}
                _ if ids.len() < 40 => drop(world.add()),
                (Changes::Updates, _) | (Changes::OfAnyKind, 0 | 1) => assert!(world.update(id)),
                (Changes::Deletes, _) | (Changes::OfAnyKind, 2) => assert!(world.remove(id)),
                // Listed again without a change.
                (Changes::OfAnyKind, 3) => {
                    let (text, now) = (world.document(id).unwrap(), world.now());
                    world.put(id, text, now);
                }
                // Gone, and there again.
                (Changes::OfAnyKind, 4) => assert!(world.remove(id) && world.update(id)),
                (Changes::OfAnyKind, _) => drop(world.add()),
            }
        });
    }

    /// About half of the CVs that changed without the standby return to the states that it has: such a change must reach everyone
    /// all the same.
    fn revert(&mut self) {
        let (random, received) = (&mut self.random, &self.received);
        self.world.source.world(|world| {
            let now = world.now();
            for (id, text) in received {
                if world.document(*id).as_ref() != Some(text) && random.bool() {
                    world.put(*id, text.clone(), now);
                }
            }
            let ids: Vec<Uuid> = world.live_ids().collect();
            let new = ids.iter().filter(|id| !received.contains_key(*id));
            for id in new.filter(|_| random.bool()) {
                assert!(world.remove(*id));
            }
        });
    }

    /// The primary dies, and after a random outage the standby takes over.
    async fn fail_over(&mut self) {
        self.pair.kill_primary().await;
        let (kept, read) = (
            self.pair.on_standby(LAST_NUMBER).await,
            self.downstream.feed.position(),
        );
        // Some outages are longer than the lease.
        let longest = self.random.choice([500, 500, 500, 3_000, 13_000]).unwrap();
        let outage = Duration::from_millis(self.random.u64(0..longest));
        let lost = read > kept;
        self.note(format!("failover after {outage:?}, changes lost: {lost}"));
        self.revert();
        sleep(outage).await;
        self.pair.promote().await;
        self.figures.losses += usize::from(lost);
        self.heal().await;
        let come_back =
            format!("select count(*) from cvsync.cv_change where seq > {kept} and seq <= {read}");
        let come_back: i64 = sqlx::query_scalar(AssertSqlSafe(come_back))
            .fetch_one(&self.world.database)
            .await
            .unwrap();
        assert_eq!(come_back, 0, "numbers between {kept} and {read} came back");
    }

    /// Everyone equals the source again, without anyone's help.
    async fn heal(&mut self) {
        let promoted = Instant::now();
        let led = async || self.world.count(LED).await == 1;
        until("a leader has noticed the new primary", led).await;
        let calls = self.world.bulk_calls();
        let lists = async || self.world.bulk_calls() > calls;
        until("the leader lists again", lists).await;
        self.figures.healing.push(promoted.elapsed());
        self.downstream.until_in_step(&self.world).await;
        self.figures.in_step.push(promoted.elapsed());
        self.downstream
            .assert_all_equal_the_source(&self.world)
            .await;
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the daemon's log:\n{}", self.downstream.daemon.log());
        }
    }
}
