//! Reference data: fetched, looked up politely, and never in the way of a sync.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use cvsync::simulator::{Answer, Fault, Operation};
use serde_json::Value;
use uuid::Uuid;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::World;

const DIPLOMAS: Operation = Operation::Reference("diplomas");
const LISTS: [&str; 10] = [
    "rijbewijzen",
    "softskills",
    "attesten",
    "jobdomeinen",
    "sjablonen",
    "competenties",
    "arbeidsstelsels",
    "arbeidsregimes",
    "arbeidscontracten",
    "arbeidscontractduren",
];

fn json(body: &str) -> Fault {
    Fault::Answer(Answer::new(200, body.to_owned()).with("content-type", "application/json"))
}

async fn reference(world: &World, args: &[&str]) -> (Option<i32>, String, String) {
    let env = world.environment();
    let args: Vec<_> = ["reference"].iter().chain(args).copied().collect();
    output(&args, env.iter().map(|(n, v)| (*n, v.as_str()))).await
}

async fn label(world: &World, list: &str, code: &str) -> Option<Option<String>> {
    sqlx::query_scalar("select label from cvsync.reference_code where list = $1 and code = $2")
        .bind(list)
        .bind(code)
        .fetch_optional(&world.database)
        .await
        .unwrap()
}

/// CVs with these documents behind their ids, stored.
async fn with_cvs(opleidingen: &[&str]) -> World {
    let world = World::new(0).await;
    world.source.world(|w| {
        let at = w.now() - TimeDelta::days(1);
        for (n, opleidingen) in (1..).zip(opleidingen) {
            let id = Uuid::from_u128(n);
            let document =
                format!(r#"{{"cvId":"{id}","status":"OPEN","opleidingen":{opleidingen}}}"#);
            w.put(id, document, at);
        }
    });
    world.sync().await;
    world
}

/// The keywords that the source was asked for.
fn keywords(world: &World) -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    world.source.on_request(move |call, _| {
        if call.operation == DIPLOMAS {
            noted
                .lock()
                .unwrap()
                .extend(call.value("trefwoord").map(str::to_owned));
        }
    });
    asked
}

