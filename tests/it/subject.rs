//! `cvsync subject` answers a candidate's access request.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::process::output;
use crate::world::World;

async fn subject(world: &World, args: &[&str]) -> (Option<i32>, String, String) {
    let env = world.environment();
    let args = [&["subject"], args].concat();
    output(&args, env.iter().map(|(n, v)| (*n, v.as_str()))).await
}

async fn answer(world: &World, id: Uuid, args: &[&str]) -> Value {
    let id = id.to_string();
    let args = [&[&*id, "--json"], args].concat();
    let (code, stdout, stderr) = subject(world, &args).await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

async fn run(world: &World, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into()))
        .execute(&world.database)
        .await
        .unwrap();
}

/// Two consumers, of which one is behind the change of this CV, and two readers.
async fn make_known(world: &World, id: Uuid) {
    run(
        world,
        format!(
            "insert into cvsync.feed_consumer (name, seq)
             select 'index', max(seq) from cvsync.cv_change union all select 'late', 0;
             insert into cvsync.cv_access (cv_id, at, client, fields) values
                ('{id}', '2026-01-01T08:00:00Z', 'crm', null),
                ('{id}', '2026-01-02T08:00:00Z', 'crm', '{{ervaringen,opleidingen}}'),
                ('{id}', '2026-01-03T08:00:00Z', 'crm', '{{ervaringen}}'),
                ('{id}', '2026-01-03T08:00:00Z', '', '{{}}'),
                (gen_random_uuid(), '2026-01-03T08:00:00Z', 'another', null)"
        ),
    )
    .await;
}

#[tokio::test]
async fn subject_learns_what_is_held_who_received_changes_and_who_read_it() {
    let world = World::new(20).await;
    world.settle();
    world.sync().await;
    let id = world.any_live_id();
    make_known(&world, id).await;
    let document = world.documents().await.remove(&id).unwrap();

    let answered = answer(&world, id, &["--document"]).await;
    assert_eq!(answered["document"], document);
    let answered = answer(&world, id, &[]).await;
    assert_eq!(answered["document"], Value::Null);
    assert_eq!(answered["seen"]["gone"], false);
    assert_eq!(answered["changes"]["upserts"], 1);
    let consumers = answered["consumers"].as_array().unwrap();
    let consumer = |name| consumers.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!(consumer("index")["waiting"], 0);
    assert!(consumer("index")["seq"].is_i64());
    assert_eq!(consumer("late")["waiting"], 1);
    assert_eq!(consumer("late")["seq"], Value::Null);
    assert_eq!(
        answered["read"],
        json!([
            {"client": "", "times": 1, "first_at": "2026-01-03T08:00:00Z",
             "last_at": "2026-01-03T08:00:00Z", "document": false, "fields": []},
            {"client": "crm", "times": 3, "first_at": "2026-01-01T08:00:00Z",
             "last_at": "2026-01-03T08:00:00Z", "document": true,
             "fields": ["ervaringen", "opleidingen"]},
        ])
    );
    let fields = answered["stored"]["fields"].as_array().unwrap();
    let person = &document["natuurlijkPersoon"];
    assert!(
        fields
            .iter()
            .any(|it| it["field"] == "natuurlijkPersoon.voornaam")
    );

    let (code, text, stderr) = subject(&world, &[&id.to_string()]).await;
    assert_eq!(code, Some(0), "{stderr}");
    for part in [
        "natuurlijkPersoon.voornaam",
        "index: processed change #",
        "late: has processed no change",
        "crm: 3 times, from 2026-01-01T08:00:00.000Z",
        "the document, ervaringen, opleidingen",
        "the admin token: 1 time",
    ] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
    let name = person["achternaam"].as_str().unwrap();
    assert!(
        !text.contains(name),
        "without --document no value is printed:\n{text}"
    );
}

#[tokio::test]
async fn subject_that_is_deleted_leaves_its_id_and_its_readers() {
    let world = World::new(20).await;
    world.settle();
    world.sync().await;
    let id = world.any_live_id();
    make_known(&world, id).await;
    world.source.world(|world| world.remove(id));
    world.settle();
    world.sync().await;
    let answered = answer(&world, id, &["--document"]).await;
    assert_eq!(
        (&answered["stored"], &answered["document"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(answered["seen"]["gone"], true);
    assert_eq!(
        (
            &answered["changes"]["upserts"],
            &answered["changes"]["deletes"]
        ),
        (&json!(1), &json!(1))
    );
    assert_eq!(answered["read"].as_array().unwrap().len(), 2);
    let (_, text, _) = subject(&world, &[&id.to_string()]).await;
    assert!(
        text.contains("Only its id and this time are held."),
        "{text}"
    );

    let suppress = [
        "suppressed",
        "add",
        &id.to_string(),
        "--reason",
        "objection",
        "--hashed",
    ];
    let env = world.environment();
    let (code, _, stderr) = output(&suppress, env.iter().map(|(n, v)| (*n, v.as_str()))).await;
    assert_eq!(code, Some(0), "{stderr}");
    let answered = answer(&world, id, &[]).await;
    assert_eq!(answered["suppressed"]["reason"], "objection");
    let (_, text, _) = subject(&world, &[&id.to_string()]).await;
    assert!(
        text.contains("(reason: objection), without an end"),
        "{text}"
    );

    let answered = answer(&world, Uuid::nil(), &[]).await;
    assert_eq!(
        (&answered["stored"], &answered["seen"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(answered["read"], json!([]));
    let (code, _, stderr) = subject(&world, &["4711"]).await;
    assert_eq!(code, Some(2), "{stderr}");
}

#[tokio::test]
async fn subject_reads_no_table_from_end_to_end() {
    let world = World::new(5).await;
    world.settle();
    world.sync().await;
    run(
        &world,
        "insert into cvsync.cv_access (cv_id, at, client)
         select gen_random_uuid(), now(), 'crm' from generate_series(1, 20000);
         insert into cvsync.cv_change (seq, cv_id, kind, at)
         select n, gen_random_uuid(), 'upsert', now() from generate_series(1, 20000) as n;
         insert into cvsync.cv_seen (cv_id, as_of, gone)
         select gen_random_uuid(), now(), true from generate_series(1, 20000);
         insert into cvsync.cv (cv_id, document, content_hash)
         select gen_random_uuid(), '{}', sha256(n::text::bytea) from generate_series(1, 20000) as n;
         insert into cvsync.cv_search (cv_id, codes, tekst)
         select cv_id, '{}', '' from cvsync.cv on conflict do nothing;
         analyze",
    )
    .await;
    let scans = "select coalesce(sum(seq_scan), 0)::bigint from pg_stat_user_tables
                  where relname in ('cv', 'cv_access', 'cv_change', 'cv_seen', 'cv_search')";
    let before = world.count(scans).await;
    answer(&world, world.any_live_id(), &[]).await;
    assert_eq!(world.count(scans).await, before);
}
