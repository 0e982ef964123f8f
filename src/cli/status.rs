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
use crate::model::health::{Role, UnderWay};
use crate::model::words::{count, moment, number};
use crate::model::{Facts, Health, Job, Light};
use crate::shutdown::cancel_on_signal_within;
use crate::store::feed_consumer::Consumer;
use crate::store::leader_setting::{self, LeaderSetting};
use crate::store::pause::{self, Pause};
use crate::store::refit::Refit;
use crate::store::{Store, history};
use crate::sync::Snapshot;
use crate::telemetry;
use crate::terminal::rate;

/// Time between two updates with --watch.
const PERIOD: Duration = Duration::from_secs(2);

/// Time limit of the request to the daemon.
const DAEMON: Duration = Duration::from_secs(1);

/// Maximum number of consumers in the output; `cvsync feed list` has all.
const CONSUMERS: usize = 5;

/// Clears a terminal's screen.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Show whether the copy is up to date: watermark, lag, progress, quota use, leader, parked CVs, held deletes
///
/// Reads the database, so it works anywhere that reaches the database, whether or not a daemon runs. It gives the same verdict as
/// the status page: it uses the schedule, the settle lag and the state of VDAB and of the run that the leader recorded in the
/// database. The progress is exact if the leader runs on this machine and listens on CVSYNC_HTTP_ADDR. Otherwise it is what the
/// leader last recorded.
///
/// Exits with 0 if the copy is up to date. Exits with 1 if the state is red, during a pause, and until the first sync has finished.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show it again every two seconds, until Ctrl-C
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
    live: Option<admin::Live>,
    backlog: Option<admin::Backlog>,
    leader: Option<String>,
    stored: i64,
    parked: BTreeMap<String, i64>,
    held_deletes: i64,
    suppressed: i64,
    refit: Option<Refit>,
    consumers: Vec<Consumer>,
    pause: Option<Pause>,
    last_success: BTreeMap<Job, DateTime<Utc>>,
    /// Calls to VDAB in the latest recorded minute.
    calls_per_minute: Option<i64>,
    /// The old name of `calls_per_minute`.
    calls_a_minute: Option<i64>,
    daemon: Option<Daemon>,
    /// The run as the leader last recorded it in the database.
    #[serde(skip)]
    recorded: Option<UnderWay>,
    /// The daemon on this machine works with another database.
    #[serde(skip)]
    is_daemon_foreign: bool,
}

