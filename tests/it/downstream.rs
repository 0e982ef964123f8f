//! Systems that hold a copy of the CVs and keep their position themselves: a reader of the feed, a receiver of the webhook and
//! a client of the mirror. Each does what the documentation asks of it, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use cvsync::model::window::instant;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How often a copy looks for changes.
const PERIOD: Duration = Duration::from_millis(30);

/// A database or a daemon that answers later is asked again.
const PATIENCE: Duration = Duration::from_secs(3);

/// The documents of a copy.
pub(crate) type Documents = BTreeMap<Uuid, Value>;

/// A change as the feed and the webhook announce it.
struct Change {
    seq: i64,
    id: Uuid,
    deleted: bool,
}

/// A copy that follows numbered changes.
#[derive(Default)]
struct Numbered {
    /// The last change that it has processed.
    position: i64,
    documents: Documents,
}

/// A copy, shared with the task that keeps it.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Numbered>>);

impl Kept {
    fn look(&self) -> MutexGuard<'_, Numbered> {
        self.0.lock().unwrap()
    }

    /// Processes the changes that it has not seen. For an upsert it reads the document: one that is no longer there is
    /// deleted by a later change.
    async fn process(&self, database: &PgPool, mut changes: Vec<Change>) -> sqlx::Result<()> {
        let position = self.look().position;
        changes.retain(|change| change.seq > position);
        let ids: Vec<Uuid> = changes.iter().map(|change| change.id).collect();
        let found: Vec<(Uuid, String)> =
            sqlx::query_as("select cv_id, document::text from cvsync.cv where cv_id = any($1)")
                .bind(&ids)
                .fetch_all(database)
                .await?;
        let found = parsed(found);
        let mut copy = self.look();
        for change in changes {
            copy.position = change.seq;
            if change.deleted {
                copy.documents.remove(&change.id);
            } else if let Some(document) = found.get(&change.id) {
                copy.documents.insert(change.id, document.clone());
            }
        }
        Ok(())
    }
}

fn parsed(rows: Vec<(Uuid, String)>) -> Documents {
    let parsed = |(id, text): (Uuid, String)| (id, serde_json::from_str(&text).unwrap());
    rows.into_iter().map(parsed).collect()
}

/// A few connections that are given up soon.
fn connections(url: &str) -> PgPool {
    let options = PgPoolOptions::new().max_connections(2);
    options.acquire_timeout(PATIENCE).connect_lazy(url).unwrap()
}

/// Reads the feed by SQL, as in "SQL with a cursor".
pub(crate) struct FeedReader {
    copy: Kept,
    reading: JoinHandle<()>,
}

impl FeedReader {
    /// Begins at the start of the feed.
    pub(crate) fn start(url: &str) -> Self {
        let (copy, database) = (Kept::default(), connections(url));
        let reading = tokio::spawn({
            let copy = copy.clone();
            async move {
                loop {
                    // If the database does not answer, the next round asks again.
                    let _ = tokio::time::timeout(PATIENCE, read_feed(&copy, &database)).await;
                    tokio::time::sleep(PERIOD).await;
                }
            }
        });
        Self { copy, reading }
    }

    /// The last number that it has processed.
    pub(crate) fn position(&self) -> i64 {
        self.copy.look().position
    }

