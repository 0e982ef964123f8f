//! The roles `cvsync_reader` and `cvsync_analyst` see the columns that they should, and no others.

use std::collections::BTreeSet;

use cvsync::demo::postgres::{Cluster, Options, Stop};
use cvsync::store::export::VIEWS;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::views::{holding, shown_by_vdab};
use crate::world::store;

/// Columns with text in candidates' own words, or derived from it.
const TYPED: &[(&str, &[&str])] = &[
    ("kandidaat", &["tekst"]),
    ("ervaring", &["functie_titel", "werkgever_naam"]),
    ("opleiding", &["info"]),
    ("competentie", &["naam", "beschrijving"]),
    ("gewenste_functie", &["titel"]),
];

/// Whether this role may run this statement; it is rolled back.
async fn may(database: &PgPool, role: &str, statement: &str) -> bool {
    let mut tx = database.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("set local role {role}")))
        .execute(&mut *tx)
        .await
        .unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut *tx)
        .await;
    match done {
        Ok(_) => true,
        Err(sqlx::Error::Database(error)) => {
            let code = error.code().unwrap_or_default().into_owned();
            // Not allowed, or not possible for any role in a view over two tables.
            assert!(matches!(&*code, "42501" | "55000"), "{statement}: {error}");
            false
        }
        Err(other) => panic!("{statement}: {other}"),
    }
}

async fn relations(database: &PgPool, kinds: &[&str]) -> Vec<String> {
    sqlx::query_scalar(
        "select relname::text
           from pg_class
          where relnamespace = 'cvsync'::regnamespace and relkind::text = any($1)",
    )
    .bind(kinds)
    .fetch_all(database)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_reader_sees_the_views_and_nothing_else() {
    let (_, database) = holding([shown_by_vdab()]).await;
    for view in VIEWS {
        let select = format!("select * from cvsync.{view}");
        assert!(may(&database, "cvsync_reader", &select).await, "{view}");
        for change in [
            format!("delete from cvsync.{view}"),
            format!("update cvsync.{view} set cv_id = null"),
        ] {
            let simple = matches!(*view, "kandidaat");
            if simple {
                assert!(!may(&database, "cvsync_reader", &change).await, "{change}");
            }
        }
    }
    let tables = relations(&database, &["r", "p"]).await;
    assert!(tables.len() > 10, "{tables:?}");
    for table in tables {
        for role in ["cvsync_reader", "cvsync_analyst"] {
            for statement in [
                format!("select count(*) from cvsync.{table}"),
                format!("delete from cvsync.{table}"),
            ] {
                assert!(
                    !may(&database, role, &statement).await,
                    "{role}: {statement}"
                );
            }
        }
    }
    for sequence in relations(&database, &["S"]).await {
        let statement = format!("select nextval('cvsync.{sequence}')");
        assert!(
            !may(&database, "cvsync_reader", &statement).await,
            "{statement}"
        );
    }
    let create = "create table cvsync.mine (x int)";
    assert!(!may(&database, "cvsync_reader", create).await);
}

#[tokio::test]
async fn an_analyst_sees_neither_the_person_nor_what_a_person_typed() {
    let (_, database) = holding([shown_by_vdab()]).await;
    let analyst = "cvsync_analyst";
    assert!(!may(&database, analyst, "select count(*) from cvsync.persoon").await);
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select relname::text, attname::text
           from pg_class
           join pg_attribute on attrelid = pg_class.oid and attnum > 0
          where relnamespace = 'cvsync'::regnamespace and relkind = 'v'",
    )
    .fetch_all(&database)
    .await
    .unwrap();
    assert!(columns.len() > 60);
    let mut withheld = BTreeSet::new();
    for (view, column) in &columns {
        let select = format!("select {column} from cvsync.{view}");
        if !may(&database, analyst, &select).await {
            withheld.insert((view.as_str(), column.as_str()));
        }
    }
    let mut expected: BTreeSet<(&str, &str)> = TYPED
        .iter()
        .flat_map(|(view, columns)| columns.iter().map(move |column| (*view, *column)))
        .collect();
    for (view, column) in &columns {
        if view == "persoon" {
            expected.insert((view, column));
        }
    }
    assert_eq!(withheld, expected);
    // No way round by what the planner knows of them.
    let known = "do $$ begin
        if exists (select from pg_stats where schemaname = 'cvsync' and tablename in ('cv', 'cv_tekst')) then
            raise insufficient_privilege;
        end if;
    end $$";
    sqlx::raw_sql("analyze cvsync.cv")
        .execute(&database)
        .await
        .unwrap();
    assert!(may(&database, analyst, known).await);
}

#[tokio::test]
async fn roles_are_made_by_whoever_may_and_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Options {
        data: folder.path().join("data"),
        ..Options::default()
    })
    .await
    .unwrap();
    let mut admin = PgConnection::connect(&cluster.url_of("postgres"))
        .await
        .unwrap();
    let run = |statement: &str| AssertSqlSafe(statement.to_owned());
    for statement in [
        "create role owner login password 'p'",
        "create database small owner owner",
        "create database a",
        "create database b",
        "create database c",
        "create database d",
    ] {
        sqlx::raw_sql(run(statement))
            .execute(&mut admin)
            .await
            .unwrap();
    }
    let roles =
        "select count(*) from pg_roles where rolname in ('cvsync_reader', 'cvsync_analyst')";

    // An owner who may not create roles: the schema is whole all the same.
    let small = cluster.url_of("small");
    let mut as_owner = url::Url::parse(&small).unwrap();
    as_owner.set_username("owner").unwrap();
    as_owner.set_password(Some("p")).unwrap();
    store(as_owner.as_str()).migrate().await.unwrap();
    let count: i64 = sqlx::query_scalar(roles)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(count, 0);

    // Many databases of one server at once.
    let urls = ["a", "b", "c", "d"].map(|name| cluster.url_of(name));
    let stores = urls.map(|url| store(&url));
    let migrations = stores
        .iter()
        .map(|store| async move { store.migrate().await });
    for done in futures_util::future::join_all(migrations).await {
        done.unwrap();
    }
    let count: i64 = sqlx::query_scalar(roles)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(count, 2);

    // Once they are there, the owner gives what is the owner's to give, as often as wanted.
    let small = PgPool::connect(&small).await.unwrap();
    let select = "select count(*) from cvsync.ervaring";
    assert!(!may(&small, "cvsync_reader", select).await);
    for _ in 0..2 {
        assert!(
            may(
                &small,
                "owner; select cvsync.grant_readers(); commit; begin",
                "select 1"
            )
            .await
        );
    }
    assert!(may(&small, "cvsync_reader", select).await);
    small.close().await;
    admin.close().await.unwrap();
    cluster.stop(Stop::Immediate).await.unwrap();
}
