//! A login without rights blocks nobody, and a process that blocks another is named.
//!
//! Needs: postgres

use std::time::Duration;

use cvsync::store::StoreError;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;
use uuid::Uuid;

use crate::process::output;
use crate::world::{World, new_database, store, transaction};

/// A login of its own without a single grant.
async fn stranger(database_url: &str) -> (String, PgConnection) {
    let name = format!("stranger_{}", Uuid::new_v4().simple());
    let mut admin = PgConnection::connect(database_url).await.unwrap();
    let create = format!("create role {name} login password 'secret'");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut admin)
        .await
        .unwrap();
    let mut url = Url::parse(database_url).unwrap();
    url.set_username(&name).unwrap();
    url.set_password(Some("secret")).unwrap();
    (name, PgConnection::connect(url.as_str()).await.unwrap())
}

#[tokio::test]
async fn stranger_that_holds_advisory_locks_blocks_neither_a_migration_nor_a_sync() {
    let url = new_database().await;
    let (_, mut stranger) = stranger(&url).await;
    for key in ["cvsync.cv_change", "cvsync.migrate"] {
        sqlx::query("select pg_advisory_lock(hashtext($1))")
            .bind(key)
            .execute(&mut stranger)
            .await
            .unwrap();
    }
    let migrated = output(&["migrate"], [("CVSYNC_DATABASE_URL", url.as_str())]);
    let migrated = tokio::time::timeout(Duration::from_secs(50), migrated).await;
    let (code, _, stderr) = migrated.expect("it waits for no advisory lock");
    assert_eq!(code, Some(0), "{stderr}");
    let world = World::on(
        &url,
        cvsync::simulator::Options {
            candidates: 20,
            ..Default::default()
        },
    )
    .await;
    world.sync().await;
    world.assert_database_equals_source().await;
    sqlx::raw_sql("select cvsync.grant_readers()")
        .execute(&world.database)
        .await
        .unwrap();
    let locking = "select count(*) from pg_proc
                    where pronamespace = 'cvsync'::regnamespace and prosrc like '%pg_advisory%'";
    assert_eq!(world.count(locking).await, 0);
    drop(stranger);
}

#[tokio::test]
async fn stranger_can_lock_nothing_of_cvsync() {
    let world = World::new(5).await;
    world.sync().await;
    let (_, mut stranger) = stranger(world.url()).await;
    for statement in [
        "do $$ begin lock table cvsync.migration; end $$",
        "do $$ begin lock table cvsync.cv in access share mode; end $$",
        "select from cvsync.feed for share",
        "select cvsync.changes_complete_until()",
    ] {
        let error = sqlx::raw_sql(statement).execute(&mut stranger).await;
        let error = error.unwrap_err();
        let code = error.as_database_error().unwrap().code().unwrap();
        assert_eq!(code, "42501", "{statement}: {error}");
    }
}

#[tokio::test]
async fn process_that_holds_a_lock_is_named() {
    let url = new_database().await;
    let store = store(&url);
    store.migrate().await.unwrap();
    let mut other = transaction(&url).await.unwrap();
    let (pid, user): (i32, String) = sqlx::query_as(
        "select pg_backend_pid(), current_user::text from cvsync.feed for update of feed",
    )
    .fetch_one(&mut *other)
    .await
    .unwrap();
    let wait = async |tx: &mut PgConnection| {
        sqlx::raw_sql("select from cvsync.feed for update")
            .execute(tx)
            .await?;
        Ok(())
    };
    let store = store.within(Duration::from_secs(6));
    let error: StoreError = store.write("a test", wait).await.unwrap_err();
    let named = format!("process {pid} of user {user}");
    assert!(error.to_string().contains(&named), "{error}");
    assert!(
        error.to_string().contains("pg_terminate_backend"),
        "{error}"
    );
    other.rollback().await.unwrap();
}

#[tokio::test]
async fn migration_that_must_wait_names_the_process_and_gives_up() {
    let url = new_database().await;
    let store = store(&url);
    store.migrate().await.unwrap();
    let mut other = transaction(&url).await.unwrap();
    let older =
        "delete from cvsync.migration where version = (select max(version) from cvsync.migration)";
    sqlx::raw_sql(older).execute(&mut *other).await.unwrap();
    other.commit().await.unwrap();
    let mut other = transaction(&url).await.unwrap();
    let lock = "lock table cvsync.migration in share row exclusive mode";
    sqlx::raw_sql(lock).execute(&mut *other).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut *other)
        .await
        .unwrap();
    let error = store.migrate().await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("process {pid} of user ")),
        "{error}"
    );
    other.rollback().await.unwrap();
    store.migrate().await.unwrap();
}
