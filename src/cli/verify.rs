//! `cvsync verify`

use serde::Serialize;
use sqlx::PgConnection;

use super::Output;
use super::tool::{Tool, whole};
use crate::config::Env;
use crate::model::Tally;
use crate::store::cv;
use crate::sync::Request;

/// Refetch random CVs and report the stale share with its confidence bound
///
/// What comes back is applied, so nothing that was paid for is thrown away.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sample: u32,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Verdict {
    /// CVs of the sample about which VDAB answered.
    sampled: u64,
    stale: u64,
    gone: u64,
    /// VDAB calls them gone, and cvsync holds their deletes.
    held: u64,
    /// They could not be fetched.
    parked: u64,
    /// Of `sampled`: stale, gone and held.
    share: f64,
    /// With 95 % confidence no more than this share of all CVs is stale.
    at_most: f64,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let tool = Tool::prepare(env, false).await?;
    let sample = async |tx: &mut PgConnection| cv::sample(tx, args.sample.into()).await;
    let picked = async { Ok(tool.pipeline.store.read("picking a sample", sample).await?) };
    let ids = tool.until_stopped(picked).await?;
    let summary = tool.carry_out(Request::These(ids)).await?;
    // A part of the sample would look like a verdict.
    whole(&summary)?;
    let tally = summary.tally;
    args.output.print(&verdict(&tally), text);
    Ok(())
}

/// Parked CVs count neither as sampled nor as stale: VDAB did not say how it has them.
fn verdict(tally: &Tally) -> Verdict {
    let sampled = tally.listed - tally.parked;
    let wrong = tally.updated + tally.deleted + tally.held;
    Verdict {
        sampled,
        stale: tally.updated,
        gone: tally.deleted,
        held: tally.held,
        parked: tally.parked,
        share: share(wrong, sampled),
        at_most: upper_bound(wrong, sampled),
    }
}

fn text(verdict: &Verdict) -> String {
    let mut text = format!(
        "of {} CVs {} were stale, {} were gone and {} have held deletes: {:.2} %, with 95 % confidence at most {:.2} % of all; \
         cvsync corrected the stale and the gone ones",
        verdict.sampled,
        verdict.stale,
        verdict.gone,
        verdict.held,
        verdict.share * 100.0,
        verdict.at_most * 100.0
    );
    if verdict.held > 0 {
        text.push_str("; decide about held deletes with `cvsync deletes`");
    }
    if verdict.parked > 0 {
        text = format!(
            "{text}; {} more could not be fetched and are parked, see `cvsync parked list`",
            verdict.parked
        );
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// The upper end of Wilson's one-sided 95 % interval; 1 where nothing was sampled.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn upper_bound(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 1.0;
    }
    let (n, p, z) = (whole as f64, share(part, whole), 1.645_f64);
    let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((p + z * z / (2.0 * n) + spread) / (1.0 + z * z / n)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_deletes_stay_in_the_sample_and_count_as_not_in_step() {
        let tally = Tally {
            listed: 20,
            unchanged: 12,
            held: 6,
            parked: 2,
            ..Tally::default()
        };
        let verdict = verdict(&tally);
        assert_eq!((verdict.sampled, verdict.held, verdict.parked), (18, 6, 2));
        assert!((verdict.share - 6.0 / 18.0).abs() < 1e-9);
        let text = text(&verdict);
        assert!(
            text.starts_with(
                "of 18 CVs 0 were stale, 0 were gone and 6 have held deletes: 33.33 %"
            ),
            "{text}"
        );
        assert!(text.contains("2 more could not be fetched"), "{text}");
    }

    #[test]
    fn the_bound_narrows_with_the_sample() {
        assert!((upper_bound(0, 0) - 1.0).abs() < 1e-9);
        assert!(upper_bound(0, 10) > 0.2);
        assert!((upper_bound(0, 1_000) - 0.0027).abs() < 0.0001);
        assert!((upper_bound(50, 1_000) - 0.0626).abs() < 0.001);
        assert!((upper_bound(10, 10) - 1.0).abs() < 1e-9);
    }
}
