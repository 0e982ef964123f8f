//! Documents that hold little, or other types than usual: nothing stops at them, in any stage behind the fetch.

use std::collections::BTreeMap;

use cvsync::model::{Brake, CvId, Document, Fate, Outcome};
use cvsync::store::export::VIEWS;
use cvsync::store::mirror::{self, FILTERS, LARGEST_PAGE, Search};
use cvsync::sync::searchable;
use futures_util::TryStreamExt;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::process::Process;
use crate::views::{holding, hostile, rows, shown_by_vdab};
use crate::world::{NUMBERED_FROM_ONE, World, new_database, store, transaction};

/// One in this many places has another value than it should.
const ODD: u32 = 3;

/// CVs in the test of random documents.
const MANY: i64 = 400;

/// The migrations that repaired the search for CVs without words.
const REPAIRS: [i64; 2] = [20_261_127_135_000, 20_261_130_120_000];

/// The first migration that could not be applied beside such a CV.
const CREATE_CV_SEARCH: i64 = 20_261_127_140_000;

/// A CV that has no words.
fn without_words(number: u128) -> Value {
    json!({"cvId": Uuid::from_u128(number), "status": "OPEN", "gewensteJob": {"regios": ["BE231A"]}})
}

/// The same document, with random values at random places, or nothing.
fn disturbed(value: &Value, runner: &mut TestRunner) -> Value {
    let odd = runner.rng().next_u32().is_multiple_of(ODD);
    match value {
        _ if odd => match runner.rng().next_u32() % 4 {
            0 => Value::Null,
            1 => json!({}),
            2 => json!([]),
            _ => hostile().new_tree(runner).unwrap().current(),
        },
        Value::Object(fields) => {
            let fields = fields.iter().filter_map(|(name, value)| {
                let is_missing = runner.rng().next_u32().is_multiple_of(ODD);
                (!is_missing).then(|| (name.clone(), disturbed(value, runner)))
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| disturbed(item, runner)).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn documents_of_any_shape_pass_apply_views_search_and_mirror() {
    let mut runner = TestRunner::default();
    let shown = shown_by_vdab();
    let documents: Vec<Value> = (0..u128::from(MANY.unsigned_abs()))
        .map(|number| {
            let mut document = match number {
                0 => json!({}),
                1 => without_words(1),
                _ => disturbed(&shown, &mut runner),
            };
            if !document.is_object() {
                document = json!({});
            }
            document["cvId"] = json!(Uuid::from_u128(number));
            document
        })
        .collect();
    let (url, database) = holding(documents.clone()).await;
    for view in VIEWS {
        let rows = rows(&database, view).await;
        if matches!(*view, "kandidaat" | "persoon" | "gewenste_job") {
            assert_eq!(rows.len(), documents.len(), "{view} has one row per CV");
        }
    }
    assert_eq!(count(&database, "cv_search").await, MANY);
    assert_eq!(count(&database, "cv_unsearchable").await, 0);
    assert_eq!(behind(&database).await, 0);
    let mut tx = transaction(&url).await.unwrap();
    let ids: Vec<_> = (0..400).map(Uuid::from_u128).collect();
    let found: Vec<_> = mirror::documents(&mut tx, &ids)
        .try_collect()
        .await
        .unwrap();
    let found: BTreeMap<Uuid, Value> = found
        .into_iter()
        .map(|found| (found.cv_id, serde_json::from_str(&found.json).unwrap()))
        .collect();
    assert_eq!(found.len(), documents.len());
    let velden = ["gewensteJob", "natuurlijkPersoon", "status", "ervaringen"];
    let page = mirror::search(&mut tx, &search(&velden)).await.unwrap();
    assert_eq!(page.total, MANY);
}

fn search(velden: &[&str]) -> Search {
    Search {
        terms: [const { None }; FILTERS.len()],
        words: None,
        velden: velden.iter().map(ToString::to_string).collect(),
        offset: 0,
        limit: 200,
    }
}

#[tokio::test]
async fn a_page_of_the_mirror_has_a_largest_size() {
    let large = "x".repeat(1_900_000);
    let documents = (0..10).map(|number| {
        json!({"cvId": Uuid::from_u128(number), "status": "OPEN", "large": large, "small": "y"})
    });
    let (url, _) = holding(documents).await;
    let mut tx = transaction(&url).await.unwrap();
    let found = mirror::search(&mut tx, &search(&["large"])).await.unwrap();
    let bytes: usize = found.page.iter().map(String::len).sum();
    let most = usize::try_from(LARGEST_PAGE).unwrap();
    assert!(found.too_large && bytes <= most, "{bytes}");
    let found = mirror::search(&mut tx, &search(&["small"])).await.unwrap();
    assert!(!found.too_large);
    assert_eq!(found.page.len(), 10);
}

/// A database with the migrations that `is_applied` chooses.
async fn migrated(is_applied: impl Fn(i64) -> bool) -> (String, PgPool) {
    let url = new_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let all: Migrator = sqlx::migrate!();
    let chosen = all.iter().filter(|one| is_applied(one.version)).cloned();
    let migrator = Migrator {
        migrations: chosen.collect::<Vec<_>>().into(),
        ignore_missing: false,
        locking: false,
        no_tx: false,
        table_name: "cvsync.migration".into(),
        create_schemas: vec!["cvsync".into()].into(),
    };
    migrator
        .run_direct(None, &mut connection, false)
        .await
        .unwrap();
    (url.clone(), PgPool::connect(&url).await.unwrap())
}

async fn insert(database: &PgPool, document: &Value) {
    let (id, read) = Document::read(document.to_string().as_bytes(), &[]).unwrap();
    sqlx::query(
        "with added as (
             insert into cvsync.cv (cv_id, document, content_hash) values ($1, $2::jsonb, $3)
         )
         insert into cvsync.cv_change (cv_id, kind) values ($1, 'upsert')",
    )
    .bind(id.parse::<Uuid>().unwrap())
    .bind(read.json())
    .bind(read.hash().as_slice())
    .execute(database)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_database_that_stopped_at_a_cv_without_words_is_migrated() {
    // One that waits in front of the migration that failed, and one whose search is stuck.
    let in_front = |version| version < CREATE_CV_SEARCH && !REPAIRS.contains(&version);
    let behind_it = |version| version < REPAIRS[1] && !REPAIRS.contains(&version);
    for (is_applied, name) in [
        (&in_front as &dyn Fn(i64) -> bool, "in front"),
        (&behind_it, "behind"),
    ] {
        let (url, database) = migrated(is_applied).await;
        insert(&database, &without_words(1)).await;
        insert(&database, &shown_by_vdab()).await;
        let store = store(&url);
        store.migrate().await.unwrap();
        searchable::catch_up(&store, &CancellationToken::new()).await;
        assert_eq!(count(&database, "cv_search").await, 2, "{name}");
        assert_eq!(behind(&database).await, 0, "{name}");
        store.migrate().await.unwrap();
    }
}

async fn count(database: &PgPool, table: &str) -> i64 {
    let query = sqlx::AssertSqlSafe(format!("select count(*) from cvsync.{table}"));
    sqlx::query_scalar(query).fetch_one(database).await.unwrap()
}

/// How many changes the consumer `search` has not processed.
async fn behind(database: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select count(*)
           from cvsync.cv_change
          where seq > (select seq from cvsync.feed_consumer where name = 'search')",
    )
    .fetch_one(database)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_cv_that_cannot_be_indexed_is_set_aside_and_the_others_are_found() {
    let url = new_database().await;
    let store = store(&url);
    store.migrate().await.unwrap();
    let database = PgPool::connect(&url).await.unwrap();
    // Two of 150 CVs are refused, each for another reason.
    sqlx::raw_sql(
        "create function refuse() returns trigger language plpgsql as $$
         begin
             if new.codes @> '{regio:DATA}' then
                 perform 1 / 0;
             elsif new.codes @> '{regio:DAMAGED}' then
                 raise exception 'missing chunk number 0' using errcode = 'XX001';
             end if;
             return new;
         end $$;
         create trigger refuse before insert or update on cvsync.cv_search
             for each row execute function refuse();",
    )
    .execute(&database)
    .await
    .unwrap();
    let outcome = |number: u128, regio: &str| {
        let document = json!({"cvId": Uuid::from_u128(number), "gewensteJob": {"regios": regio}});
        let document = Document::read(document.to_string().as_bytes(), &[])
            .unwrap()
            .1;
        Outcome {
            window: None,
            as_of: chrono::Utc::now(),
            fate: Fate::Live(CvId(Uuid::from_u128(number)), document),
        }
    };
    let outcomes: Vec<_> = (0..150)
        .map(|number| match number {
            20 => outcome(number, "DATA"),
            77 => outcome(number, "DAMAGED"),
            _ => outcome(number, "BE1"),
        })
        .collect();
    store
        .apply(&outcomes, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
        .await
        .unwrap();
    searchable::catch_up(&store, &CancellationToken::new()).await;
    assert_eq!(behind(&database).await, 0);
    assert_eq!(count(&database, "cv_search").await, 148);
    let set_aside: Vec<(Uuid, String)> =
        sqlx::query_as("select cv_id, error_code from cvsync.cv_unsearchable order by cv_id")
            .fetch_all(&database)
            .await
            .unwrap();
    let expected = [(20, "22012"), (77, "XX001")];
    let expected = expected.map(|(number, code)| (Uuid::from_u128(number), code.to_owned()));
    assert_eq!(set_aside, expected);
    // Its next change is tried again.
    let changed = [outcome(20, "BE2")];
    store
        .apply(&changed, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
        .await
        .unwrap();
    searchable::catch_up(&store, &CancellationToken::new()).await;
    assert_eq!(count(&database, "cv_search").await, 149);
    assert_eq!(count(&database, "cv_unsearchable").await, 1);
}

/// From now on nothing can be written for search.
async fn fill_the_disk(database: &PgPool) {
    sqlx::raw_sql(
        "create function refuse() returns trigger language plpgsql as $$
         begin
             raise exception 'no room' using errcode = '53100';
         end $$;
         create trigger refuse before insert on cvsync.cv_search
             for each row execute function refuse();",
    )
    .execute(database)
    .await
    .unwrap();
}

#[tokio::test]
async fn an_error_that_is_not_about_a_cv_sets_none_aside() {
    let (url, database) = holding([]).await;
    fill_the_disk(&database).await;
    insert(&database, &without_words(1)).await;
    searchable::catch_up(&store(&url), &CancellationToken::new()).await;
    assert_eq!(behind(&database).await, 1, "it is tried again");
    assert_eq!(count(&database, "cv_unsearchable").await, 0);
}

#[tokio::test]
async fn no_text_costs_the_index_more_than_a_second() {
    let (_, database) = holding([]).await;
    let hard = [
        "a_",
        "~/",
        "<!-- a ",
        "a-1.",
        "_",
        "/",
        "<!--",
        "http://a.be/",
    ];
    let mut connection = database.acquire().await.unwrap();
    // The parser alone takes 11 s for the first of them.
    sqlx::raw_sql("set statement_timeout = '6s'")
        .execute(&mut *connection)
        .await
        .unwrap();
    for text in hard {
        let document = json!({"ervaringen": [{"functieTitel": text.repeat(40_000)}]});
        sqlx::query("select cvsync.tekst($1::jsonb)")
            .bind(document.to_string())
            .execute(&mut *connection)
            .await
            .unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[tokio::test]
async fn stored_and_shown_data_stays_in_proportion_to_the_document() {
    let languages: Vec<_> = (0..8_000)
        .map(|n| json!({"type": "talen", "code": format!("{n}{}", "x".repeat(30)), "niveau": "9"}))
        .collect();
    let document = json!({
        "cvId": Uuid::from_u128(1),
        "competenties": languages,
        "gewensteJob": {"arbeidsRegimes": vec!["V"; 100_000], "regios": vec!["BE1"; 50_000]},
    });
    let size = document.to_string().len();
    let (_, database) = holding([document]).await;
    let label = "é".repeat(500);
    sqlx::query(
        "insert into cvsync.reference_code (list, code, label) values ('arbeidsregimes', 'V', $1)",
    )
    .bind(label)
    .execute(&database)
    .await
    .unwrap();
    let codes: Vec<String> = sqlx::query_scalar("select codes from cvsync.cv_search")
        .fetch_one(&database)
        .await
        .unwrap();
    assert_eq!(codes.len(), 2_000);
    for view in VIEWS.iter().filter(|view| !view.starts_with("competentie")) {
        let rows = rows(&database, view).await;
        let shown: usize = rows.iter().map(|row| row.to_string().len()).sum();
        assert!(shown < 3 * size, "{view}: {shown} of {size}");
    }
}

#[tokio::test]
async fn trouble_of_a_consumer_shows_in_status_and_not_in_readiness() {
    let mut world = World::new(20).await;
    world.sync_again().await;
    world.until_searchable().await;
    sqlx::raw_sql(NUMBERED_FROM_ONE)
        .execute(&world.database)
        .await
        .unwrap();
    sqlx::raw_sql(
        "insert into cvsync.cv_unsearchable (cv_id, error_code) select cv_id, '22000' from cvsync.cv limit 1;
         insert into cvsync.feed_consumer (name, seq) values ('nightly', 0), ('webhook', 1);
         update cvsync.cv_change set at = at - interval '26 hours' where seq = 1;
         update cvsync.cv_change set at = at - interval '16 minutes' where seq > 1;",
    )
    .execute(&world.database)
    .await
    .unwrap();
    fill_the_disk(&world.database).await;
    insert(&world.database, &without_words(1)).await;
    let daemon = Process::run(&world, &[]);
    let body = daemon
        .until("/api/status", |_, body| {
            body.contains("search does not follow") && body.contains("nightly")
        })
        .await;
    assert!(body.contains(r#""light":"amber""#), "{body}");
    for reason in [
        "search does not follow the changes: see the log",
        "searches do not find 1 CV:",
        "the consumer nightly is",
        "the consumer webhook is",
    ] {
        assert!(body.contains(reason), "{reason}: {body}");
    }
    let (status, _) = daemon.get("/readyz").await.unwrap();
    assert_eq!(status, 200);
    let (_, metrics) = daemon.get("/metrics").await.unwrap();
    assert!(metrics.contains("cvsync_unsearchable 1"));
}
