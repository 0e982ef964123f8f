//! Random histories: changes, faults, crashes, clocks and a second instance in any order; then calm, and equality.
//!
//! A failing history prints its seed and what happened. `CVSYNC_TEST_SEED=7` plays it again, as far as the order of events
//! is ours to choose; `CVSYNC_TEST_HISTORIES=5000` plays more.

use std::time::Duration;

use chrono::TimeDelta;
use cvsync::simulator::{FaultShare, Options};
use fastrand::Rng;
use uuid::Uuid;

use crate::proxy::{Proxy, Trouble};
use crate::running::Running;
use crate::world::World;

/// Number of histories, unless `CVSYNC_TEST_HISTORIES` gives another.
const HISTORIES: u64 = 32;

/// As many at once as a small machine bears.
const AT_ONCE: usize = 6;

/// The value of a variable, if it is a number.
pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test]
async fn after_any_history_the_database_equals_the_source() {
    if let Some(seed) = number("CVSYNC_TEST_SEED") {
        return Box::pin(play(seed)).await;
    }
    let histories = number("CVSYNC_TEST_HISTORIES").unwrap_or(HISTORIES);
    let first = fastrand::u64(..1 << 32);
    println!("{histories} histories from CVSYNC_TEST_SEED={first}");
    let seeds: Vec<u64> = (first..first + histories).collect();
    for seeds in seeds.chunks(AT_ONCE) {
        let played: Vec<_> = seeds
            .iter()
            .map(|seed| (*seed, tokio::spawn(play(*seed))))
            .collect();
        for (seed, history) in played {
            assert!(
                history.await.is_ok(),
                "play it again with CVSYNC_TEST_SEED={seed}"
            );
        }
    }
}

async fn play(seed: u64) {
    let mut history = History::new(seed).await;
    for _ in 0..history.random.usize(4..14) {
        history.step().await;
    }
    history.end().await;
}

struct History {
    random: Rng,
    world: World,
    source: Proxy,
    database: Proxy,
    /// Syncs under way, of this instance and of another.
    running: Vec<Running>,
    /// How long after its time a change may show.
    delay: TimeDelta,
    log: Log,
}

/// The history, printed if the test fails.
pub(crate) struct Log(pub(crate) Vec<String>);

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("it went like this: {}", self.0.join("; "));
        }
    }
}

