//! `cvsync simulate`

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::Output;
use crate::clock::Clock;
use crate::config::{Env, Log, Otel};
use crate::model::When;
use crate::shutdown::cancel_on_signal;
use crate::simulator::{FaultKind, FaultShare, Options, Quirk, Simulator};
use crate::telemetry::{self, Screen};

/// Simulate VDAB's API with synthetic CVs, because VDAB has no test environment
///
/// Serves bulk, detail, search (with the mirror's filters; it ignores others) and reference lists under /v1, with the gateway's
/// key check, quota and errors. The same seed gives the same CVs. Point a daemon at it with
/// CVSYNC_API_BASE_URL=http://127.0.0.1:8090/v1 and CVSYNC_API_KEY=test-key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Number of CVs at the start
    #[arg(long, default_value_t = 10_000)]
    candidates: u32,
    /// Seed of the synthetic CVs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Accepted API key
    #[arg(long, default_value = "test-key")]
    key: String,
    /// CVs that are added, changed or removed per second
    #[arg(long, default_value_t = 2.0, value_parser = rate)]
    changes_per_second: f64,
    /// Period before now in which the CVs changed last
    #[arg(long, default_value = "30d", value_parser = humantime::parse_duration)]
    history: Duration,
    /// Quota of each endpoint in calls per minute; 0 for none
    #[arg(long, default_value_t = 2_000)]
    rate_per_minute: u32,
    /// Fault to inject, with its share of the requests between 0 and 1; repeat it for more faults: http-500, http-503, rate-limit,
    /// reset, stall, truncate, html-200, garbage-id, unknown-status, missing-detail
    #[arg(long, value_name = "KIND=SHARE", value_parser = Fault, hide_possible_values = true)]
    fault: Vec<FaultShare>,
    /// Assumption of the contract to break; repeat it for more
    #[arg(long, value_name = "NAME", long_help = quirks(), value_parser = quirk(), hide_possible_values = true)]
    quirk: Vec<Quirk>,
    /// Time at which the changes begin, so that a restarted simulator has the same state, such as 2026-02-13T12:00:00Z or 2h (two
    /// hours ago); now by default
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    epoch: Option<When>,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Simulating {
    base_url: String,
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
        history: TimeDelta::from_std(args.history).with_context(|| {
            format!(
                "--history must be shorter, got {}",
                humantime::format_duration(args.history)
            )
        })?,
        rate_per_minute: Some(args.rate_per_minute),
        faults: args.fault,
        quirks: args.quirk,
        epoch: args.epoch.map(|epoch| epoch.before(Clock::default().now())),
    };
    let simulator = Simulator::start(options, Clock::default())
        .await
        .with_context(|| format!("cannot listen on {} (--listen)", args.listen))?;
    let simulating = Simulating {
        base_url: simulator.base_url(),
    };
    args.output.print(&simulating, |it| {
        format!("Simulating VDAB's API on {}", it.base_url)
    });
    token.cancelled().await;
    simulator.shutdown().await;
    Ok(())
}

/// The kinds of faults, each with the `=` after which its share is written.
static KINDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let kinds = FaultKind::ALL.into_iter();
    kinds.map(|(_, name)| format!("{name}=")).collect()
});

/// Reads `KIND=SHARE`; completions offer the kinds.
#[derive(Clone)]
struct Fault;

impl TypedValueParser for Fault {
    type Value = FaultShare;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<FaultShare, clap::Error> {
        FaultShare::from_str.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(
            KINDS.iter().map(|kind| PossibleValue::new(kind.as_str())),
        ))
    }
}

/// Reads the name of a quirk; completions offer the names.
fn quirk() -> impl TypedValueParser<Value = Quirk> {
    let names = Quirk::ALL
        .iter()
        .map(|(name, _, meaning)| PossibleValue::new(*name).help(*meaning));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Quirk>())
}

/// The quirks, one per line.
fn quirks() -> String {
    let mut text = "Assumption of the contract to break; repeat it for more:".to_owned();
    for (name, _, meaning) in Quirk::ALL {
        text.push_str("\n  ");
        text.push_str(name);
        text.push_str(": ");
        text.push_str(meaning);
    }
    text
}

/// Parses a number of changes per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| (0.0..=10_000.0).contains(rate))
        .ok_or_else(|| "must be a number between 0 and 10000".to_owned())
}
