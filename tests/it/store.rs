//! The store alone, on a real PostgreSQL.

use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cvsync::model::{Brake, CvId, Document, Fate, Outcome, ParkClass, Window};
use cvsync::store::held_delete::{self, NotDecided, Which};
use cvsync::store::{
    Applied, Store, StoreError, cv, cv_change, cv_seen, parked_cv, reconcile, sync_window,
};
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::world::{World, new_database, store, transaction};

struct Db {
    store: Store,
    url: String,
}

async fn migrated() -> Db {
    let url = new_database().await;
    let store = store(&url);
    store.migrate().await.unwrap();
    Db { store, url }
}

fn id(number: u128) -> CvId {
    CvId(Uuid::from_u128(number))
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn outcome(second: i64, fate: Fate) -> Outcome {
    Outcome {
        window: None,
        as_of: at(second),
        fate,
    }
}

fn live(number: u128, second: i64, content: &str) -> Outcome {
    let body = format!(r#"{{"cvId":"{}","x":"{content}"}}"#, id(number));
    let (_, document) = Document::read(body.as_bytes(), &[]).unwrap();
    outcome(second, Fate::Live(id(number), document))
}

fn gone(number: u128, second: i64) -> Outcome {
    outcome(second, Fate::Gone(id(number)))
}

impl Db {
    async fn apply(&self, batch: &[Outcome]) -> Vec<Applied> {
        self.store
            .apply(batch, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
            .await
            .unwrap()
    }

    async fn content(&self, number: u128) -> Option<String> {
        let mut tx = transaction(&self.url).await.unwrap();
        sqlx::query_scalar("select document->>'x' from cvsync.cv where cv_id = $1")
            .bind(id(number).0)
            .fetch_optional(&mut *tx)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn older_state_never_overwrites_a_newer_one() {
    let db = migrated().await;
    assert_eq!(db.apply(&[live(1, 10, "b")]).await, [Applied::Inserted]);
    assert_eq!(db.apply(&[live(1, 9, "a")]).await, [Applied::Superseded]);
    assert_eq!(db.content(1).await.as_deref(), Some("b"));
    assert_eq!(db.apply(&[gone(1, 9)]).await, [Applied::Superseded]);
    assert_eq!(db.apply(&[gone(1, 12)]).await, [Applied::Deleted]);
    assert_eq!(db.apply(&[live(1, 11, "c")]).await, [Applied::Superseded]);
    assert_eq!(db.content(1).await, None, "nothing comes back");
    assert_eq!(db.apply(&[live(1, 13, "d")]).await, [Applied::Inserted]);
}

#[tokio::test]
async fn a_slow_database_clock_lets_no_older_response_overwrite_a_newer_one() {
    let db = migrated().await;
    let hour = 3_600;
    // The database's clock is an hour behind the source, whose clock others confirm.
    let ahead = Utc::now() + TimeDelta::hours(1);
    let at = |second: i64| Outcome {
        as_of: ahead + TimeDelta::seconds(second),
        ..live(1, 0, &second.to_string())
    };
    let apply = async |second| {
        let latest = ahead + TimeDelta::seconds(60);
        let applied = db.store.apply(&[at(second)], Brake::on(0.2), latest).await;
        applied.unwrap()
    };
    assert_eq!(apply(30).await, [Applied::Inserted]);
    assert_eq!(apply(0).await, [Applied::Superseded]);
    assert_eq!(apply(hour).await, [Applied::Updated]);
    assert_eq!(
        apply(40).await,
        [Applied::Updated],
        "an impossible time is not believed"
    );
}

#[tokio::test]
async fn confirming_a_document_moves_its_as_of() {
    let db = migrated().await;
    // A stored at 1, B seen at 2 but written last, A confirmed at 3.
    db.apply(&[live(1, 1, "a")]).await;
    assert_eq!(db.apply(&[live(1, 3, "a")]).await, [Applied::Unchanged]);
    assert_eq!(db.apply(&[live(1, 2, "b")]).await, [Applied::Superseded]);
    assert_eq!(db.content(1).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn one_batch_may_hold_a_cv_twice_and_the_newest_wins() {
    let db = migrated().await;
    let batch = [
        live(1, 5, "new"),
        live(1, 4, "old"),
        gone(2, 7),
        live(2, 6, "x"),
    ];
    assert_eq!(
        db.apply(&batch).await,
        [
            Applied::Inserted,
            Applied::Superseded,
            Applied::Unchanged,
            Applied::Superseded
        ]
    );
    assert_eq!(db.content(1).await.as_deref(), Some("new"));
    assert_eq!(db.content(2).await, None);
}

#[tokio::test]
async fn a_delete_without_proof_is_held_and_makes_no_other_wait() {
    let db = migrated().await;
    let without_proof = |number, second, listed_live| {
        let id = id(number);
        outcome(second, Fate::Unproven { id, listed_live })
    };
    let unproven = |number, second| without_proof(number, second, true);
    let all: Vec<_> = (1..=4).map(|number| live(number, 5, "a")).collect();
    db.apply(&all).await;
    let batch = [unproven(1, 6), unproven(2, 4), unproven(9, 6), gone(3, 6)];
    let applied = [
        Applied::Unproven,
        Applied::Superseded,
        Applied::Parked,
        Applied::Deleted,
    ];
    assert_eq!(db.apply(&batch).await, applied);
    assert_eq!(db.apply(&[unproven(1, 7)]).await, [Applied::Unproven]);
    // Nothing is lost by an absence that contradicts nothing.
    let absent = without_proof(8, 6, false);
    assert_eq!(db.apply(&[absent]).await, [Applied::Unchanged]);
    assert_eq!(db.apply(&[gone(4, 7)]).await, [Applied::Deleted]);
    let due = async || {
        let mut tx = transaction(&db.url).await.unwrap();
        held_delete::due(&mut tx, 10).await.unwrap()
    };
    assert!(due().await.is_empty());
    let mut tx = transaction(&db.url).await.unwrap();
    sqlx::query("update cvsync.held_delete set next_attempt_at = now()")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(due().await, [id(1).0]);
    // One that fails by itself meanwhile has the back-off of parked CVs, and then again its own.
    let parked_ids = async || {
        let mut tx = transaction(&db.url).await.unwrap();
        let ids: Vec<String> = sqlx::query_scalar("select cv_id from cvsync.parked_cv")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
        ids
    };
    let failed = Fate::Parked(id(1).to_string(), ParkClass::ServerError, Duration::ZERO);
    db.apply(&[outcome(7, failed)]).await;
    assert!(parked_ids().await.contains(&id(1).to_string()));
    assert!(due().await.is_empty());
    assert_eq!(db.apply(&[unproven(1, 8)]).await, [Applied::Unproven]);
    assert!(!parked_ids().await.contains(&id(1).to_string()));
    assert_eq!(db.apply(&[gone(1, 8)]).await, [Applied::Deleted], "proven");
    assert!(due().await.is_empty());
}

#[tokio::test]
async fn a_change_notifies_once_a_commit_and_a_confirmation_does_not() {
    let db = migrated().await;
    let mut listener = PgListener::connect(&db.url).await.unwrap();
    listener.listen("cvsync_change").await.unwrap();
    let last = async || {
        let mut tx = transaction(&db.url).await.unwrap();
        cv_change::last_seq(&mut tx).await.unwrap().to_string()
    };
    db.apply(&[live(1, 1, "a"), live(2, 1, "a")]).await;
    assert_eq!(listener.recv().await.unwrap().payload(), last().await);
    db.apply(&[live(1, 2, "a"), live(2, 2, "a")]).await;
    db.apply(&[gone(1, 3)]).await;
    assert_eq!(listener.recv().await.unwrap().payload(), last().await);
}

#[tokio::test]
async fn a_cv_that_succeeds_leaves_the_parked() {
    let db = migrated().await;
    let parked = || {
        outcome(
            1,
            Fate::Parked(id(1).to_string(), ParkClass::ServerError, Duration::ZERO),
        )
    };
    assert_eq!(db.apply(&[parked()]).await, [Applied::Parked]);
    db.apply(&[parked()]).await;
    let mut tx = transaction(&db.url).await.unwrap();
    let attempts: i32 = sqlx::query_scalar("select attempts from cvsync.parked_cv")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(attempts, 2);
    drop(tx);
    db.apply(&[live(1, 2, "a")]).await;
    let mut tx = transaction(&db.url).await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from cvsync.parked_cv")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn concurrent_writers_end_with_the_newest_and_never_deadlock() {
    let db = migrated().await;
    let writers = (0..8_i64).map(|writer| {
        let store = db.store.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                let second = round * 8 + writer;
                let mut batch: Vec<_> = (0..20)
                    .map(|number| live(number, second, &second.to_string()))
                    .collect();
                if writer % 2 == 0 {
                    batch.reverse();
                }
                // There are more writers than connections.
                while let Err(error) = store
                    .apply(&batch, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
                    .await
                {
                    assert!(
                        error.to_string().contains("no connection became free"),
                        "{error}"
                    );
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for number in 0..20 {
        assert_eq!(db.content(number).await.as_deref(), Some("159"));
    }
}

#[tokio::test]
async fn instances_that_migrate_at_once_wait_for_each_other() {
    let url = new_database().await;
    let all: Vec<_> = (0..6)
        .map(|_| {
            let store = store(&url);
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
}

/// As one who closes the status page's tab, or shuts down.
#[tokio::test]
async fn abandoned_transaction_is_rolled_back() {
    let db = migrated().await;
    let alone = db.store.beside(1);
    alone.read("a test", async |_| Ok(())).await.unwrap();
    // The first polls get the connection, send `begin`, and read its answer: how many each takes depends on the moment.
    for polls in (1..8).cycle().take(21) {
        let mut waiting = Box::pin(alone.read("a test", async |_| std::future::pending().await));
        for _ in 0..polls {
            let polled: Poll<Result<(), StoreError>> = futures_util::poll!(&mut waiting);
            assert!(polled.is_pending(), "{polled:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(waiting);
        // Until it is back in the pool.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let read_only = async |tx: &mut PgConnection| {
            let shown = sqlx::query_scalar("show transaction_read_only").fetch_one(tx);
            Ok::<String, _>(shown.await?)
        };
        let read_only = alone.write("a test", read_only).await.unwrap();
        assert_eq!(read_only, "off", "stopped after {polls}");
    }
}

#[tokio::test]
async fn an_answer_to_an_earlier_question_leaves_a_cv_parked() {
    let db = migrated().await;
    let parked = outcome(
        5,
        Fate::Parked(id(1).to_string(), ParkClass::Unstorable, Duration::ZERO),
    );
    db.apply(&[parked]).await;
    db.apply(&[live(1, 4, "before it became unstorable")]).await;
    let mut tx = transaction(&db.url).await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from cvsync.parked_cv")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn an_answer_to_an_earlier_question_leaves_a_delete_held() {
    let db = migrated().await;
    db.apply(&[live(1, 1, "a")]).await;
    let mut tx = transaction(&db.url).await.unwrap();
    held_delete::hold(&mut tx, &[id(1).0], &[at(5)], &[false])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let held = async || {
        let mut tx = transaction(&db.url).await.unwrap();
        held_delete::count(&mut tx).await.unwrap().0
    };
    db.apply(&[live(1, 4, "before it went")]).await;
    assert_eq!(held().await, 1);
    db.apply(&[live(1, 6, "it is back")]).await;
    assert_eq!(held().await, 0);
}

#[tokio::test]
async fn a_role_that_may_only_write_does_once_the_schema_is_there() {
    let db = migrated().await;
    let role = format!("r_{}", Uuid::new_v4().simple());
    let mut tx = transaction(&db.url).await.unwrap();
    let grants = format!(
        "create role {role} login password 'p';
         grant usage on schema cvsync to {role};
         grant select, insert, update, delete on all tables in schema cvsync to {role};
         grant execute on all functions in schema cvsync to {role}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(grants))
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut url = url::Url::parse(&db.url).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("p")).unwrap();
    let writer = store(url.as_str());
    writer.migrate().await.unwrap();
    let batch = [live(1, 1, "a")];
    assert_eq!(
        writer
            .apply(&batch, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
            .await
            .unwrap(),
        [Applied::Inserted]
    );
}

#[tokio::test]
async fn errors_say_what_is_wrong_and_nothing_of_what_was_stored() {
    let url = new_database().await;
    let missing = store(&url.replace("/t_", "/missing_"));
    let error = missing.ping().await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    let nobody = store("postgres://u:canary@127.0.0.1:1/x");
    let error = nobody.read("a test", async |_| Ok(())).await.unwrap_err();
    assert!(matches!(error, StoreError::Passing(_)));
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!format!("{error:?}").contains("canary"));
}

/// Rows of our tables that this transaction has read.
async fn rows_read(tx: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint
           from pg_stat_xact_user_tables
          where schemaname = 'cvsync'",
    )
    .fetch_one(tx)
    .await
    .unwrap()
}

/// Many rows of which hardly any match: a statement that looks for matches would read them all.
async fn many_rows() -> Db {
    let db = migrated().await;
    let mut tx = transaction(&db.url).await.unwrap();
    sqlx::raw_sql(
        "insert into cvsync.cv (cv_id, document, content_hash)
         select lpad(to_hex(n), 32, '0')::uuid, '{}', '' from generate_series(1, 30000) as n;
         insert into cvsync.cv_seen select cv_id, now(), false from cvsync.cv;
         insert into cvsync.reconcile_under_way (run) values (1);
         insert into cvsync.reconcile_listed (run, cv_id, gone, van)
         select 1, cv_id, false, now() - interval '1 hour' from cvsync.cv;
         insert into cvsync.parked_cv (cv_id, error_class, as_of, next_attempt_at)
         select 'garbage ' || n, 'bad_id', now(), now() - interval '1 hour' from generate_series(1, 30000) as n;
         insert into cvsync.sync_window (van, tot, fresh, state, finished_at)
         select at, at + interval '5 minutes', n % 1000 <> 0, 'settled', at
           from generate_series(1, 30000) as n, lateral (select now() - n * interval '5 minutes' as at) as at;
         analyze",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    db
}

#[tokio::test]
async fn a_statement_reads_a_bounded_number_of_rows_however_few_match() {
    let db = many_rows().await;
    let soon = Utc::now() + chrono::TimeDelta::days(1);
    for (what, most) in [
        ("listed", 500),
        ("unlisted", 300),
        ("unconfirmed", 10_100),
        ("forget_tombstones", 10_100),
        ("remove", 4_100),
        ("count", 20_100),
        ("sample", 6_000),
        ("due", 100),
        ("forget_repeats", 200),
        ("listed_before", 12_000),
    ] {
        let mut tx = transaction(&db.url).await.unwrap();
        let tx = &mut *tx;
        let before = rows_read(&mut *tx).await;
        match what {
            "listed" => {
                let part = reconcile::listed(&mut *tx, 1, None, false, 100)
                    .await
                    .unwrap();
                assert_eq!((part.differ.len(), part.read), (0, 100));
            }
            "unlisted" => {
                let part = reconcile::unlisted(&mut *tx, 1, None, at(0).date_naive(), 100);
                let part = part.await.unwrap();
                assert_eq!((part.differ.len(), part.read), (0, 100));
            }
            "unconfirmed" => {
                let found = cv_seen::unconfirmed(&mut *tx, None, at(0), 10)
                    .await
                    .unwrap();
                assert_eq!(found, (vec![], Some(id(10_000).0)));
            }
            "forget_tombstones" => {
                let last = cv_seen::forget_tombstones(&mut *tx, None, soon)
                    .await
                    .unwrap();
                assert_eq!(last, Some(id(10_000).0));
            }
            "remove" => {
                let last = reconcile::remove(&mut *tx, 1, None).await.unwrap();
                assert_eq!(last, Some(id(2_000).0));
            }
            "count" => assert_eq!(cv::count(&mut *tx).await.unwrap(), 30_000),
            "sample" => assert!(!cv::sample(&mut *tx, 100).await.unwrap().is_empty()),
            "due" => assert!(parked_cv::due(&mut *tx, 10).await.unwrap().is_empty()),
            "forget_repeats" => {
                assert!(!sync_window::forget_repeats(&mut *tx, soon).await.unwrap());
            }
            "listed_before" => {
                let old = Utc::now() - chrono::TimeDelta::days(90);
                let window = Window::new(old, old + chrono::TimeDelta::seconds(1)).unwrap();
                sync_window::listed_before(&mut *tx, window, 100_000)
                    .await
                    .unwrap();
            }
            _ => unreachable!(),
        }
        let read = rows_read(&mut *tx).await - before;
        assert!(read <= most, "{what} read {read} rows");
    }
}

#[tokio::test]
async fn only_what_waiting_helps_against_is_an_outage() {
    let db = migrated().await;
    for (state, class) in [
        ("57P01", "passing"),
        ("53100", "passing"),
        ("53300", "passing"),
        ("08006", "passing"),
        ("25006", "read_only"),
        ("57014", "statement"),
        ("55P03", "statement"),
        ("40P01", "statement"),
        ("40001", "statement"),
        ("25P03", "statement"),
        ("58030", "statement"),
        ("42501", "broken"),
        ("XX001", "broken"),
        ("22P05", "data"),
    ] {
        let mut tx = transaction(&db.url).await.unwrap();
        let raise = format!("do $$ begin raise sqlstate '{state}'; end $$");
        let raised = sqlx::raw_sql(AssertSqlSafe(raise)).execute(&mut *tx).await;
        let error = StoreError::from(raised.unwrap_err());
        assert_eq!(error.class(), class, "{state}");
        let waits = matches!(class, "passing" | "read_only");
        assert_eq!(error.is_outage(), waits, "{state}");
    }
}

#[tokio::test]
async fn held_deletes_are_read_in_parts_and_none_is_left_out() {
    let db = migrated().await;
    let mut tx = transaction(&db.url).await.unwrap();
    sqlx::raw_sql(
        "insert into cvsync.held_delete (cv_id, as_of, approved_at)
         select lpad(to_hex(n), 32, '0')::uuid, now(), case when n > 20000 then now() end
           from generate_series(0, 24999) as n",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    let approved = held_delete::approved(&mut tx).await.unwrap();
    assert_eq!(approved.len(), 4_999);
    assert_eq!(approved.last(), Some(&id(24_999).0));
    let known = Which::Undecided(20_000);
    let others = held_delete::approve(&mut tx, known).await.unwrap_err();
    assert_eq!(others.to_string(), "20001 are held back by now");
    let stranger = Which::These(vec![id(1).0, id(25_000).0]);
    let stranger = held_delete::discard(&mut tx, stranger).await.unwrap_err();
    assert!(matches!(stranger, NotDecided::NotHeld(it) if it == id(25_000).0));
    let undecided = Which::Undecided(20_001);
    assert_eq!(
        held_delete::approve(&mut tx, undecided).await.unwrap(),
        20_001
    );
    assert_eq!(
        held_delete::discard(&mut tx, Which::All).await.unwrap(),
        25_000
    );
}

#[tokio::test]
async fn cvs_to_ask_for_are_picked_all_over_the_table() {
    let world = World::new(200).await;
    world.sync().await;
    let mut ids: Vec<Uuid> = world.source.world(|w| w.live_ids().collect());
    ids.sort_unstable();
    let mut tx = transaction(world.url()).await.unwrap();
    let picked = cv::any(&mut tx, 10).await.unwrap();
    let places: Vec<_> = picked
        .iter()
        .map(|id| ids.binary_search(&id.0).unwrap())
        .collect();
    assert_eq!(places.len(), 10);
    let (first, last) = (places.iter().min().unwrap(), places.iter().max().unwrap());
    assert!(last - first > 20, "{places:?}");
}

#[tokio::test]
async fn a_role_that_owns_the_schema_alone_can_migrate() {
    let url = new_database().await;
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let role = format!("owner_{}", Uuid::new_v4().simple());
    for statement in [
        format!("create role {role} login password 'owner'"),
        format!("create schema cvsync authorization {role}"),
    ] {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut admin)
            .await
            .unwrap();
    }
    let mut url = url::Url::parse(&url).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("owner")).unwrap();
    store(url.as_str()).migrate().await.unwrap();
}
