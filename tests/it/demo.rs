//! `cvsync demo` as a newcomer runs it: with nothing configured, killed, started again, and stopped.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Process, cvsync, output};
use crate::running::until;

fn start(folder: &Path) -> Process {
    let folder = folder.to_str().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = cvsync(&["demo", "--candidates", "300"], [("PATH", path.as_str())]);
    command.args(["--folder", folder]);
    Process::spawn(command, String::new())
}

/// The text between `before` and `after` in the output.
fn between(log: &str, before: &str, after: &str) -> String {
    let rest = log.split_once(before).unwrap().1;
    rest.split_once(after).unwrap().0.to_owned()
}

/// Waits until it says that all is there; returns its latest line.
async fn in_step(demo: &Process) -> String {
    until("it is in step", async || demo.log().contains("In step")).await;
    let log = demo.log();
    log.lines()
        .rfind(|line| line.contains("In step"))
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_demo_shows_the_main_job_survives_a_kill_and_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("demo");
    let demo = start(&folder);
    let line = in_step(&demo).await;
    assert!(line.contains("0 parked"), "{line}");
    let stored = between(&line, "| ", " CVs").replace(',', "");
    let stored: u32 = stored.parse().unwrap();
    assert!(stored > 200, "what has arrived is counted: {line}");

    let log = demo.log();
    let site = between(&log, "status page  ", "/ (");
    let token = between(&log, "for the buttons: ", ")");
    let password = std::fs::read_to_string(folder.join("postgres/password")).unwrap();
    assert!(!log.contains(password.trim()), "{log}");
    let psql = between(&log, "PGPASSFILE=", "\n");
    let shown = tokio::process::Command::new("sh")
        .args(["-c", &format!("PGPASSFILE={psql}")])
        .output()
        .await
        .unwrap();
    assert!(
        String::from_utf8_lossy(&shown.stdout).contains("(5 rows)"),
        "{psql}: {shown:?}"
    );
    // Every command works beside it.
    let file = folder.join("demo.env");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let args = ["--env-file", file.to_str().unwrap(), "status"];
    let (code, status, stderr) = output(&args, []).await;
    assert!(status.starts_with("In step"), "{code:?} {status}{stderr}");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = client.get(&site).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let mirror = format!("{site}/mirror/v1/kandidaten?aantal=5");
    let found = client.get(mirror).bearer_auth(&token).send().await.unwrap();
    let found: Value = serde_json::from_slice(&found.bytes().await.unwrap()).unwrap();
    assert_eq!(found["resultaten"].as_array().unwrap().len(), 5);

    demo.kill().await;
    let mut demo = start(&folder);
    until("it says where it is", async || {
        demo.log().contains("status page  ")
    })
    .await;
    for kept in [&site, &token] {
        assert!(
            demo.log().contains(kept),
            "port and token stay: {}",
            demo.log()
        );
    }
    let line = in_step(&demo).await;
    let new: u32 = between(&line, "since the start: ", " inserted")
        .parse()
        .unwrap();
    assert!(new < 100, "it went on where it was: {line}");

    demo.signal("-INT");
    let ended = demo.ended_within(Duration::from_secs(30)).await;
    assert!(ended.success(), "{}", demo.log());
    assert!(!folder.exists());
}
