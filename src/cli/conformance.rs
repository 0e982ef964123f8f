//! `cvsync conformance`

use super::{Failed, Output};
use crate::clock::Clock;
use crate::config::{Env, Otel, Source};
use crate::conformance::{self, Finding, Report, Setting, Verdict};
use crate::telemetry::{self, Screen};

/// Does VDAB's API do what cvsync takes for granted? Some dozens of harmless calls, a line for each assumption
///
/// VDAB has no test environment, so this is the first command to run with a new key. Each assumption holds, or differs (and
/// which variable to set to what), or cannot be told from a handful of calls (and why). It asks for lists and for a few
/// CVs, prints none of their data, changes nothing and needs no database.
///
/// Exit code: 0 if nothing is left to be set; 1 if something is, if something differs that no variable can help, or if no CV
/// was listed, so that too little could be told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let source = Source::load(env)?;
    telemetry::install(&source.log, &Otel::default(), &Screen::default())?;
    let report = conformance::run(&source, Clock::default()).await?;
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
        "\n{} hold, {} differ and are tolerated or configured, {} differ, {} cannot be told; {} calls",
        count(Verdict::Holds),
        count(Verdict::Tolerated) + count(Verdict::Configured),
        count(Verdict::Differs),
        count(Verdict::CannotTell),
        report.calls,
    ));
    if !report.set.is_empty() {
        lines.push("\nSet these, and run this again:".to_owned());
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
        Some("") => format!("{} to nothing", setting.variable),
        Some(value) => format!("{}={value}", setting.variable),
        None => format!("{} as VDAB tells you", setting.variable),
    }
}