impl History {
    async fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut world = World::with(Options {
            candidates: random.u32(0..80),
            seed: random.u64(..),
            history: TimeDelta::hours(random.i64(1..700)),
            ..Options::default()
        })
        .await;
        let source = world.through_proxy("CVSYNC_API_BASE_URL").await;
        let database = world.through_proxy("CVSYNC_DATABASE_URL").await;
        world.config.api.timeout = Duration::from_secs(1);
        world.config.sync.retry_max_elapsed = Duration::from_secs(20);
        world.config.sync.page_size = *random.choice(&[3, 10, 2_000]).unwrap();
        world.config.sync.channel_capacity = *random.choice(&[1, 16, 1_024]).unwrap();
        Self {
            random,
            world,
            source,
            database,
            running: Vec::new(),
            delay: TimeDelta::zero(),
            log: Log(vec![format!("seed {seed}")]),
        }
    }

    async fn step(&mut self) {
        match self.random.u8(0..15) {
            0..=3 => self.change(),
            4 => self.faults(),
            5 => self.trouble(),
            6..=8 => self.start(),
            9 | 10 => self.crash().await,
            11 => self.finish().await,
            12 => {
                let time = TimeDelta::seconds(self.random.i64(1..4_000));
                self.note(format!("{time} pass"));
                self.world.pass(time);
            }
            13 => {
                let skew = TimeDelta::minutes(self.random.i64(-90..90));
                self.note(format!("the local clock is {skew} off"));
                self.world.clock.set_skew(skew);
            }
            _ => {
                let delay = TimeDelta::seconds(self.random.i64(0..50));
                self.delay = delay;
                self.note(format!("changes show after {delay}"));
                self.world.source.world(|w| w.delay_listing(delay));
            }
        }
        // A change that does not show yet is no fault of the watermark.
        if self.delay.is_zero() {
            self.world.assert_watermark_is_honest().await;
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.log.0.push(what.into());
    }

    fn change(&mut self) {
        let changes = self.random.usize(1..30);
        self.note(format!("{changes} changes"));
        let random = &mut self.random;
        self.world.source.world(|world| {
            for _ in 0..changes {
                let ids: Vec<Uuid> = world.live_ids().collect();
                match (random.u8(0..10), random.choice(&ids).copied()) {
                    (0..=4, Some(id)) => assert!(world.update(id)),
                    (5 | 6, Some(id)) => assert!(world.remove(id)),
                    (7, Some(id)) => {
                        // Touched: listed again without a change.
                        let (document, now) = (world.document(id).unwrap(), world.now());
                        world.put(id, document, now);
                    }
                    (8, Some(id)) => assert!(world.remove(id) && world.update(id)),
                    _ => {
                        world.add();
                    }
                }
            }
        });
    }

    fn faults(&mut self) {
        let kinds = [
            "http-500",
            "http-503",
            "rate-limit",
            "reset",
            "truncate",
            "html-200",
            "unknown-status",
        ];
        let kind = self.random.choice(&kinds).unwrap();
        let share = f64::from(self.random.u8(1..30)) / 100.0;
        let share: FaultShare = format!("{kind}={share}").parse().unwrap();
        self.note(format!("{share:?}"));
        self.world.source.set_faults([share]);
    }

    fn trouble(&mut self) {
        let size = self.random.usize(1..30_000);
        let trouble = match self.random.u8(0..6) {
            0 => Trouble::None,
            1 => Trouble::Down,
            2 => Trouble::Latency(Duration::from_millis(self.random.u64(1..60))),
            3 => Trouble::Reset(size),
            4 => Trouble::Cut(size),
            _ => Trouble::Unanswered(b"COMMIT"),
        };
        let at_source = self.random.bool();
        let place = if at_source { "source" } else { "database" };
        self.note(format!("{trouble:?} before the {place}"));
        let proxy = if at_source {
            &self.source
        } else {
            &self.database
        };
        proxy.set(trouble);
    }

    fn start(&mut self) {
        if self.running.len() < 2 {
            self.note("a sync starts");
            self.running.push(Running::start(&self.world));
        }
    }

    /// A sync is dropped, somewhere in its course.
    async fn crash(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let run = self.running.remove(0);
        let calls = self.world.detail_calls() + self.random.u64(0..60);
        for _ in 0..self.random.u32(0..200) {
            if run.is_over() || self.world.detail_calls() >= calls {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.note("a crash");
        run.crash().await;
    }

    /// A sync that is left to its end, if it comes to one soon.
    async fn finish(&mut self) {
        if let Some(run) = self.running.pop() {
            let ended = tokio::time::timeout(Duration::from_secs(2), run.ended()).await;
            let well = ended.map(|ended| ended.is_ok());
            self.note(format!("a sync ends: {well:?}"));
        }
    }

    /// Faults off; within a sync, and another one for what was parked, everything is as at the source.
    async fn end(mut self) {
        self.source.set(Trouble::None);
        self.database.set(Trouble::None);
        self.world.source.clear_faults();
        self.world
            .source
            .world(|w| w.delay_listing(TimeDelta::zero()));
        for run in self.running.drain(..) {
            run.crash().await;
        }
        self.world.settle();
        self.world.sync().await;
        sqlx::query("update cvsync.parked_cv set next_attempt_at = now()")
            .execute(&self.world.database)
            .await
            .unwrap();
        self.world.sync().await;
        self.world.assert_database_equals_source().await;
        self.world.assert_watermark_is_honest().await;
        // A source without any CV proves nothing, so absences stay unproven.
        let has_any = self.world.source.world(|w| w.live_ids().next().is_some());
        let waiting = "select count(*) from cvsync.parked_cv where $1 or error_class <> 'unproven'";
        let waiting: i64 = sqlx::query_scalar(waiting)
            .bind(has_any)
            .fetch_one(&self.world.database)
            .await
            .unwrap();
        assert_eq!(waiting, 0);
        self.world.database.close().await;
    }
}
