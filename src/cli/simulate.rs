//! `cvsync simulate`

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};

use super::output;
use crate::clock::Clock;
use crate::config::{Env, Log, Otel};
use crate::shutdown::cancel_on_signal;
use crate::simulator::{FaultShare, Options, Quirk, Simulator};
use crate::telemetry::{self, Screen};

/// A stand-in for VDAB's API with synthetic CVs: VDAB has no test environment
///
/// Serves bulk, detail, search (with the mirror's filters; others are ignored) and reference lists under /v1, with the
/// gateway's key check, quota and errors. The same seed gives the same CVs. Point a daemon at it with
/// CVSYNC_API_BASE_URL=http://127.0.0.1:8090/v1 and CVSYNC_API_KEY=test-key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// How many CVs there are at first
    #[arg(long, default_value_t = 10_000)]
    candidates: u32,
    /// The same seed gives the same CVs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The API key that is accepted
    #[arg(long, default_value = "test-key")]
    key: String,
    /// How many CVs change, come or go each second
    #[arg(long, default_value_t = 2.0, value_parser = rate)]
    changes_per_second: f64,
    /// Over how long before now the CVs changed last
    #[arg(long, default_value = "30d", value_parser = humantime::parse_duration)]
    history: Duration,
    /// The quota of each endpoint; 0 for none
    #[arg(long, default_value_t = 2_000)]
    rate_per_minute: u32,
    /// What goes wrong, with a share of the requests between 0 and 1; can be repeated: http-500, http-503, rate-limit,
    /// reset, stall, truncate, html-200, garbage-id, unknown-status, missing-detail
    #[arg(long, value_name = "KIND=SHARE")]
    fault: Vec<FaultShare>,
    /// Which assumption of the contract is turned round; can be repeated
    #[arg(long, value_name = "NAME", long_help = quirks())]
    quirk: Vec<Quirk>,
    /// When the changes begin, so that a simulator that is started again comes to the same state; now by default
    #[arg(long, value_name = "TIME", value_parser = super::args::instant)]
    epoch: Option<DateTime<Utc>>,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    telemetry::install(&Log::load(env)?, &Otel::default(), &Screen::default())?;
    let token = cancel_on_signal()?;
    let options = Options {
        listen: args.listen,
        candidates: args.candidates,
        seed: args.seed,
        key: args.key,
        changes_per_second: args.changes_per_second,
        history: TimeDelta::from_std(args.history).context("--history is too long")?,
        rate_per_minute: Some(args.rate_per_minute),
        faults: args.fault,
        quirks: args.quirk,
        epoch: args.epoch,
    };
    let simulator = Simulator::start(options, Clock::default())
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    output::say(&format!("simulating VDAB on {}", simulator.base_url()));
    token.cancelled().await;
    simulator.shutdown().await;
    Ok(())
}

/// The quirks, a line each.
fn quirks() -> String {
    let mut text = "Which assumption of the contract is turned round; can be repeated:".to_owned();
    for (name, _, meaning) in Quirk::ALL {
        text.push_str("\n  ");
        text.push_str(name);
        text.push_str(": ");
        text.push_str(meaning);
    }
    text
}

/// A number of changes a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| (0.0..=10_000.0).contains(rate))
        .ok_or_else(|| "not a number from 0 to 10000".to_owned())
}