#[tokio::test]
async fn lists_are_fetched_and_the_diplomas_of_cvs_looked_up_once() {
    let world = with_cvs(&[
        r#"[{"naam":"MAE5AHH"},{"naam":"XXX9ZZZ"},{"naam":"Eigen opleiding"},{"naam":7},{},"x",null]"#,
        r#"[{"naam":"MAE5AHH"},{"naam":"MAN1NOO"},{"naam":["MAI5INF"]}]"#,
        r#""geen lijst""#,
        "null",
    ])
    .await;
    let asked = keywords(&world);
    let (code, stdout, stderr) = reference(&world, &["sync", "--json"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(result["lists"].as_array().unwrap().len(), LISTS.len());
    assert_eq!(result["diplomas"]["found"], 2);
    assert_eq!(result["diplomas"]["unknown"], 1);
    assert_eq!(result["diplomas"]["left"], 0);
    let mut keywords = std::mem::take(&mut *asked.lock().unwrap());
    keywords.sort();
    assert_eq!(
        keywords,
        ["MAE5AHH", "MAN1NOO", "XXX9ZZZ"],
        "codes, and each once"
    );
    let b = label(&world, "rijbewijzen", "B").await;
    assert_eq!(b, Some(Some("Rijbewijs B".to_owned())));
    let found = label(&world, "diplomas", "MAE5AHH").await;
    assert_eq!(found, Some(Some("Master TEW: Handelsingenieur".to_owned())));
    assert_eq!(label(&world, "diplomas", "XXX9ZZZ").await, Some(None));
    let of_lists = "select count(distinct list) from cvsync.reference_code";
    assert_eq!(world.count(of_lists).await, 11);
    // All is known: a second run asks for the lists alone.
    let (code, stdout, _) = reference(&world, &["sync"]).await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("diplomas: 0 found"), "{stdout}");
    assert_eq!(asked.lock().unwrap().len(), 0);
    // A code without a label is looked up again after a month; one with a label is not.
    sqlx::query("update cvsync.reference_code set synced_at = now() - interval '31 days'")
        .execute(&world.database)
        .await
        .unwrap();
    reference(&world, &["sync"]).await;
    assert_eq!(*asked.lock().unwrap(), ["XXX9ZZZ"]);
    let job = "select count(*) from cvsync.job_success where job = 'reference'";
    assert_eq!(world.count(job).await, 1);
}

#[tokio::test]
async fn codes_beyond_the_limit_of_a_run_wait_for_the_next_one() {
    let world = with_cvs(&[r#"[{"naam":"MAE5AHH"},{"naam":"MAN1NOO"},{"naam":"MAI5INF"}]"#]).await;
    let asked = keywords(&world);
    let (code, stdout, _) = reference(&world, &["sync", "--limit", "2", "--json"]).await;
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &result["diplomas"]["left"]), (Some(0), &1.into()));
    let job = "select count(*) from cvsync.job_success where job = 'reference'";
    assert_eq!(world.count(job).await, 0, "not all is done");
    let (_, stdout, _) = reference(&world, &["sync", "--limit", "2", "--json"]).await;
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(result["diplomas"]["left"], 0);
    assert_eq!(asked.lock().unwrap().len(), 3);
    assert_eq!(world.count(job).await, 1);
    // At a slow pace.
    let log = world.source.call_log();
    let at: Vec<_> = log
        .iter()
        .filter(|call| call.operation == DIPLOMAS)
        .map(|call| call.at)
        .collect();
    assert!(
        at[1] - at[0] >= Duration::from_millis(900),
        "{:?}",
        at[1] - at[0]
    );
}

#[tokio::test]
async fn a_list_that_fails_stops_no_other_and_nothing_is_forgotten() {
    let world = World::new(0).await;
    assert_eq!(reference(&world, &["sync"]).await.0, Some(0));
    let old = "insert into cvsync.reference_code (list, code, label) values
               ('softskills', 'OUD', 'Oud'), ('attesten', 'OUD', 'Oud'), ('rijbewijzen', 'OUD', 'Oud'),
               ('jobdomeinen', 'JOBCAT10', 'x') on conflict (list, code) do update set label = excluded.label";
    sqlx::query(old).execute(&world.database).await.unwrap();
    let rows = world.rows("reference_code").await;
    let of = Operation::Reference;
    world.source.rule(of("softskills"), Fault::Http500);
    world.source.rule(of("rijbewijzen"), Fault::Html200);
    world.source.rule(of("attesten"), json("[]"));
    world.source.rule(
        of("arbeidsregimes"),
        json(r#"[{"code":"V","naam":"Voltijds"}]"#),
    );
    let (code, stdout, stderr) = reference(&world, &["sync", "--json"]).await;
    assert_eq!(code, Some(1), "{stderr}");
    let result: Value = serde_json::from_str(&stdout).unwrap();
    let failed: Vec<_> = result["lists"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|list| list["error"].is_string())
        .map(|list| list["list"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["rijbewijzen", "softskills", "arbeidsregimes"]);
    assert!(stdout.contains("CVSYNC_REFERENCE_LABEL_FIELD"), "{stdout}");
    assert_eq!(
        world.rows("reference_code").await,
        rows,
        "all keep their row"
    );
    let logistiek = label(&world, "jobdomeinen", "JOBCAT10").await;
    assert_eq!(logistiek, Some(Some("Logistiek en transport".to_owned())));
    let regime = label(&world, "arbeidsregimes", "V").await;
    assert_eq!(regime, Some(Some("Voltijds".to_owned())));
}

#[tokio::test]
async fn paths_and_the_labels_field_can_be_set() {
    let mut world = World::new(0).await;
    let renamed = r#"{"resultaten":[{"code":13,"naam":"Omgaan met stress"}]}"#;
    world
        .source
        .rule(Operation::Reference("softskills"), json(renamed));
    world.set(
        "CVSYNC_REFERENCE_LISTS",
        "vaardigheden=softskills,weg=nergens".to_owned(),
    );
    world.set("CVSYNC_REFERENCE_LABEL_FIELD", "naam".to_owned());
    let (code, stdout, _) = reference(&world, &["sync"]).await;
    assert_eq!(
        code,
        Some(0),
        "a list that VDAB does not have is no failure"
    );
    assert!(
        stdout.contains("unchanged: VDAB has no list at \"weg=nergens\""),
        "{stdout}"
    );
    assert!(stdout.contains("CVSYNC_REFERENCE_LISTS"), "{stdout}");
    let stress = label(&world, "vaardigheden", "13").await;
    assert_eq!(stress, Some(Some("Omgaan met stress".to_owned())));
    assert_eq!(world.source.calls(DIPLOMAS), 0);
}

#[tokio::test]
async fn codes_are_looked_up_by_hand() {
    let mut world = World::new(0).await;
    let lookup = ["lookup", "diplomas", "handelsingenieur"];
    // It needs no database.
    world.set("CVSYNC_DATABASE_URL", "postgres://127.0.0.1:9/x".to_owned());
    let (code, stdout, stderr) = reference(&world, &lookup).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("MAE5AHH  Master TEW: Handelsingenieur"),
        "{stdout}"
    );
    let (_, stdout, _) = reference(&world, &[&lookup[..], &["--json"]].concat()).await;
    let found: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found[0]["code"], "MAE5AHH");
    let (_, stdout, _) = reference(&world, &["lookup", "softskills", "STRESS"]).await;
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    let (_, stdout, _) = reference(&world, &["lookup", "softskills"]).await;
    assert_eq!(stdout.lines().count(), 14, "{stdout}");
    let (code, stdout, _) = reference(&world, &["lookup", "softskills", "'; drop table x"]).await;
    assert_eq!((code, stdout.trim()), (Some(0), "none"));
    for wrong in [
        &["lookup", "studieboom", "x"][..],
        &["lookup", "diplomas", " "],
    ] {
        assert_eq!(reference(&world, wrong).await.0, Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn the_daemon_fetches_it_after_the_first_sync() {
    let world = with_cvs(&[r#"[{"naam":"MAE5AHH"}]"#]).await;
    let daemon = Process::run(&world, &[("CVSYNC_SCHEDULE", "* * * * * *")]);
    let metrics = daemon
        .until("/metrics", |_, body| {
            body.contains(r#"cvsync_last_success_timestamp_seconds{job="reference"}"#)
        })
        .await;
    for template in ["/{referentielijst}", "/diplomas"] {
        let label = format!(r#"url_template="{template}""#);
        assert!(
            metrics.contains(&label),
            "{label} is missing from\n{metrics}"
        );
    }
    let found = label(&world, "diplomas", "MAE5AHH").await;
    assert_eq!(found, Some(Some("Master TEW: Handelsingenieur".to_owned())));
    // Once a week is enough.
    let calls = world.source.calls(DIPLOMAS);
    let bulk = world.bulk_calls();
    until("it has synced for a while", async || {
        world.bulk_calls() > bulk + 8
    })
    .await;
    assert_eq!(world.source.calls(DIPLOMAS), calls);
}

#[tokio::test]
async fn reference_data_that_cannot_be_had_is_no_trouble_of_syncs() {
    for fault in [
        Fault::Stall,
        Fault::Answer(
            Answer::new(
                403,
                r#"{"httpCode":"403","moreInformation":"Not registered"}"#,
            )
            .with("content-type", "application/json"),
        ),
    ] {
        let world = World::new(40).await;
        for list in LISTS {
            world.source.rule(Operation::Reference(list), fault.clone());
        }
        world.source.rule(DIPLOMAS, fault.clone());
        let daemon = Process::run(
            &world,
            &[
                ("CVSYNC_SCHEDULE", "* * * * * *"),
                ("CVSYNC_SETTLE_LAG", "1s"),
            ],
        );
        daemon.until_synced().await;
        let lists = async || world.source.calls(Operation::Reference("rijbewijzen")) > 0;
        until("it has asked for a list", lists).await;
        let id = world.any_live_id();
        world.source.world(|w| w.update(id));
        daemon
            .until("/api/status", |_, body| body.contains(r#""updated":1"#))
            .await;
        assert_eq!(daemon.get("/readyz").await, Some((200, "ready\n".into())));
        let status = daemon.get("/api/status").await.unwrap().1;
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["closed_gates"], serde_json::json!({}));
        world.assert_database_equals_source().await;
    }
}

#[tokio::test]
async fn lists_may_be_under_another_version_of_the_same_host_and_a_missing_one_is_only_noted() {
    let mut world = with_cvs(&[r#"[{"naam":"MAE5AHH"},{"naam":"MAN1NOO"}]"#]).await;
    let env = world.environment();
    let base = env.iter().find(|(name, _)| *name == "CVSYNC_API_BASE_URL");
    let base = base.unwrap().1.clone();
    let lists = |diplomas: &str| {
        let v2 = base.replace("/v1", "/v2");
        format!(
            "{v2}/rijbewijzen,vak={v2}/sjablonen,diplomas={}",
            diplomas.replace("BASE", &v2)
        )
    };
    world.set("CVSYNC_REFERENCE_LISTS", lists("BASE/nergens"));
    let (code, stdout, stderr) = reference(&world, &["sync", "--json"]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert!(
        result["diplomas"]["note"]
            .as_str()
            .unwrap()
            .contains("VDAB has no list")
    );
    assert_eq!(
        (&result["diplomas"]["left"], &result["diplomas"]["error"]),
        (&2.into(), &Value::Null)
    );
    assert_eq!(
        world.rows("reference_code").await,
        8 + 18,
        "no code was noted as unknown"
    );
    let job = "select count(*) from cvsync.job_success where job = 'reference'";
    assert_eq!(world.count(job).await, 1);
    let lasser = label(&world, "vak", "H291301-1").await;
    assert_eq!(lasser, Some(Some("Lasser".to_owned())));
    world.set("CVSYNC_REFERENCE_LISTS", lists("BASE/diplomas"));
    assert_eq!(reference(&world, &["sync"]).await.0, Some(0));
    let found = label(&world, "diplomas", "MAE5AHH").await;
    assert_eq!(found, Some(Some("Master TEW: Handelsingenieur".to_owned())));
    // The key is sent to no other host.
    let mut env = world.environment();
    env.retain(|(name, _)| *name != "CVSYNC_REFERENCE_LISTS");
    env.push((
        "CVSYNC_REFERENCE_LISTS",
        "https://example.com/rijbewijzen".to_owned(),
    ));
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    let (code, _, stderr) = output(&["reference", "sync"], env).await;
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("must be on the host of CVSYNC_API_BASE_URL"),
        "{stderr}"
    );
}

/// Regions and languages have no list.
#[tokio::test]
async fn nearly_all_codes_of_the_simulator_have_a_label() {
    let world = World::new(300).await;
    world.sync().await;
    let (code, stdout, stderr) = reference(&world, &["sync"]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for (what, labelled) in [
        ("opleiding", "select avg((label is not null)::int)::float8 from cvsync.opleiding where naam ~ '^[A-Z]{3}[0-9]'"),
        ("attestering", "select avg((label is not null)::int)::float8 from cvsync.attestering where code is not null"),
        ("competentie", "select avg((label is not null)::int)::float8 from cvsync.competentie
                          where type in ('softSkill', 'technischeCompetentie') and code is not null"),
        ("gewenste_functie", "select avg((label is not null)::int)::float8 from cvsync.gewenste_functie where beroepsprofiel_code is not null"),
        ("gewenste_job", "select avg((label is not null)::int)::float8 from cvsync.gewenste_job
                           cross join lateral unnest(arbeids_regimes_labels || arbeids_stelsels_labels) as label"),
    ] {
        let share: f64 = sqlx::query_scalar(labelled).fetch_one(&world.database).await.unwrap();
        assert!(share >= 0.99, "{what}: {share}");
    }
}
