//! The change feed: nobody who reads it in order misses a row, whoever writes at the same time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use cvsync::model::{Brake, CvId, Document, Fate, Outcome};
use cvsync::store::{Applied, Store, apply};
use sqlx::PgPool;
use uuid::Uuid;

use crate::world::{new_database, store};

const BRAKE: f64 = 1.0;

struct Feed {
    store: Store,
    database: PgPool,
}

impl Feed {
    async fn new() -> Self {
        let url = new_database().await;
        let store = store(&url);
        store.migrate().await.unwrap();
        let database = PgPool::connect(&url).await.unwrap();
        Self { store, database }
    }

    /// What a consumer asks.
    async fn read(&self, cursor: i64) -> Vec<(i64, Uuid, DateTime<Utc>)> {
        sqlx::query_as(
            "select seq, cv_id, at from cvsync.cv_change where seq > $1 order by seq limit 100",
        )
        .bind(cursor)
        .fetch_all(&self.database)
        .await
        .unwrap()
    }

    async fn somebody_waits_for_a_turn(&self) -> bool {
        sqlx::query_scalar(
            "select exists (
                 select from pg_locks
                  where locktype = 'advisory'
                    and not granted
                    and database = (select oid from pg_database where datname = current_database()))",
        )
        .fetch_one(&self.database)
        .await
        .unwrap()
    }
}

fn live(number: u128, second: i64, content: &str) -> Outcome {
    let id = CvId(Uuid::from_u128(number));
    let body = format!(r#"{{"cvId":"{id}","x":"{content}"}}"#);
    let (_, document) = Document::read(body.as_bytes(), &[]).unwrap();
    Outcome {
        window: None,
        as_of: DateTime::from_timestamp(second, 0).unwrap(),
        fate: Fate::Live(id, document),
    }
}

#[tokio::test]
async fn a_row_that_commits_late_has_the_higher_number() {
    let feed = Feed::new().await;
    let mut early = feed.store.begin_write().await.unwrap();
    let first = [live(1, 1, "a")];
    apply::apply(&mut early, &first, Brake::on(BRAKE))
        .await
        .unwrap();
    let store = feed.store.clone();
    let late = tokio::spawn(async move {
        let second = [live(2, 1, "a")];
        store.apply(&second, Brake::on(BRAKE)).await.unwrap()
    });
    while !late.is_finished() && !feed.somebody_waits_for_a_turn().await {
        tokio::task::yield_now().await;
    }
    let cursor = feed.read(0).await.last().map_or(0, |row| row.0);
    early.commit().await.unwrap();
    assert_eq!(late.await.unwrap(), [Applied::Inserted]);
    let read: Vec<_> = feed.read(cursor).await.iter().map(|row| row.1).collect();
    assert_eq!(read, [Uuid::from_u128(1), Uuid::from_u128(2)]);
}

#[tokio::test]
async fn among_many_writers_a_reader_sees_each_row_once_and_in_the_order_of_time() {
    let feed = Feed::new().await;
    let writers = (0..6_i64).map(|writer| {
        let store = feed.store.clone();
        tokio::spawn(async move {
            for round in 0..25_i64 {
                let second = round * 6 + writer;
                // Some CVs are everybody's, so that writers wait for each other's rows as well as for their turn.
                let own = u128::from(1_000 * writer.unsigned_abs() + 100);
                let mut batch: Vec<_> = (0..own % 7 + 4)
                    .map(|number| live(number, second, &second.to_string()))
                    .collect();
                batch.extend((0..10).map(|nr| live(own + nr, second, &second.to_string())));
                if round % 5 == 4 {
                    let mut tx = store.begin_write().await.unwrap();
                    apply::apply(&mut tx, &batch, Brake::on(BRAKE))
                        .await
                        .unwrap();
                    drop(tx);
                } else {
                    store.apply(&batch, Brake::on(BRAKE)).await.unwrap();
                }
            }
        })
    });
    let writers = futures_util::future::join_all(writers.collect::<Vec<_>>());
    let writing = tokio::spawn(writers);
    let (mut cursor, mut seen) = (0, Vec::new());
    loop {
        let over = writing.is_finished();
        let rows = feed.read(cursor).await;
        cursor = rows.last().map_or(cursor, |row| row.0);
        if over && rows.is_empty() {
            break;
        }
        seen.extend(rows);
    }
    for writer in writing.await.unwrap() {
        writer.unwrap();
    }
    let all: Vec<(i64, Uuid, DateTime<Utc>)> =
        sqlx::query_as("select seq, cv_id, at from cvsync.cv_change order by seq")
            .fetch_all(&feed.database)
            .await
            .unwrap();
    assert_eq!(seen, all);
    assert!(all.len() > 1_000, "{}", all.len());
    assert!(all.is_sorted_by_key(|row| row.2));
    let numbers: BTreeSet<_> = all.iter().map(|row| row.0).collect();
    let last = *numbers.last().unwrap();
    assert!(last > numbers.len() as i64, "what rolled back leaves gaps");
    // What the table says of a CV's last change is what the feed says.
    let last_change: BTreeMap<_, _> = all.iter().map(|row| (row.1, row.2)).collect();
    let changed_at: Vec<(Uuid, DateTime<Utc>)> =
        sqlx::query_as("select cv_id, changed_at from cvsync.cv")
            .fetch_all(&feed.database)
            .await
            .unwrap();
    assert_eq!(last_change, changed_at.into_iter().collect());
}

#[tokio::test]
async fn what_changes_nothing_waits_for_nobody() {
    let feed = Feed::new().await;
    feed.store
        .apply(&[live(1, 1, "a")], Brake::on(BRAKE))
        .await
        .unwrap();
    let mut writing = feed.store.begin_write().await.unwrap();
    apply::apply(&mut writing, &[live(2, 1, "a")], Brake::on(BRAKE))
        .await
        .unwrap();
    let confirmed = feed.store.apply(&[live(1, 2, "a")], Brake::on(BRAKE)).await;
    assert_eq!(confirmed.unwrap(), [Applied::Unchanged]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_turn_the_order_round() {
    let feed = Feed::new().await;
    sqlx::query(
        "insert into cvsync.cv_change (cv_id, kind, at)
         values (gen_random_uuid(), 'upsert', now() + interval '1 minute')",
    )
    .execute(&feed.database)
    .await
    .unwrap();
    for second in 1..4 {
        feed.store
            .apply(&[live(1, second, &second.to_string())], Brake::on(BRAKE))
            .await
            .unwrap();
    }
    let rows = feed.read(0).await;
    assert_eq!(rows.len(), 4);
    assert!(rows.windows(2).all(|pair| pair[0].2 < pair[1].2));
}
