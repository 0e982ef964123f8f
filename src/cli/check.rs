//! `cvsync check`

use std::fmt::Write;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde::Serialize;

use super::output::is_seen_by_a_person;
use super::{Failed, Output};
use crate::clock::Clock;
use crate::config::{Config, Database, Differs, Env, Otel, routes};
use crate::model::Window;
use crate::store::leader_setting::{self, LeaderSetting};
use crate::store::{Store, clock_doubt};
use crate::sync::InFuture;
use crate::telemetry::{self, Metrics};
use crate::vdab::{ApiError, Client};

/// A check does not retry.
const PATIENCE: Duration = Duration::ZERO;

/// Time limit for creating the schema in an empty database and rolling it back.
const MIGRATION: Duration = Duration::from_mins(1);

/// Clocks further apart are reported, although no result depends on them.
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(5);

/// Check configuration, database, API key and clock
///
/// Prints one line per check; a line that fails says what to do. Makes one harmless call to VDAB, which lists the changes of the
/// last minute, and changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Line {
    check: &'static str,
    ok: bool,
    message: String,
}

impl Line {
    fn new(check: &'static str, result: Result<String, String>) -> Self {
        let ok = result.is_ok();
        let (Ok(message) | Err(message)) = result;
        Self { check, ok, message }
    }
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let config = Config::load(env)?;
    let valid = ["valid".to_owned()].into_iter();
    let valid: Vec<_> = valid.chain(config.warnings.clone()).collect();
    let mut lines = vec![Line::new("configuration", Ok(valid.join("; ")))];
    lines.push(Line::new("database", database(&config).await));
    if let Some(replica) = &config.read_database {
        lines.push(Line::new(
            "read replica",
            replica_of(&config, replica).await,
        ));
    }
    lines.extend(settings(&config, env).await);
    if !config.api.proxies.is_empty() {
        lines.push(Line::new("proxies", Ok(proxies(env))));
    }
    lines.extend(source(&config).await);
    lines.extend(collectors(&config.otel).await);
    args.output.print(&lines, |lines| {
        let text = lines.iter().map(|line| {
            let word = if line.ok { "ok    " } else { "FAILED" };
            format!("{word}  {:<13}  {}", line.check, line.message)
        });
        text.collect::<Vec<_>>().join("\n")
    });
    if lines.iter().all(|line| line.ok) {
        Ok(())
    } else {
        Err(Failed.into())
    }
}

/// Whether the configured collectors accept traces and metrics.
async fn collectors(otel: &Otel) -> Vec<Line> {
    let mut lines = Vec::new();
    for (check, target) in [("traces", &otel.traces), ("metrics", &otel.metrics)] {
        let Some(target) = target else {
            continue;
        };
        let asked = telemetry::probe(target, &otel.proxies, target.timeout).await;
        let taken = format!("the collector in {} accepts them", target.variable);
        lines.push(Line::new(check, asked.map(|()| taken)));
    }
    lines
}

fn proxies(env: &Env) -> String {
    let routes = routes(env).into_iter();
    let routes = routes.map(|(name, proxy)| match proxy {
        Some(proxy) => format!("{name} through {proxy}"),
        None => format!("{name} directly"),
    });
    routes.collect::<Vec<_>>().join(", ")
}

async fn database(config: &Config) -> Result<String, String> {
    let store = Store::new(&config.database).map_err(|error| error.to_string())?;
    let about = store.about().await.map_err(|error| error.to_string())?;
    let works = about.judge()?;
    if about.is_empty() {
        let tried = store.within(MIGRATION).try_migrations().await;
        tried.map_err(|error| format!("the schema cannot be created: {error}"))?;
    }
    Ok(with_warning(works, &config.database))
}

/// Whether the mirror can read from the server in `CVSYNC_DATABASE_READ_URL`.
async fn replica_of(config: &Config, replica: &Database) -> Result<String, String> {
    let store = |database| Store::new(database).map_err(|error| error.to_string());
    let works = store(replica)?
        .judge_reads(&store(&config.database)?)
        .await?;
    Ok(with_warning(works, replica))
}

/// `works`, and which part of the server's identity is not verified.
fn with_warning(works: String, database: &Database) -> String {
    match database.tls.unverified() {
        Some(unverified) => format!("{works}; {unverified}"),
        None => works,
    }
}

/// Compares the settings that shape data with those of the latest leader. It is no error if you are about to change them.
async fn settings(config: &Config, env: &Env) -> Option<Line> {
    let store = Store::new(&config.database).ok()?;
    let leader = store.read("reading the leader's settings", leader_setting::all);
    let leader = leader.await.ok().filter(|leader| !leader.is_empty())?;
    let message = match env.under(leader.iter().map(LeaderSetting::recorded)) {
        Ok(_) => "the same as the daemon's, where this environment has any".to_owned(),
        Err(Differs(different)) => {
            let different: Vec<_> = different.iter().map(ToString::to_string).collect();
            let different = different.join("; ");
            format!(
                "not those of the daemon, so commands refuse to run until it is restarted with them: {different}"
            )
        }
    };
    Some(Line::new("settings", Ok(message)))
}

async fn source(config: &Config) -> Vec<Line> {
    let clock = Clock::default();
    let client = Metrics::new()
        .map_err(|error| error.to_string())
        .and_then(|metrics| {
            let patience = Some(PATIENCE);
            Client::new(&config.api, Vec::new(), patience, clock.clone(), metrics)
                .map_err(|error| error.to_string())
        });
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![Line::new("api", Err(error))],
    };
    let now = clock.now();
    let key = match Window::new(now - TimeDelta::minutes(1), now) {
        Some(window) => client.bulk(window, 0, 1).await,
        None => return Vec::new(),
    };
    let answers = match key {
        Ok(_) => Ok(format!("{} accepts the key", config.api.base_url)),
        Err(error) => Err(refused(&error, config)),
    };
    let ahead = client.time().local_clock_ahead();
    let clock = match ahead {
        None => {
            Err("VDAB's time is unknown, because no response with a Date header arrived".to_owned())
        }
        Some(ahead) if ahead.abs() > CLOCKS_APART => Ok(format!(
            "this machine's clock is {} s {} VDAB's; no change is lost, because windows follow VDAB's time, but check NTP",
            ahead.abs().num_seconds(),
            if ahead > TimeDelta::zero() {
                "ahead of"
            } else {
                "behind"
            }
        )),
        Some(_) => Ok("matches VDAB's within 5 s".to_owned()),
    };
    let mut lines = vec![Line::new("api", answers), Line::new("clock", clock)];
    if let Err(future) = start(config, &client).await {
        lines.push(Line::new("first sync", Err(future.to_string())));
    }
    lines
}

fn refused(error: &ApiError, config: &Config) -> String {
    let mut text = error.to_string();
    if !matches!(error, ApiError::Token(_)) {
        let _ = write!(text, "; CVSYNC_API_BASE_URL is {}", config.api.base_url);
    }
    if let Some(words) = error.in_full().filter(|_| is_seen_by_a_person()) {
        let _ = write!(text, "; VDAB's words: {words}");
    }
    text
}

/// Whether the first sync begins in the past, by the clocks of VDAB and of the database if they can be read.
async fn start(config: &Config, client: &Client) -> Result<(), InFuture> {
    let reading = async {
        let store = Store::new(&config.database)?;
        let reading = store.read("reading the database's clock", clock_doubt::database_time);
        reading.await
    };
    if let Ok(reading) = reading.await {
        client.time().database_says(reading, Instant::now());
    }
    InFuture::refuse("CVSYNC_SYNC_FROM", config.sync.from, client.time())
}
