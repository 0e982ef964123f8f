//! `cvsync status`

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::beside::ask;
use super::output::say;
use super::tool::database;
use super::{Failed, Interrupted, Output, STOP};
use crate::admin::{self, Numbers};
use crate::clock::Clock;
use crate::config::{self, Env};
use crate::model::health::Role;
use crate::model::words::moment;
use crate::model::{Facts, Health, Job, Light};
use crate::shutdown::cancel_on_signal_within;
use crate::store::feed_consumer::Consumer;
use crate::store::pause::{self, Pause};
use crate::store::{Store, history, leader_setting};
use crate::sync::Snapshot;
use crate::terminal::rate;

/// Between two looks with --watch.
const PERIOD: Duration = Duration::from_secs(2);

/// How long the daemon may take to say what it is at.
const DAEMON: Duration = Duration::from_secs(1);

/// Lines about consumers of the feed; `cvsync feed list` has all.
const CONSUMERS: usize = 5;

/// Where a terminal's screen begins, and nothing on it.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Watermark, lag, progress, quota use, leader, parked CVs, held deletes; exits with 0 only if in step
///
/// Reads the database, so it works wherever the database can be reached, with a daemon that runs or without one. The verdict is the one
/// of the status page: it takes the schedule and the settle lag that the leader recorded in the database, and what the leader wrote
/// down about VDAB and its run. The progress is the daemon's at CVSYNC_HTTP_ADDR, if one runs on this machine.
///
/// Exits with 1 if the state is red, while a pause holds, and until the first sync ends.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Look again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Status {
    in_step: bool,
    light: Light,
    health: Health,
    watermark: Option<DateTime<Utc>>,
    lag_seconds: Option<i64>,
    leader: Option<String>,
    stored: i64,
    parked: BTreeMap<String, i64>,
    held_deletes: i64,
    consumers: Vec<Consumer>,
    pause: Option<Pause>,
    last_success: BTreeMap<Job, DateTime<Utc>>,
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

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
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
    let read = store.read("reading the status", async |tx| Ok(read_in(tx, env).await));
    read.await?
}

async fn read_in(tx: &mut PgConnection, env: &Env) -> anyhow::Result<Status> {
    let leads = leader_setting::all(tx).await?;
    let leads = leads
        .iter()
        .map(|it| (it.name.as_str(), it.value.as_deref()));
    let settings = config::Sync::load(&env.judging(leads))?;
    let numbers = Numbers::read(&mut *tx, Arc::default()).await?;
    let pause = pause::current(&mut *tx).await?;
    let calls_a_minute = history::latest_calls(&mut *tx).await?;
    let now = Clock::default().now();
    let health = Health::judge(&Facts {
        now,
        latest: now,
        role: Role::Command,
        limits: admin::limits_of(&settings, now),
        database: None,
        stored: Some(numbers.stored()),
        pause: pause.clone().map(Into::into),
        leader: numbers.leaders_memory().unwrap_or_default(),
    });
    let leader = numbers.leader.filter(|leader| leader.alive);
    Ok(Status {
        in_step: health.in_step,
        light: health.light,
        health,
        watermark: numbers.watermark,
        lag_seconds: numbers.watermark.map(|at| (now - at).num_seconds()),
        leader: leader.map(|leader| leader.holder),
        stored: numbers.stored,
        parked: numbers.parked,
        held_deletes: numbers.held_deletes,
        consumers: numbers.consumers.into_iter().take(CONSUMERS).collect(),
        pause,
        last_success: numbers.last_success,
        calls_a_minute,
        daemon: None,
    })
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
    let Health { first, others, .. } = &status.health;
    let mut lines = vec![first.headline.clone()];
    let light = status.light.as_str();
    lines.push(match first.since {
        Some(since) => format!("state          {light}, since {}", moment(since)),
        None => format!("state          {light}"),
    });
    lines.extend(
        first
            .next
            .iter()
            .map(|next| format!("next           {next}")),
    );
    lines.extend(
        first
            .action
            .iter()
            .map(|action| format!("do             {action}")),
    );
    lines.extend(
        others
            .iter()
            .map(|finding| format!("also           {finding}")),
    );
    let watermark = status
        .watermark
        .map_or_else(|| "none yet".to_owned(), moment);
    lines.push(format!("watermark      {watermark}"));
    let leader = status
        .leader
        .as_deref()
        .unwrap_or("nobody: does the daemon run?");
    lines.push(format!("leader         {leader}"));
    if let Some(daemon) = &status.daemon {
        lines.extend(daemon.run.as_ref().map(progress));
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
            .map(|(job, at)| format!("last {:<10}{}", job.as_str(), moment(*at))),
    );
    lines.join("\n")
}