    pub(crate) fn documents(&self) -> Documents {
        self.copy.look().documents.clone()
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read_feed(copy: &Kept, database: &PgPool) -> sqlx::Result<()> {
    let position = copy.look().position;
    let changes: Vec<(i64, Uuid, String)> = sqlx::query_as(
        "select seq, cv_id, kind from cvsync.cv_change where seq > $1 order by seq limit 1000",
    )
    .bind(position)
    .fetch_all(database)
    .await?;
    let removed: i64 = sqlx::query_scalar("select removed_seq from cvsync.feed")
        .fetch_one(database)
        .await?;
    if removed > position {
        return read_all(copy, database).await;
    }
    let change = |(seq, id, kind): (i64, Uuid, String)| Change {
        seq,
        id,
        deleted: kind == "delete",
    };
    copy.process(database, changes.into_iter().map(change).collect())
        .await
}

/// Changes were removed that it had not seen: it reads everything, and goes on from where the feed ended before.
async fn read_all(copy: &Kept, database: &PgPool) -> sqlx::Result<()> {
    let end: i64 = sqlx::query_scalar(
        "select greatest((select max(seq) from cvsync.cv_change), (select removed_seq from cvsync.feed))",
    )
    .fetch_one(database)
    .await?;
    let rows = sqlx::query_as("select cv_id, document::text from cvsync.cv")
        .fetch_all(database)
        .await?;
    *copy.look() = Numbered {
        position: end,
        documents: parsed(rows),
    };
    Ok(())
}

/// Receives the webhook, and drops events whose number is not higher than the last.
pub(crate) struct WebhookReceiver {
    copy: Kept,
    url: String,
    serving: JoinHandle<()>,
}

impl WebhookReceiver {
    /// Listens; what it hears of it reads from the database at `url`.
    pub(crate) async fn start(url: &str) -> Self {
        let copy = Kept::default();
        let router = axum::Router::new()
            .fallback(receive)
            .with_state((copy.clone(), connections(url)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            copy,
            url: format!("http://{address}/"),
            serving,
        }
    }

    /// For `CVSYNC_WEBHOOK_URL`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn documents(&self) -> Documents {
        self.copy.look().documents.clone()
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(State((copy, database)): State<(Kept, PgPool)>, body: Bytes) -> StatusCode {
    let events: Vec<Value> = serde_json::from_slice(&body).unwrap();
    let change = |event: &Value| Change {
        seq: event["id"].as_str().unwrap().parse().unwrap(),
        id: event["subject"].as_str().unwrap().parse().unwrap(),
        deleted: event["type"] == "be.vdab.cv.delete",
    };
    let changes = events.iter().map(change).collect();
    match copy.process(&database, changes).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Follows the mirror's windows, each of which begins where the one before ended.
pub(crate) struct MirrorClient {
    copy: Arc<Mutex<Mirrored>>,
    following: JoinHandle<()>,
}

struct Mirrored {
    /// The end of the last window that it has processed.
    until: DateTime<Utc>,
    documents: Documents,
}

impl MirrorClient {
    /// Follows the daemon at this address.
    pub(crate) fn start(address: &str, token: &str) -> Self {
        let copy = Arc::new(Mutex::new(Mirrored {
            until: Utc::now() - TimeDelta::hours(1),
            documents: Documents::new(),
        }));
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let daemon = Daemon {
            http: http.build().unwrap(),
            base: format!("http://{address}/mirror/v1/kandidaten"),
            token: token.to_owned(),
        };
        let following = tokio::spawn({
            let copy = Arc::clone(&copy);
            async move {
                loop {
                    daemon.follow(&copy).await;
                    tokio::time::sleep(PERIOD).await;
                }
            }
        });
        Self { copy, following }
    }

    /// The end of the last window that it has processed.
    pub(crate) fn until(&self) -> DateTime<Utc> {
        self.copy.lock().unwrap().until
    }

    pub(crate) fn documents(&self) -> Documents {
        self.copy.lock().unwrap().documents.clone()
    }
}

impl Drop for MirrorClient {
    fn drop(&mut self) {
        self.following.abort();
    }
}

struct Daemon {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Daemon {
    /// One window up to now. If any of it does not succeed, the same window is requested again.
    async fn follow(&self, copy: &Mutex<Mirrored>) -> Option<()> {
        let (from, now) = (copy.lock().unwrap().until, Utc::now());
        let (van, tot) = (instant(from), instant(now));
        let window = format!("/bulk?van={van}&tot={tot}&aantal=2000");
        let page: Value = serde_json::from_str(&self.get(&window).await?.1).ok()?;
        let items = page["resultaten"].as_array()?;
        assert!(items.len() < 2_000, "a window of one page");
        let mut documents = Vec::new();
        for item in items {
            let id: Uuid = item["cvId"].as_str()?.parse().ok()?;
            let (status, body) = if item["status"] == "VERWIJDERD" {
                (404, String::new())
            } else {
                self.get(&format!("/{id}")).await?
            };
            documents.push((id, (status == 200).then_some(body)));
        }
        let mut copy = copy.lock().unwrap();
        for (id, document) in documents {
            match document {
                Some(text) => copy
                    .documents
                    .insert(id, serde_json::from_str(&text).unwrap()),
                None => copy.documents.remove(&id),
            };
        }
        copy.until = now;
        Some(())
    }

    /// An answer that says what is there; `None` where the daemon cannot tell now.
    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("{}{path}", self.base);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await;
        let answer = answer.ok()?;
        let status = answer.status().as_u16();
        assert!([200, 404, 500, 502, 503].contains(&status), "{status}");
        (status == 200 || status == 404).then_some(())?;
        Some((status, answer.text().await.ok()?))
    }
}

/// How a copy differs from the source; `None` if it does not.
pub(crate) fn difference(found: &Documents, expected: &Documents) -> Option<String> {
    let ids: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let (mut missing, mut gone, mut stale) = (0, 0, 0);
    for id in ids {
        match (found.get(id), expected.get(id)) {
            (None, _) => missing += 1,
            (_, None) => gone += 1,
            (found, expected) if found != expected => stale += 1,
            _ => {}
        }
    }
    (missing + gone + stale > 0)
        .then(|| format!("{missing} missing, {gone} that should be gone, {stale} stale"))
}
