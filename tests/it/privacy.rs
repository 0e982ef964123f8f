//! `cvsync privacy report` writes a register of processing.

use serde_json::Value;

use crate::mirror::add_client;
use crate::process::output;
use crate::world::World;

async fn report(world: &World, args: &[&str], own: &[(&str, &str)]) -> String {
    let env = world.environment();
    let env = env.iter().map(|(n, v)| (*n, v.as_str()));
    let args = [&["privacy", "report"], args].concat();
    let (code, stdout, stderr) = output(&args, env.chain(own.iter().copied())).await;
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

#[tokio::test]
async fn register_has_categories_recipients_retention_and_measures_but_no_personal_data() {
    let world = World::new(30).await;
    world.settle();
    world.sync().await;
    add_client(&world, "crm | jobs").await;
    sqlx::raw_sql(
        "update cvsync.cv set first_seen_at = now() - interval '40 days'
          where cv_id in (select cv_id from cvsync.cv limit 3);
         insert into cvsync.feed_consumer (name, seq) values ('index', 0);
         insert into cvsync.leader_setting (name, value, origin, shapes) values
            ('CVSYNC_DOCUMENT_EXCLUDE', '/natuurlijkPersoon/gsm', 'environment', true),
            ('CVSYNC_TOMBSTONE_RETENTION', '7d', 'environment', false)",
    )
    .execute(&world.database)
    .await
    .unwrap();
    let own = [
        ("CVSYNC_DOCUMENT_EXCLUDE", "/ervaringen"),
        ("CVSYNC_ACCESS_RETENTION", "90d"),
        ("CVSYNC_ADMIN_TOKEN", "canary-open-sesame"),
    ];
    let json: Value = serde_json::from_str(&report(&world, &["--json"], &own).await).unwrap();
    let first = &json["first_stored"];
    assert_eq!(first["within_a_year"], 3);
    let live = i64::try_from(world.live()).unwrap();
    assert_eq!(first["within_a_day"], live - 3);
    assert_eq!(json["sampled"], live);
    assert_eq!(
        json["excluded"][0], "/natuurlijkPersoon/gsm",
        "the leader's settings count"
    );
    let categories = json["categories"].as_array().unwrap();
    assert!(
        categories.iter().all(|it| it["category"] != "Other fields"),
        "{categories:?}"
    );
    let retention = json["retention"].as_array().unwrap();
    let kept = |table: &str| {
        let found = retention.iter().find(|it| it["table"] == table);
        found.unwrap_or_else(|| panic!("{table} is missing"))["kept"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(kept("cv_access"), "90 days");
    assert!(
        kept("cv_seen").ends_with("then 7 days"),
        "{}",
        kept("cv_seen")
    );
    for row in retention {
        assert_ne!(row["kept"], "see the comment on the table", "{row}");
    }

    let text = report(&world, &[], &own).await;
    for part in [
        "| Purposes | (fill in) |",
        "| client of the mirror | crm \\| jobs | documents and search results; never used |",
        "| consumer of the change feed | index |",
        "| client of the mirror | holders of the admin token |",
        "everything (superuser)",
        "| Work experience | `ervaringen.functieTitel` |",
        "| at most a year ago | 3 |",
    ] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
    assert!(!text.contains("canary"), "{text}");
    for (id, document) in world.documents().await {
        let person = &document["natuurlijkPersoon"];
        for value in [&person["email"], &person["geboortedatum"]] {
            let value = value.as_str().unwrap_or("-none-");
            assert!(!text.contains(value), "{value}");
        }
        assert!(!text.contains(&id.to_string()));
    }
}

#[tokio::test]
async fn register_of_an_empty_database_is_whole() {
    let world = World::new(1).await;
    let text = report(&world, &[], &[("CVSYNC_HTTP_ADDR", "off")]).await;
    assert!(text.contains("## Security measures"), "{text}");
    assert!(text.contains("in a sample of 0 stored CVs"), "{text}");
}
