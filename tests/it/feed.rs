//! The change feed: a consumer that reads it in order misses no row, however many writers there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use cvsync::model::{Brake, CvId, Document, Fate, Outcome};
use cvsync::store::{Applied, Store, StoreError, apply, cv_change, feed};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::{NUMBERED_FROM_ONE, World, new_database, store, transaction};

const BRAKE: f64 = 1.0;
const OFTEN: (&str, &str) = ("CVSYNC_SCHEDULE", "* * * * * *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");

struct Feed {
    url: String,
    store: Store,
    database: PgPool,
}

impl Feed {
    async fn new() -> Self {
        let url = new_database().await;
        let store = store(&url);
        store.migrate().await.unwrap();
        let database = PgPool::connect(&url).await.unwrap();
        Self {
            url,
            store,
            database,
        }
    }

    /// The query of a consumer: changes after `cursor`.
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
                   join pg_stat_activity using (pid)
                  where not granted
                    and datname = current_database())",
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

/// One transaction, which lasts or does not. Tried again as the pipeline does: a machine that is busy may have no connection.
async fn write(store: &Store, batch: &[Outcome], lasts: bool) {
    loop {
        let apply = async |tx: &mut PgConnection| {
            apply::apply(tx, batch, Brake::on(BRAKE), &[], DateTime::UNIX_EPOCH).await?;
            lasts.then_some(()).ok_or(StoreError::Stopped)
        };
        match store.write("a test", apply).await {
            Err(StoreError::Passing(_)) => {}
            Err(StoreError::Stopped) if !lasts => return,
            done => return done.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_row_that_commits_late_has_the_higher_number() {
    let feed = Feed::new().await;
    let mut early = transaction(&feed.url).await.unwrap();
    let first = [live(1, 1, "a")];
    apply::apply(
        &mut early,
        &first,
        Brake::on(BRAKE),
        &[],
        DateTime::UNIX_EPOCH,
    )
    .await
    .unwrap();
    let store = feed.store.clone();
    let late = tokio::spawn(async move {
        let second = [live(2, 1, "a")];
        store
            .apply(&second, Brake::on(BRAKE), chrono::DateTime::UNIX_EPOCH)
            .await
            .unwrap()
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
    let writers = (0..4_i64).map(|writer| {
        let store = store(&feed.url);
        tokio::spawn(async move {
            for round in 0..20_i64 {
                let second = round * 4 + writer;
                let content = second.to_string();
                // Two writers each have CVs in common, so that they wait for each other's rows as well as for their turn.
                let (shared, own) = (100 * (writer / 2), 1_000 * (writer + 1));
                let mut batch: Vec<_> = (shared..shared + 3)
                    .map(|number| live(number.unsigned_abs().into(), second, &content))
                    .collect();
                let size = 1 + round * 7 % 40;
                batch.extend(
                    (own..own + size)
                        .map(|number| live(number.unsigned_abs().into(), second, &content)),
                );
                write(&store, &batch, round % 5 < 4).await;
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
        tokio::time::sleep(Duration::from_millis(2)).await;
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
    assert!(
        last > i64::try_from(numbers.len()).unwrap(),
        "what rolled back leaves gaps"
    );
    // The table and the feed agree about each CV's last change.
    let last_change: BTreeMap<_, _> = all.iter().map(|row| (row.1, row.2)).collect();
    let changed_at: Vec<(Uuid, DateTime<Utc>)> =
        sqlx::query_as("select cv_id, changed_at from cvsync.cv")
            .fetch_all(&feed.database)
            .await
            .unwrap();
    assert_eq!(last_change, changed_at.into_iter().collect());
}

#[tokio::test]
async fn unchanged_batch_does_not_wait_for_the_feed() {
    let feed = Feed::new().await;
    feed.store
        .apply(
            &[live(1, 1, "a")],
            Brake::on(BRAKE),
            chrono::DateTime::UNIX_EPOCH,
        )
        .await
        .unwrap();
    let mut writing = transaction(&feed.url).await.unwrap();
    apply::apply(
        &mut writing,
        &[live(2, 1, "a")],
        Brake::on(BRAKE),
        &[],
        DateTime::UNIX_EPOCH,
    )
    .await
    .unwrap();
    let confirmed = feed
        .store
        .apply(
            &[live(1, 2, "a")],
            Brake::on(BRAKE),
            chrono::DateTime::UNIX_EPOCH,
        )
        .await;
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
            .apply(
                &[live(1, second, &second.to_string())],
                Brake::on(BRAKE),
                chrono::DateTime::UNIX_EPOCH,
            )
            .await
            .unwrap();
    }
    let rows = feed.read(0).await;
    assert_eq!(rows.len(), 4);
    assert!(rows.windows(2).all(|pair| pair[0].2 < pair[1].2));
}

#[tokio::test]
async fn old_changes_are_removed_once_every_consumer_has_read_them() {
    let feed = Feed::new().await;
    for second in 1..=6 {
        feed.store
            .apply(
                &[live(1, second, &second.to_string())],
                Brake::on(BRAKE),
                chrono::DateTime::UNIX_EPOCH,
            )
            .await
            .unwrap();
    }
    let run = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&feed.database).await.unwrap();
    };
    sqlx::raw_sql(NUMBERED_FROM_ONE)
        .execute(&feed.database)
        .await
        .unwrap();
    run(
        "update cvsync.cv_change set at = at - interval '40 days' where seq <= 4;
         update cvsync.feed_consumer set seq = 6;
         insert into cvsync.feed_consumer (name, seq) values ('slow', 2), ('quick', 6)",
    )
    .await;
    let trim = async || {
        let mut tx = transaction(&feed.url).await.unwrap();
        let month = Duration::from_hours(24 * 30);
        assert!(!feed::trim(&mut tx, month).await.unwrap());
        let numbers = (
            feed::removed_seq(&mut tx).await.unwrap(),
            cv_change::last_seq(&mut tx).await.unwrap(),
        );
        tx.commit().await.unwrap();
        let left: Vec<_> = feed.read(0).await.iter().map(|row| row.0).collect();
        (left, numbers)
    };
    assert_eq!(trim().await, (vec![3, 4, 5, 6], (2, 6)));
    run("delete from cvsync.feed_consumer where name = 'slow'").await;
    assert_eq!(trim().await, (vec![5, 6], (4, 6)), "what is young stays");
    run("update cvsync.cv_change set at = at - interval '40 days'").await;
    assert_eq!(trim().await, (vec![], (6, 6)), "the end is remembered");
}

#[tokio::test]
async fn a_sync_removes_what_is_old_from_the_feed_and_a_dry_run_does_not() {
    let world = World::new(5).await;
    world.sync().await;
    world.until_searchable().await;
    sqlx::raw_sql(NUMBERED_FROM_ONE)
        .execute(&world.database)
        .await
        .unwrap();
    sqlx::raw_sql(
        "update cvsync.cv_change set at = at - interval '31 days' where seq <= 2;
         delete from cvsync.job_success where job = 'housekeeping'",
    )
    .execute(&world.database)
    .await
    .unwrap();
    let mut pipeline = world.pipeline();
    pipeline.store = pipeline.store.dry();
    pipeline.run().await.unwrap();
    assert_eq!(world.rows("cv_change").await, 5);
    world.sync().await;
    assert_eq!(world.rows("cv_change").await, 3);
}

#[tokio::test]
async fn consumers_are_listed_and_forgotten() {
    let world = World::new(5).await;
    world.sync().await;
    world.until_searchable().await;
    let url = world.url().to_owned();
    let env = [("CVSYNC_DATABASE_URL", &*url)];
    let (code, stdout, _) = output(&["feed", "list"], env).await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("search"), "cvsync's own: {stdout}");
    for bad in ["", "Klant", "a b", "-x"] {
        let refused = sqlx::query("insert into cvsync.feed_consumer (name, seq) values ($1, 0)")
            .bind(bad)
            .execute(&world.database)
            .await;
        assert!(refused.is_err(), "{bad}");
    }
    sqlx::raw_sql(NUMBERED_FROM_ONE)
        .execute(&world.database)
        .await
        .unwrap();
    sqlx::query("insert into cvsync.feed_consumer (name, seq) values ('index', 2)")
        .execute(&world.database)
        .await
        .unwrap();
    let (_, stdout, _) = output(&["feed", "list", "--json"], env).await;
    let listed: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(listed[0]["name"], "index");
    assert_eq!(listed[0]["behind"], 3);
    let (_, stdout, _) = output(&["status"], env).await;
    assert!(stdout.contains("index is 3 changes behind"), "{stdout}");
    let (code, _, stderr) = output(&["feed", "forget", "indeks"], env).await;
    assert_eq!(code, Some(2), "{stderr}");
    let (code, _, _) = output(&["feed", "forget", "index"], env).await;
    assert_eq!((code, world.rows("feed_consumer").await), (Some(0), 1));
}

#[tokio::test]
async fn stored_cv_is_soon_searchable_and_deleted_one_vanishes_at_once() {
    let world = World::new(300).await;
    let daemon = Process::run(&world, &[OFTEN, AT_ONCE]);
    daemon.until_synced().await;
    world.until_searchable().await;
    let wrong = "select count(*) from cvsync.cv
                   full join cvsync.cv_search using (cv_id)
                  where codes is distinct from cvsync.codes(document)
                     or tekst is distinct from cvsync.tekst(document)";
    assert_eq!(world.count(wrong).await, 0);
    let (changed, gone) = world.source.world(|w| {
        let ids: Vec<_> = w.live_ids().take(2).collect();
        assert!(w.update(ids[0]) && w.remove(ids[1]));
        (ids[0], ids[1])
    });
    until("the change is stored", async || {
        let here = world.documents().await;
        !here.contains_key(&gone) && here[&changed] == world.source.documents()[&changed]
    })
    .await;
    let left = "select count(*) from cvsync.cv_search";
    assert_eq!(
        world.count(left).await,
        world.rows("cv").await,
        "in the same transaction"
    );
    world.until_searchable().await;
    assert_eq!(world.count(wrong).await, 0);
    // After somebody has dropped it, it registers again.
    let drop = "delete from cvsync.feed_consumer; update cvsync.cv_search set codes = '{}'";
    sqlx::raw_sql(drop).execute(&world.database).await.unwrap();
    until("all is taken up once more", async || {
        world.count(wrong).await == 0
    })
    .await;
}
