//! `cvsync conformance`

use super::output::{is_seen_by_a_person, note};
use super::source::{beside_daemon, names_database};
use super::{Failed, Output};
use crate::clock::Clock;
use crate::config::{Env, Otel, Source};
use crate::conformance::{self, Finding, Report, Setting, Verdict};
use crate::telemetry::{self, Screen};

/// Test cvsync's assumptions about VDAB's API with a few dozen harmless calls
///
/// Run this first with a new key: VDAB has no test environment. For each assumption it reports that it holds; that it differs,
/// with the variable to set; or that a few calls cannot tell, with the reason. It fetches lists and a few CVs, prints none of
/// their data, changes nothing and needs no database. With CVSYNC_DATABASE_URL it tests the settings of the daemon; without, those of
/// its own environment, so that you can try others first.
///
/// Exits with 0 if you need to change nothing. Exits with 1 if a variable must be set, if no variable can fix a difference, or if
/// VDAB listed no CV, because too little can be tested then.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let source = Source::load(env)?;
    telemetry::install(&source.log, &Otel::default(), &Screen::default())?;
    let (env, daemon) = beside_daemon(env).await?;
    if let Err(why) = daemon
        && names_database(&env)
    {
        note(&format!("the settings of a daemon are unknown: {why}"));
    }
    let source = Source::load(&env)?;
    let report = conformance::run(&source, Clock::default(), is_seen_by_a_person()).await?;
    args.output.print(&report, text);
    if report.is_good() {
        Ok(())
    } else {
        Err(Failed.into())
    }
}

fn text(report: &Report) -> String {
    let mut lines: Vec<_> = report.findings.iter().map(line).collect();
    let count = |verdict| {
        let findings = report.findings.iter();
        findings
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    lines.push(format!(
        "\n{} hold, {} differ but are tolerated or configured, {} differ, {} cannot be told ({} calls)",
        count(Verdict::Holds),
        count(Verdict::Tolerated) + count(Verdict::Configured),
        count(Verdict::Differs),
        count(Verdict::CannotTell),
        report.calls,
    ));
    if !report.set.is_empty() {
        lines.push("\nSet these variables, then run this command again:".to_owned());
        lines.extend(
            report
                .set
                .iter()
                .map(|setting| format!("  {}", assignment(setting))),
        );
    }
    lines.join("\n")
}

fn line(finding: &Finding) -> String {
    let word = match finding.verdict {
        Verdict::Holds => "holds",
        Verdict::Tolerated => "tolerated",
        Verdict::Configured => "configured",
        Verdict::Differs => "DIFFERS",
        Verdict::CannotTell => "cannot tell",
    };
    let Finding {
        assumption,
        origin,
        claim,
        seen,
        ..
    } = finding;
    let mut line = format!("{word:<11}  {assumption:<17}  {claim} [{origin}]: {seen}");
    for setting in &finding.set {
        line.push_str("; set ");
        line.push_str(&assignment(setting));
    }
    line
}

fn assignment(setting: &Setting) -> String {
    match setting.value.as_deref() {
        Some("") => format!("{}= (empty)", setting.variable),
        Some(value) => format!("{}={value}", setting.variable),
        None => format!("{} (ask VDAB for the value)", setting.variable),
    }
}
