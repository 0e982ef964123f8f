//! A world to test in: a source, a database of its own, and a pipeline between them.
//!
//! Needs: postgres

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use cvsync::clock::Clock;
use cvsync::config::{self, Config, Env};
use cvsync::model::Window;
use cvsync::simulator::{Handle, Operation, Options, Simulator};
use cvsync::store::Store;
use cvsync::sync::{Pipeline, Request, Summary, SyncError, searchable};
use cvsync::telemetry::Metrics;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Transaction};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::proxy::Proxy;
use crate::running::until;

/// An empty database of its own on the server that `./test` starts.
pub(crate) async fn new_database() -> String {
    let admin = std::env::var("CVSYNC_TEST_DATABASE_URL")
        .expect("these tests need a PostgreSQL server: run ./test, which starts one");
    let name = format!("t_{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    let mut url = url::Url::parse(&admin).unwrap();
    url.set_path(&name);
    url.into()
}

/// A transaction that ends when the test says so.
pub(crate) async fn transaction(url: &str) -> sqlx::Result<Transaction<'static, Postgres>> {
    PgPool::connect(url).await?.begin().await
}

/// The server runs as another user where we are root: others may pass through.
pub(crate) fn open_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o711))
        .tempdir()
        .unwrap()
}

/// The variables that a partner would set to try cvsync against the simulator: no pace, and short retries.
fn environment(base_url: String, key: &str, database_url: &str) -> Vec<(&'static str, String)> {
    let from = (Utc::now() - TimeDelta::days(31)).to_rfc3339();
    vec![
        ("CVSYNC_API_BASE_URL", base_url),
        ("CVSYNC_API_KEY", key.to_owned()),
        ("CVSYNC_API_RATE_PER_MINUTE", "1000000".to_owned()),
        ("CVSYNC_API_TIMEOUT", "10s".to_owned()),
        ("CVSYNC_DATABASE_URL", database_url.to_owned()),
        ("CVSYNC_RETRY_MAX_ELAPSED", "2s".to_owned()),
        ("CVSYNC_SYNC_FROM", from),
    ]
}

/// A source, a database and what runs between them.
pub(crate) struct World {
    _simulator: Simulator,
    pub source: Handle,
    /// The source's clock.
    pub source_clock: Clock,
    /// This machine's clock, as the pipeline sees it.
    pub clock: Clock,
    /// The tests' own look at the database.
    pub database: PgPool,
    pub config: Config,
    environment: Vec<(&'static str, String)>,
    pub metrics: Metrics,
    client: Option<Arc<Pipeline>>,
}

/// Numbers the changes from 1, and moves cvsync's own consumer with them: for tests that name single numbers.
pub(crate) const NUMBERED_FROM_ONE: &str = "
    update cvsync.feed_consumer
       set seq = (select count(*) from cvsync.cv_change where cv_change.seq <= feed_consumer.seq);
    update cvsync.cv_change
       set seq = numbered.place
      from (select seq, row_number() over (order by seq) as place from cvsync.cv_change) as numbered
     where cv_change.seq = numbered.seq";

impl World {
    /// A source with this many CVs, and an empty database with the schema.
    pub(crate) async fn new(candidates: u32) -> Self {
        Self::with(Options {
            candidates,
            ..Options::default()
        })
        .await
    }

    pub(crate) async fn with(options: Options) -> Self {
        Self::on(&new_database().await, options).await
    }

    /// The same on an empty database that is there already.
    pub(crate) async fn on(database_url: &str, options: Options) -> Self {
        store(database_url).migrate().await.unwrap();
        Self::beside(database_url, options).await
    }

    /// The same with a database as it is: nothing is migrated.
    pub(crate) async fn beside(database_url: &str, options: Options) -> Self {
        let filter = std::env::var("CVSYNC_TEST_LOG").unwrap_or_else(|_| "cvsync=info".into());
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_env_filter(filter)
            .try_init();
        let source_clock = Clock::default();
        let key = options.key.clone();
        let simulator = Simulator::start(options, source_clock.clone())
            .await
            .unwrap();
        let environment = environment(simulator.base_url(), &key, database_url);
        Self {
            source: simulator.handle(),
            config: Config::load(&Env::new(environment.clone())).unwrap(),
            environment,
            database: PgPool::connect(database_url).await.unwrap(),
            _simulator: simulator,
            source_clock,
            clock: Clock::default(),
            metrics: Metrics::new().unwrap(),
            client: None,
        }
    }

