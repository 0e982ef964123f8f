//! The options that commands share: files of variables, times, ids, `--force`.

use std::fs;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::process::{cvsync, output};
use crate::world::{World, new_database};

fn pairs<'a>(env: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    env.iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

#[tokio::test]
async fn a_file_of_variables_configures_a_command_before_and_after_its_name() {
    let url = new_database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cvsync.env");
    let text = format!(
        "\u{feff}# the database\r\nexport CVSYNC_DATABASE_URL=\"{url}\"\r\nCVSYNC_WORKERS=3 # few\r\nOTHER=x\r\n"
    );
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (code, _, stderr) = output(&["--env-file", file, "migrate"], []).await;
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stdout, stderr) = output(&["parked", "list", "--env-file", file], []).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "none\n"), "{stderr}");
    let env = [("CVSYNC_WORKERS", "5"), ("CVSYNC_API_KEY", "k")];
    let (_, stdout, _) = output(&["--env-file", file, "config", "show"], env).await;
    assert!(
        stdout.contains("CVSYNC_WORKERS=5  (environment)"),
        "{stdout}"
    );
    // A pipe, as the shell makes it for `<(command)`.
    let mut piped = cvsync(&["--env-file", "/dev/stdin", "parked", "list"], [])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = format!("CVSYNC_DATABASE_URL={url}\n");
    let mut stdin = piped.stdin.take().unwrap();
    stdin.write_all(line.as_bytes()).await.unwrap();
    drop(stdin);
    let done = piped.wait_with_output().await.unwrap();
    assert_eq!(done.stdout, b"none\n");
}

#[tokio::test]
async fn a_file_of_variables_that_is_wrong_is_refused_without_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("twice"), "CVSYNC_LOG=info\nCVSYNC_LOG=warn\n").unwrap();
    fs::write(path("unknown"), "CVSYNC_WROKERS=canary\n").unwrap();
    fs::write(path("lines"), "canary\nCVSYNC_API_KEY=\"canary\n").unwrap();
    fs::write(path("latin"), b"CVSYNC_API_KEY=canary\xe9\n").unwrap();
    let pipe = std::process::Command::new("sh")
        .args(["-c", "mkfifo \"$0\"", &path("pipe")])
        .status();
    assert!(pipe.unwrap().success());
    for (name, words) in [
        (
            "twice",
            &["line 2: CVSYNC_LOG is already set in line 1"][..],
        ),
        ("unknown", &["did you mean CVSYNC_WORKERS?"]),
        (
            "lines",
            &[
                "line 1: it must be NAME=value",
                "line 2: the closing quotation mark is missing",
            ],
        ),
        ("latin", &["is not UTF-8 text"]),
        ("missing", &["cannot be read: No such file"]),
        (".", &["Is a directory"]),
        ("pipe", &["gave no content within 10 s"]),
    ] {
        let (code, stdout, stderr) = output(&["--env-file", &path(name), "check"], []).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{name}: {stderr}");
        for words in words {
            assert!(stderr.contains(words), "{name}: {stderr}");
        }
        assert!(!stderr.contains("canary"), "{stderr}");
    }
}

#[tokio::test]
async fn a_run_by_hand_during_a_pause_needs_force() {
    let world = World::new(20).await;
    let env = world.environment();
    assert_eq!(output(&["migrate"], pairs(&env)).await.0, Some(0));
    let (code, ..) = output(
        &["pause", "--until", "1d", "--reason", "backup"],
        pairs(&env),
    )
    .await;
    assert_eq!(code, Some(0));
    let id = world.any_live_id().to_string();
    for args in [
        &["sync"][..],
        &["backfill", "--van", "2h", "--tot", "1h"],
        &["resync", &id],
        &["reconcile"],
    ] {
        let (code, _, stderr) = output(args, pairs(&env)).await;
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        for words in [
            "syncing is paused since",
            "(reason: backup)",
            "`cvsync resume`",
            "--force",
        ] {
            assert!(stderr.contains(words), "{args:?}: {stderr}");
        }
    }
    assert_eq!(world.rows("cv").await, 0);
    let (code, stdout, stderr) = output(&["sync", "--dry-run"], pairs(&env)).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (code, stdout, stderr) = output(&["sync", "--force"], pairs(&env)).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(world.rows("cv").await as usize, world.live());
    let (code, stdout, _) = output(&["status"], pairs(&env)).await;
    assert_eq!(code, Some(1), "the pause still holds: {stdout}");
}

