//! The mirror records which client was given which CV.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName, IF_NONE_MATCH};
use reqwest::{Method, Response};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::mirror::{KEY, add_client};
use crate::process::Process;
use crate::running::until;
use crate::world::World;

const NEVER: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
const TOKEN: (&str, &str) = ("CVSYNC_ADMIN_TOKEN", "canary-open-sesame");

/// A daemon with one client of its mirror, `crm`.
struct Mirror {
    world: World,
    daemon: Process,
    key: String,
    http: reqwest::Client,
}

impl Mirror {
    async fn new(candidates: u32, env: &[(&str, &str)]) -> Self {
        let world = World::new(candidates).await;
        let key = add_client(&world, "crm").await;
        let daemon = Process::run(&world, &[&[NEVER, TOKEN], env].concat());
        daemon.until_synced().await;
        world.until_searchable().await;
        Self {
            world,
            daemon,
            key,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Response {
        let url = format!(
            "http://{}/mirror/v1/kandidaten{path}",
            self.daemon.address()
        );
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path, &[(KEY, &self.key)]).await
    }

    /// All rows: CV, client and fields, oldest first.
    async fn recorded(&self) -> Vec<(Uuid, String, Option<String>)> {
        sqlx::query_as(
            "select cv_id, client, array_to_string(fields, '+') from cvsync.cv_access order by at, cv_id",
        )
        .fetch_all(&self.world.database)
        .await
        .unwrap()
    }

    async fn until_recorded(&self, rows: i64) {
        until("accesses are recorded", async || {
            self.world.rows("cv_access").await == rows
        })
        .await;
    }
}

#[tokio::test]
async fn each_document_and_field_that_a_client_is_given_is_recorded() {
    let mirror = Mirror::new(20, &[]).await;
    let id = mirror.world.any_live_id();
    let detail = format!("/{id}");
    let before: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(&mirror.world.database)
        .await
        .unwrap();
    let tag = mirror.get(&detail).await.headers()["etag"].clone();
    mirror.until_recorded(1).await;

    let bearer = format!("Bearer {}", TOKEN.1);
    mirror
        .ask(Method::GET, &detail, &[(AUTHORIZATION, &bearer)])
        .await;
    let found = mirror.get("?aantal=2&velden=ervaringen,talen").await;
    assert_eq!(found.status(), 400, "an unknown field gives nothing");
    let found = mirror.get("?aantal=2&velden=ervaringen,gewensteJob").await;
    assert_eq!(found.status(), 200);
    assert_eq!(mirror.get("?aantal=3").await.status(), 200);

    // None of these gives anything new.
    let known = [
        (KEY, mirror.key.as_str()),
        (IF_NONE_MATCH, tag.to_str().unwrap()),
    ];
    assert_eq!(mirror.ask(Method::GET, &detail, &known).await.status(), 304);
    let head = mirror.ask(Method::HEAD, &detail, &known[..1]).await;
    assert_eq!(head.status(), 200);
    assert_eq!(mirror.get(&format!("/{}", Uuid::nil())).await.status(), 404);
    assert_eq!(mirror.ask(Method::GET, &detail, &[]).await.status(), 401);
    let bulk = "/bulk?van=2020-01-01T00:00:00Z&tot=2026-01-01T00:00:00Z";
    assert_eq!(mirror.get(bulk).await.status(), 200);
    // The last request of all, whose record is written after the others.
    mirror.get(&detail).await;
    mirror.until_recorded(8).await;

    let recorded = mirror.recorded().await;
    let whole: Vec<_> = recorded
        .iter()
        .filter(|(_, _, fields)| fields.is_none())
        .collect();
    let clients: Vec<_> = whole
        .iter()
        .map(|(cv, client, _)| (*cv, client.as_str()))
        .collect();
    assert_eq!(clients, [(id, "crm"), (id, ""), (id, "crm")]);
    let in_part = |wanted: &str| {
        let rows = recorded
            .iter()
            .filter(|(_, _, fields)| fields.as_deref() == Some(wanted));
        rows.filter(|(_, client, _)| client == "crm").count()
    };
    assert_eq!((in_part("ervaringen+gewensteJob"), in_part("")), (2, 3));
    let late: i64 = sqlx::query_scalar(
        "select count(*) from cvsync.cv_access where at not between $1 and clock_timestamp()",
    )
    .bind(before)
    .fetch_one(&mirror.world.database)
    .await
    .unwrap();
    assert_eq!(late, 0);
}

#[tokio::test]
async fn stop_of_the_daemon_loses_no_record_of_what_was_given() {
    let mut mirror = Mirror::new(20, &[]).await;
    for _ in 0..3 {
        let given = mirror.get("?aantal=20").await;
        assert_eq!(given.status(), 200);
    }
    mirror.daemon.signal("-TERM");
    mirror.daemon.ended_within(Duration::from_secs(10)).await;
    let given = i64::try_from(mirror.world.live()).unwrap() * 3;
    assert_eq!(mirror.world.rows("cv_access").await, given);
}

#[tokio::test]
async fn mirror_gives_no_more_than_it_can_record_and_records_all_once_it_can() {
    let mirror = Mirror::new(220, &[]).await;
    let mut blocker = PgConnection::connect(mirror.world.url()).await.unwrap();
    sqlx::raw_sql("begin; lock table cvsync.cv_access in exclusive mode")
        .execute(&mut blocker)
        .await
        .unwrap();
    let mut given = 0;
    let refused = loop {
        let answer = mirror.get("?aantal=200").await;
        if answer.status() != 200 {
            break answer;
        }
        given += 200;
        assert!(
            given <= 30_000,
            "nothing bounds what is given without a record"
        );
    };
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(given >= 5_000, "{given}");
    let metrics = mirror.daemon.get("/metrics").await.unwrap().1;
    assert!(
        metrics.contains(&format!("cvsync_access_waiting {given}")),
        "{metrics}"
    );
    let count = r#"cvsync_access_records_total{outcome="refused"} 200"#;
    assert!(metrics.contains(count), "{metrics}");

    // The server ends the session of a transaction that waits too long; the test does it sooner.
    sqlx::raw_sql("rollback")
        .execute(&mut blocker)
        .await
        .unwrap();
    mirror.until_recorded(given).await;
    assert_eq!(mirror.get("?aantal=1").await.status(), 200);
    mirror.until_recorded(given + 1).await;
    let count = format!(
        r#"cvsync_access_records_total{{outcome="written"}} {}"#,
        given + 1
    );
    mirror
        .daemon
        .until("/metrics", |_, text| text.contains(&count))
        .await;
}

#[tokio::test]
async fn records_go_after_their_retention_and_off_records_nothing() {
    let mirror = Mirror::new(20, &[("CVSYNC_ACCESS_RETENTION", "off")]).await;
    let id = mirror.world.any_live_id();
    assert_eq!(mirror.get(&format!("/{id}")).await.status(), 200);
    let metrics = mirror.daemon.get("/metrics").await.unwrap().1;
    let count = r#"cvsync_access_records_total{outcome="written"} 0"#;
    assert!(metrics.contains(count), "{metrics}");
    sqlx::query(
        "insert into cvsync.cv_access (cv_id, at, client)
         select gen_random_uuid(), now() - interval '25 hours', 'crm' from generate_series(1, 12000)
         union all
         select $1, now() - interval '23 hours', 'crm'",
    )
    .bind(id)
    .execute(&mirror.world.database)
    .await
    .unwrap();
    let Mirror { world, daemon, .. } = mirror;
    daemon.kill().await;
    assert_eq!(world.rows("cv_access").await, 12_001);
    let _daemon = Process::run(&world, &[NEVER, ("CVSYNC_ACCESS_RETENTION", "24h")]);
    until("old records are removed", async || {
        world.rows("cv_access").await == 1
    })
    .await;
    // A CV that is deleted keeps its record.
    world.source.world(|world| world.remove(id));
    world.settle();
    world.sync().await;
    assert_eq!(
        world.count("select count(*) from cvsync.cv_access").await,
        1
    );
}
