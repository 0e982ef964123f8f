//! One verdict in four places: the page, `/api/status`, `/readyz` and `cvsync status`, also on a machine that knows the database alone.
//! Without the admin token, errors are classes.

use std::time::Duration;

use cvsync::simulator::{Fault, Operation};
use serde_json::Value;
use sqlx::Executor;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::World;

const OFTEN: (&str, &str) = ("CVSYNC_SCHEDULE", "* * * * * *");

/// `cvsync status` with the URL of the database and nothing else: exit code and output.
async fn status(world: &World) -> (Option<i32>, String) {
    let url = ("CVSYNC_DATABASE_URL", world.url());
    let (code, stdout, stderr) = output(&["status"], [url]).await;
    (code, stdout + &stderr)
}

/// Waits until the light is red in all four places, each with this headline.
async fn until_red_everywhere(world: &World, daemon: &Process, headline: &str) {
    let json = daemon
        .until("/api/status", |_, body| {
            let status: Value = serde_json::from_str(body).unwrap();
            let first = status["health"]["first"]["headline"].as_str().unwrap();
            first.contains(headline)
        })
        .await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["light"], &json["health"]["in_step"]),
        (&"red".into(), &false.into())
    );
    daemon
        .until("/readyz", |_, body| body.contains(headline))
        .await;
    daemon
        .until("/", |_, body| {
            body.contains(headline) && body.contains("data-light=\"red\"")
        })
        .await;
    until("the command says so", async || {
        let (code, told) = status(world).await;
        code == Some(1) && told.contains(headline) && told.contains("\nstate          red")
    })
    .await;
}

async fn two_years_behind(world: &World) {
    let back = "update cvsync.watermark set position = position - interval '740 days';
                update cvsync.live_edge set position = position - interval '740 days'";
    world.database.execute(back).await.unwrap();
}

#[tokio::test]
async fn refused_key_is_red_everywhere_and_says_what_to_do() {
    let world = World::new(10).await;
    let daemon = Process::run(&world, &[OFTEN]);
    daemon.until_synced().await;
    world
        .source
        .settings(|settings| "renewed".clone_into(&mut settings.key));
    until_red_everywhere(&world, &daemon, "VDAB refuses the key (").await;
    assert_eq!(daemon.get("/readyz").await.unwrap().0, 503);
    let (_, told) = status(&world).await;
    for part in [
        "VDAB refuses the key (401: ",
        "CVSYNC_API_KEY",
        "\nnext           Retrying ",
        "\naction         Ask VDAB",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[tokio::test]
async fn copy_that_is_years_behind_is_red_everywhere_at_once_and_ready() {
    let world = World::new(10).await;
    let daemon = Process::run(&world, &[]);
    daemon.until_synced().await;
    world
        .source
        .rule(Operation::Bulk, Fault::Slow(Duration::from_secs(8)));
    two_years_behind(&world).await;
    until_red_everywhere(&world, &daemon, "Behind VDAB by 2 years").await;
    assert_eq!(daemon.get("/readyz").await.unwrap().0, 200);
}

#[tokio::test]
async fn outage_backlog_and_stuck_consumer_leave_an_instance_ready() {
    let world = World::new(10).await;
    world.sync().await;
    two_years_behind(&world).await;
    world
        .database
        .execute(
            "insert into cvsync.feed_consumer (name, seq) values ('nightly', 0);
             update cvsync.cv_change set at = at - interval '26 hours';",
        )
        .await
        .unwrap();
    let retry_after = Some("60".to_owned());
    world
        .source
        .rule(Operation::Bulk, Fault::Http503 { retry_after });
    let daemon = Process::run(&world, &[]);
    let all = [
        "VDAB is unavailable",
        "Behind VDAB by 2 years",
        "the consumer nightly is",
    ];
    let body = daemon
        .until("/readyz", |_, body| {
            all.iter().all(|part| body.contains(part))
        })
        .await;
    assert!(body.starts_with("ready\n"), "{body}");
    assert_eq!(daemon.get("/readyz").await.unwrap().0, 200);
    let (_, metrics) = daemon.get("/metrics").await.unwrap();
    assert!(metrics.contains("\ncvsync_ready 1\n"), "{metrics}");
}
