//! `cvsync status`

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::beside::ask;
use super::output::say;
use super::tool::database;
use super::{Failed, Interrupted, Output, STOP};
use crate::clock::Clock;
use crate::config::{self, Env};
use crate::daemon::cancel_on_signal_within;
use crate::model::window::instant;
use crate::store::feed_consumer::{self, Consumer};
use crate::store::pause::{self, Pause};
use crate::store::{
    Store, cv, held_delete, history, job_success, leader_setting, lease, parked_cv, watermark,
};
use crate::sync::Snapshot;
use crate::terminal::rate;

/// Between two looks with --watch.
const PERIOD: Duration = Duration::from_secs(2);

/// How long the daemon may take to say what it is at.
const DAEMON: Duration = Duration::from_secs(1);

/// Lines about consumers of the feed; `cvsync feed list` has all.
const CONSUMERS: i64 = 5;

/// Where a terminal's screen begins, and nothing on it.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Watermark, lag, progress, quota use, leader, parked CVs, held deletes; exits with 0 only if in step
///
/// Reads the database, so it works wherever the database can be reached, with a daemon that runs or without one. It judges by the
/// schedule and the settle lag that the leader recorded there, or by its own where none has led. What a run is at
/// and what is in its way only the daemon knows: it is asked at CVSYNC_HTTP_ADDR, if it runs on this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Status {
    in_step: bool,
    watermark: Option<DateTime<Utc>>,
    lag_seconds: Option<i64>,
    leader: Option<String>,
    stored: i64,
    parked: BTreeMap<String, i64>,
    held_deletes: i64,
    consumers: Vec<Consumer>,
    pause: Option<Pause>,
    last_success: BTreeMap<String, DateTime<Utc>>,
    /// Calls to VDAB in the latest minute that is known.
    calls_a_minute: Option<i64>,
    daemon: Option<Daemon>,
}

/// What the daemon on this machine says, if there is one.
#[derive(Debug, Serialize, Deserialize)]
struct Daemon {
    reasons: Vec<String>,
    run: Option<Snapshot>,
    quota_per_minute: u32,
}

pub async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    config::Sync::load(env)?;
    let token = cancel_on_signal_within(STOP)?;
    loop {
        let read = token.run_until_cancelled(read(&store, env)).await;
        let mut status = read.ok_or(Interrupted)??;
        status.daemon = daemon(env).await.ok();
        if args.watch && io::stdout().is_terminal() {
            say(CLEAR);
        }
        args.output.print(&status, text);
        if args.watch {
            let again = tokio::time::sleep(PERIOD);
            if token.run_until_cancelled(again).await.is_some() {
                continue;
            }
        }
        return if status.in_step {
            Ok(())
        } else {
            Err(Failed.into())
        };
    }
}

async fn daemon(env: &Env) -> anyhow::Result<Daemon> {
    let answer = ask(env, "/api/status", DAEMON).await?;
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

async fn read(store: &Store, env: &Env) -> anyhow::Result<Status> {
    let mut tx = store.begin().await?;
    let leads = leader_setting::all(&mut tx).await?;
    let leads = leads
        .iter()
        .map(|it| (it.name.as_str(), it.value.as_deref()));
    let settings = config::Sync::load(&env.judging(leads))?;
    let watermark = watermark::read(&mut tx).await?;
    let now = Clock::default().now();
    let lag = watermark.map(|at| now - at);
    let leader = lease::leader(&mut tx).await?.filter(|leader| leader.alive);
    let pause = pause::current(&mut tx).await?;
    let status = Status {
        in_step: lag.is_some_and(|lag| lag < settings.in_step_within(now)) && pause.is_none(),
        watermark,
        lag_seconds: lag.map(|lag| lag.num_seconds()),
        leader: leader.map(|leader| leader.holder),
        stored: cv::count(&mut tx).await?,
        parked: parked_cv::count(&mut tx).await?.into_iter().collect(),
        held_deletes: held_delete::count(&mut tx).await?,
        consumers: feed_consumer::slowest(&mut tx, CONSUMERS).await?,
        pause,
        last_success: job_success::told(&mut tx).await?.into_iter().collect(),
        calls_a_minute: history::latest_calls(&mut tx).await?,
        daemon: None,
    };
    tx.commit().await?;
    Ok(status)
}

/// `42s`, `2h 5m`, `5years 7months`
fn roughly(seconds: i64) -> String {
    let lag = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let exactly = humantime::format_duration(lag).to_string();
    exactly.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn progress(run: &Snapshot) -> String {
    format!(
        "under way      {} of about {} CVs, {}",
        run.tally.done(),
        run.expected,
        rate(run)
    )
}

fn text(status: &Status) -> String {
    let state = match (status.watermark, status.lag_seconds) {
        (Some(at), Some(lag)) if status.in_step => {
            format!(
                "in step with VDAB up to {} ({} ago)",
                instant(at),
                roughly(lag)
            )
        }
        (Some(at), Some(lag)) => {
            format!(
                "NOT in step: only up to {} ({} ago)",
                instant(at),
                roughly(lag)
            )
        }
        _ => "NOT in step: nothing was synced yet".to_owned(),
    };
    let mut lines = vec![state];
    if let Some(pause) = &status.pause {
        lines.push(format!(
            "paused since {} {}: {}",
            instant(pause.since),
            pause.end(),
            pause.reason
        ));
    }
    let leader = status
        .leader
        .as_deref()
        .unwrap_or("nobody: does the daemon run?");
    lines.push(format!("leader         {leader}"));
    if let Some(daemon) = &status.daemon {
        lines.extend(daemon.run.as_ref().map(progress));
        lines.extend(
            daemon
                .reasons
                .iter()
                .map(|reason| format!("reason         {reason}")),
        );
    }
    let calls = status.calls_a_minute.map_or_else(
        || "not known: none of the last minutes is on record".to_owned(),
        |calls| match &status.daemon {
            Some(daemon) => format!("{calls} in a minute, of {}", daemon.quota_per_minute),
            None => format!("{calls} in a minute"),
        },
    );
    lines.push(format!("calls to VDAB  {calls}"));
    lines.push(format!("stored         {} CVs", status.stored));
    let parked: Vec<_> = status
        .parked
        .iter()
        .map(|(class, n)| format!("{n} {class}"))
        .collect();
    lines.push(format!(
        "parked         {}",
        if parked.is_empty() {
            "none".to_owned()
        } else {
            parked.join(", ")
        }
    ));
    lines.push(format!("held deletes   {}", status.held_deletes));
    let consumers = status.consumers.iter();
    lines.extend(
        consumers.map(|one| format!("feed           {} is {} behind", one.name, one.behind)),
    );
    lines.extend(
        status
            .last_success
            .iter()
            .map(|(job, at)| format!("last {job:<10}{}", instant(*at))),
    );
    lines.join("\n")
}