/// The state of the daemon on this machine.
#[derive(Debug, Serialize, Deserialize)]
struct Daemon {
    reasons: Vec<String>,
    run: Option<Snapshot>,
    quota_per_minute: u32,
    #[serde(default, skip_serializing)]
    leader: Option<String>,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    config::Sync::load(env)?;
    let token = cancel_on_signal_within(STOP)?;
    loop {
        let read = token.run_until_cancelled(read(&store, env)).await;
        let mut status = read.ok_or(Interrupted)??;
        let daemon = daemon(env).await.ok();
        let is_ours = |daemon: &Daemon| is_of_leader(daemon, status.leader.as_deref());
        status.is_daemon_foreign = daemon.as_ref().is_some_and(|daemon| !is_ours(daemon));
        status.daemon = daemon.filter(is_ours);
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

/// Whether a daemon and the database know the same leader. If not, the daemon works with another database.
fn is_of_leader(daemon: &Daemon, leader: Option<&str>) -> bool {
    match (daemon.leader.as_deref(), leader) {
        // Without the admin token, a daemon names no instance.
        (Some("this instance"), Some(leader)) => is_here(leader),
        (Some("another instance"), leader) => leader.is_some(),
        (theirs, ours) => theirs == ours,
    }
}

/// Whether an instance runs on this machine: names start with the host.
fn is_here(leader: &str) -> bool {
    leader.starts_with(&format!("{}-", telemetry::host()))
}

async fn read(store: &Store, env: &Env) -> anyhow::Result<Status> {
    let read = store.read("reading the status", async |tx| Ok(read_in(tx, env).await));
    read.await?
}

async fn read_in(tx: &mut PgConnection, env: &Env) -> anyhow::Result<Status> {
    let leads = leader_setting::all(tx).await?;
    let leads = leads.iter().map(LeaderSetting::recorded);
    let settings = config::Sync::load(&env.judging(leads))?;
    let numbers = Numbers::read(&mut *tx, Arc::default()).await?;
    let pause = pause::current(&mut *tx).await?;
    let calls_per_minute = history::latest_calls(&mut *tx).await?;
    let now = Clock::default().now();
    let memory = numbers.leaders_memory().unwrap_or_default();
    let recorded = memory.run.clone();
    let health = Health::judge(&Facts {
        now,
        latest: now,
        role: Role::Command,
        limits: admin::limits_of(&settings, now),
        database: None,
        stored: Some(numbers.stored()),
        pause: pause.clone().map(Into::into),
        leader: memory,
    });
    let watermark = numbers.coverage.watermark;
    let leader = numbers.leader.filter(|leader| leader.alive);
    Ok(Status {
        in_step: health.in_step,
        light: health.light,
        health,
        watermark,
        lag_seconds: watermark.map(|at| (now - at).num_seconds()),
        live: admin::Live::of(&numbers.coverage, settings.from, now),
        backlog: admin::Backlog::of(&numbers.coverage, settings.from, None),
        leader: leader.map(|leader| leader.holder),
        stored: numbers.stored,
        parked: numbers.parked,
        held_deletes: numbers.held_deletes,
        suppressed: numbers.suppressed,
        refit: numbers.refit,
        consumers: numbers.consumers.into_iter().take(CONSUMERS).collect(),
        pause,
        last_success: numbers.last_success,
        calls_per_minute,
        calls_a_minute: calls_per_minute,
        daemon: None,
        recorded,
        is_daemon_foreign: false,
    })
}

fn text(status: &Status) -> String {
    let mut lines = vec![status.health.first.headline.clone()];
    let mut line = |label: &str, text: String| lines.push(format!("{label:<15}{text}"));
    verdict(status, &mut line);
    let watermark = status.watermark.map_or("none yet".to_owned(), moment);
    line("watermark", watermark);
    if let Some(live) = &status.live {
        line(
            "live",
            format!("since {}, up to {}", moment(live.since), moment(live.up_to)),
        );
    }
    if let Some(backlog) = &status.backlog {
        let (oldest, newest) = (moment(backlog.oldest), moment(backlog.newest));
        line(
            "backlog",
            format!("changes from {oldest} to {newest} are missing, newest first"),
        );
    }
    let (leader, progress) = at_work(status);
    line("leader", leader);
    if let Some(progress) = progress {
        line("progress", progress);
    }
    line("API calls", calls(status));
    line("stored", count(status.stored, "CV"));
    let parked = status.parked.iter();
    let parked: Vec<_> = parked
        .map(|(class, cvs)| format!("{} {class}", number(*cvs)))
        .collect();
    line(
        "parked",
        if parked.is_empty() {
            "0".to_owned()
        } else {
            parked.join(", ")
        },
    );
    line("held deletes", number(status.held_deletes));
    if status.suppressed > 0 {
        line("suppressed", count(status.suppressed, "CV"));
    }
    if let Some(refit) = &status.refit {
        line("refit", refit.to_string());
    }
    for one in &status.consumers {
        let behind = count(one.behind, "change");
        line("feed", format!("{} is {behind} behind", one.name));
    }
    for (job, at) in &status.last_success {
        line(&format!("last {}", job.as_str()), moment(*at));
    }
    lines.join("\n")
}

/// The state, and what to do about it.
fn verdict(status: &Status, line: &mut impl FnMut(&str, String)) {
    let Health { first, others, .. } = &status.health;
    let light = status.light.as_str();
    line(
        "state",
        match first.since {
            Some(since) => format!("{light} since {}", moment(since)),
            None => light.to_owned(),
        },
    );
    if let Some(next) = &first.next {
        line("next", next.clone());
    }
    if let Some(action) = &first.action {
        line("action", action.clone());
    }
    for finding in others {
        line("also", finding.to_string());
    }
}

/// The leader, and the progress of its run: of the daemon on this machine, or as the leader recorded it.
fn at_work(status: &Status) -> (String, Option<String>) {
    let run = status.daemon.as_ref().and_then(|it| it.run.as_ref());
    let run = run
        .map(progress)
        .or_else(|| status.recorded.as_ref().map(recorded));
    let leader = match &status.leader {
        None => "none; does the daemon run?".to_owned(),
        Some(leader) if is_here(leader) => leader.clone(),
        Some(leader) => format!("{leader}, on another machine"),
    };
    if status.is_daemon_foreign {
        let note = "; the daemon at CVSYNC_HTTP_ADDR works with another database, so nothing is shown of it";
        return (leader + note, run);
    }
    (leader, run)
}

/// The progress that the leader wrote into the database, at most a few seconds ago.
fn recorded(run: &UnderWay) -> String {
    let left = run.eta_seconds.map_or_else(String::new, |seconds| {
        let left = humantime::format_duration(Duration::from_secs(seconds));
        format!(", {left} left")
    });
    let (done, expected) = (number(run.done), count(run.expected, "CV"));
    format!("{done} of about {expected}{left}")
}

fn progress(run: &Snapshot) -> String {
    format!(
        "{} of about {}, {}",
        number(run.tally.done()),
        count(run.expected, "CV"),
        rate(run)
    )
}

/// The use of the quota.
fn calls(status: &Status) -> String {
    match (status.calls_per_minute, &status.daemon) {
        (None, _) => "no data yet (recorded once a minute)".to_owned(),
        (Some(calls), Some(daemon)) => format!(
            "{} of {} per minute",
            number(calls),
            number(daemon.quota_per_minute)
        ),
        (Some(calls), None) => format!("{} per minute", number(calls)),
    }
}