    /// A pipeline as a process that starts now would have it.
    pub(crate) fn pipeline(&self) -> Pipeline {
        Pipeline::new(
            &self.config,
            None,
            self.clock.clone(),
            self.metrics.clone(),
            CancellationToken::new(),
        )
        .unwrap()
    }

    /// The environment in which a separate process does the same as [`pipeline`](Self::pipeline).
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment.clone()
    }

    /// Changes a variable of the environment. What a test has changed in the configuration itself is undone by it.
    pub(crate) fn set(&mut self, variable: &'static str, value: String) {
        self.set_all(vec![(variable, value)]);
    }

    /// Changes several at once, which may need each other.
    pub(crate) fn set_all(&mut self, variables: Vec<(&'static str, String)>) {
        for (variable, value) in variables {
            self.environment.retain(|(name, _)| *name != variable);
            self.environment.push((variable, value));
        }
        self.config = Config::load(&Env::new(self.environment.clone())).unwrap();
    }

    /// Puts a proxy in front of what this variable points to, the source or the database. The test's own connections bypass it.
    pub(crate) async fn through_proxy(&mut self, variable: &'static str) -> Proxy {
        let (_, value) = self
            .environment
            .iter()
            .find(|(name, _)| *name == variable)
            .unwrap();
        let mut url = url::Url::parse(value).unwrap();
        let host = (url.host_str().unwrap(), url.port().unwrap_or(5432));
        let upstream = tokio::net::lookup_host(host).await.unwrap().next().unwrap();
        let proxy = Proxy::to(upstream).await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.address().port())).unwrap();
        self.set(variable, url.into());
        proxy
    }

    /// Waits until what is stored can be searched for: the leader of a daemon sees to it, or this does.
    pub(crate) async fn until_searchable(&self) {
        searchable::catch_up(&store(self.url()), &CancellationToken::new()).await;
        until("CVs can be searched for", async || {
            let done = "select count(*) from cvsync.feed_consumer
                         where name = 'search' and seq >= (select max(seq) from cvsync.cv_change)";
            self.count(done).await == 1
        })
        .await;
    }

    pub(crate) fn url(&self) -> &str {
        self.config.database.url.expose_secret()
    }

    /// Another run than the sync, by a process that has just started.
    pub(crate) async fn request(&self, request: Request) -> Summary {
        self.try_request(request).await.unwrap()
    }

    pub(crate) async fn try_request(&self, request: Request) -> Result<Summary, SyncError> {
        self.pipeline().carry_out(request).await
    }

    /// A sync by a process that has just started.
    pub(crate) async fn sync(&self) -> Summary {
        self.try_sync().await.unwrap()
    }

    pub(crate) async fn try_sync(&self) -> Result<Summary, SyncError> {
        self.pipeline().run().await
    }

    /// A sync by a process that keeps running.
    pub(crate) async fn sync_again(&mut self) -> Summary {
        self.run_again(Request::UpToNow).await
    }

    /// A run of any kind by a process that keeps running.
    pub(crate) async fn run_again(&mut self, request: Request) -> Summary {
        let pipeline = match &self.client {
            Some(pipeline) => Arc::clone(pipeline),
            None => Arc::clone(self.client.insert(Arc::new(self.pipeline()))),
        };
        pipeline.carry_out(request).await.unwrap()
    }

    /// Lets the source's time go by, and ours with it.
    pub(crate) fn pass(&self, time: TimeDelta) {
        let ahead = self.source_clock.now() - Utc::now() + time;
        self.source_clock.set_skew(ahead);
        self.clock.pass(time);
    }

    /// Makes one call, so that the kept client knows the source's time after a leap.
    pub(crate) async fn learn_time(&mut self) {
        let now = self.source_clock.now();
        let window = Window::new(now - TimeDelta::hours(2), now - TimeDelta::minutes(119));
        self.run_again(Request::Range(window.unwrap())).await;
    }

    /// Lets what has just changed settle.
    pub(crate) fn settle(&self) {
        self.pass(TimeDelta::minutes(10));
    }

    pub(crate) fn detail_calls(&self) -> u64 {
        self.source.calls(Operation::Detail)
    }

    pub(crate) fn bulk_calls(&self) -> u64 {
        self.source.calls(Operation::Bulk)
    }

    pub(crate) async fn documents(&self) -> BTreeMap<Uuid, Value> {
        sqlx::query_as("select cv_id, document::text from cvsync.cv")
            .fetch_all(&self.database)
            .await
            .unwrap()
            .into_iter()
            .map(|(id, text): (Uuid, String)| (id, serde_json::from_str(&text).unwrap()))
            .collect()
    }

    /// The oracle: every document, whole.
    pub(crate) async fn assert_database_equals_source(&self) {
        let expected = self.source.world(|world| world.live_documents());
        assert_same(&self.documents().await, &expected);
    }

    /// The oracle where some CVs cannot be applied: all others are as at the source, and these are parked.
    pub(crate) async fn assert_equal_but_for_parked(&self, parked: &[&str]) {
        let mut expected = self.source.world(|world| world.live_documents());
        let mut found = self.documents().await;
        let ids: Vec<String> = sqlx::query_scalar("select cv_id from cvsync.parked_cv order by 1")
            .fetch_all(&self.database)
            .await
            .unwrap();
        let mut parked: Vec<_> = parked.to_vec();
        parked.sort_unstable();
        assert_eq!(ids, parked);
        for id in ids.iter().filter_map(|id| Uuid::try_parse(id).ok()) {
            expected.remove(&id);
            found.remove(&id);
        }
        assert_same(&found, &expected);
    }

    /// The oracle while things go wrong: what changed before the watermark is in the database, or parked.
    pub(crate) async fn assert_watermark_is_honest(&self) {
        let Some(watermark) = self.watermark().await else {
            return;
        };
        let (expected, gone) = self.source.world(|world| {
            let listed = world.bulk(DateTime::UNIX_EPOCH, watermark, 0, usize::MAX);
            let ids = listed.resultaten.iter();
            let ids = ids.filter_map(|item| Uuid::try_parse(&item.cv_id).ok());
            let (live, gone): (Vec<_>, Vec<_>) = ids.partition(|id| world.document(*id).is_some());
            let parsed = |id| serde_json::from_str(&world.document(id)?).ok();
            let live = live.into_iter().filter_map(|id| Some((id, parsed(id)?)));
            (live.collect::<BTreeMap<Uuid, Value>>(), gone)
        });
        let found = self.documents().await;
        let parked: Vec<String> = sqlx::query_scalar("select cv_id from cvsync.parked_cv")
            .fetch_all(&self.database)
            .await
            .unwrap();
        let missing: Vec<_> = expected
            .iter()
            .filter(|(id, document)| found.get(id) != Some(document))
            .map(|(id, _)| id)
            .chain(gone.iter().filter(|id| found.contains_key(id)))
            .filter(|id| !parked.contains(&id.to_string()))
            .collect();
        assert!(
            missing.is_empty(),
            "the watermark is at {watermark}, without {missing:?}"
        );
    }

    pub(crate) async fn watermark(&self) -> Option<DateTime<Utc>> {
        sqlx::query_scalar("select position from cvsync.watermark")
            .fetch_optional(&self.database)
            .await
            .unwrap()
    }

    /// How many rows a table of ours has.
    pub(crate) async fn rows(&self, table: &str) -> i64 {
        let query = AssertSqlSafe(format!("select count(*) from cvsync.{table}"));
        sqlx::query_scalar(query)
            .fetch_one(&self.database)
            .await
            .unwrap()
    }

    /// How many CVs the source has.
    pub(crate) fn live(&self) -> usize {
        self.source.world(|world| world.live_ids().count())
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.database)
            .await
            .unwrap()
    }

    pub(crate) fn any_live_id(&self) -> Uuid {
        self.source.world(|world| world.live_ids().next().unwrap())
    }
}

pub(crate) fn store(url: &str) -> Store {
    Store::new(&config::Database::at(url).unwrap()).unwrap()
}

fn assert_same(found: &BTreeMap<Uuid, Value>, expected: &BTreeMap<Uuid, Value>) {
    let missing: Vec<_> = expected
        .keys()
        .filter(|id| !found.contains_key(id))
        .collect();
    let extra: Vec<_> = found
        .keys()
        .filter(|id| !expected.contains_key(id))
        .collect();
    let stale: Vec<_> = expected
        .iter()
        .filter(|(id, document)| found.get(id).is_some_and(|other| other != *document))
        .map(|(id, _)| id)
        .collect();
    assert!(
        missing.is_empty() && extra.is_empty() && stale.is_empty(),
        "missing {missing:?}, extra {extra:?}, stale {stale:?}"
    );
}