#[tokio::test]
async fn decisions_take_ids_or_all() {
    let url = new_database().await;
    let env = [("CVSYNC_DATABASE_URL", url.as_str())];
    assert_eq!(output(&["migrate"], env).await.0, Some(0));
    for command in [["parked", "drop"], ["deletes", "discard"]] {
        let (code, _, stderr) = output(&command, env).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("or --all"), "{stderr}");
        let both = [
            command[0],
            command[1],
            "--all",
            "30dbfef1-59df-4521-a111-964bf0208e68",
        ];
        assert_eq!(output(&both, env).await.0, Some(2));
    }
    let park = "insert into cvsync.parked_cv (cv_id, error_class, as_of, next_attempt_at)
                select id, 'server_error', now(), now() + interval '1 day'
                  from unnest(array['30dbfef1-59df-4521-a111-964bf0208e68', '30dbfef1-59df-4521-a111-964bf0208e69']) as id";
    let mut tx = crate::world::transaction(&url).await.unwrap();
    sqlx::raw_sql(park).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let printed = async |args: &[&str]| -> (Value, String) {
        let (code, stdout, stderr) = output(args, env).await;
        assert_eq!(code, Some(0), "{stderr}");
        (serde_json::from_str(&stdout).unwrap(), stderr)
    };
    // A doubled id counts once.
    let id = "30dbfef1-59df-4521-a111-964bf0208e68";
    let (retried, _) = printed(&["parked", "retry", id, id, "--json"]).await;
    assert_eq!(retried["retried"], 1);
    let (retried, stderr) = printed(&["parked", "retry", "--json"]).await;
    assert_eq!(retried["retried"], 2);
    assert!(stderr.contains("write --all"), "{stderr}");
    let (retried, _) = printed(&["parked", "retry", "--all", "--json"]).await;
    assert_eq!(retried["retried"], 2);
    let (dropped, _) = printed(&["parked", "drop", "--all", "--json"]).await;
    assert_eq!(dropped["dropped"], 2);
}

#[tokio::test]
async fn help_has_groups_and_completions_know_the_names_of_values() {
    for flag in ["-h", "--help"] {
        let (code, help, _) = output(&[flag], []).await;
        assert_eq!(code, Some(0));
        for words in [
            "Start and try:\n  run ",
            "\nSync:\n  sync ",
            "\nOptions:\n",
            "--env-file <FILE>",
        ] {
            assert!(help.contains(words), "{help}");
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = output(&["completions", shell], []).await;
        assert_eq!(code, Some(0));
        for word in ["list-marked", "http-500", "missing-detail", "env-file"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[tokio::test]
async fn status_knows_a_leader_on_another_machine() {
    let url = new_database().await;
    let env = [("CVSYNC_DATABASE_URL", url.as_str())];
    assert_eq!(output(&["migrate"], env).await.0, Some(0));
    let lead = r#"insert into cvsync.lease (name, holder, epoch, expires_at)
                  values ('sync', 'elsewhere-7-00ff', 1, now() + interval '1 hour');
                  insert into cvsync.instance (name, version, memory)
                  values ('elsewhere-7-00ff', '1', '{"leads_for_seconds": 60, "run": {"done": 1200, "expected": 3000, "eta_seconds": 60}}')"#;
    let mut tx = crate::world::transaction(&url).await.unwrap();
    sqlx::raw_sql(lead).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let (_, status, stderr) = output(&["status"], env).await;
    for line in [
        "leader         elsewhere-7-00ff, on another machine\n",
        "progress       1,200 of about 3,000 CVs, 1m left\n",
    ] {
        assert!(status.contains(line), "{status}{stderr}");
    }
}
