//! `cvsync verify`

use serde::Serialize;
use sqlx::PgConnection;

use super::Output;
use super::tool::{Tool, whole};
use crate::config::Env;
use crate::model::Tally;
use crate::model::words::{count, number};
use crate::store::cv;
use crate::sync::Request;

/// Fetch random CVs again and report the outdated share with its confidence bound
///
/// The responses are stored, so outdated CVs of the sample are corrected.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of CVs to fetch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sample: u32,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Verification {
    /// CVs of the sample that VDAB gave a response about.
    sampled: u64,
    updated: u64,
    /// According to VDAB these were gone.
    deleted: u64,
    /// These no longer match CVSYNC_KEEP, and were deleted.
    filtered: u64,
    /// According to VDAB these are gone, and cvsync holds their deletes.
    held: u64,
    /// These could not be fetched.
    parked: u64,
    /// The share of `sampled` that was updated, deleted, filtered or held.
    share: f64,
    /// With 95 % confidence, at most this share of all CVs is outdated.
    at_most: f64,
    /// The old name of `updated`.
    stale: u64,
    /// The old name of `deleted`.
    gone: u64,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let tool = Tool::prepare(env, false).await?;
    let sample = async |tx: &mut PgConnection| cv::sample(tx, args.sample.into()).await;
    let picked = async { Ok(tool.pipeline.store.read("picking a sample", sample).await?) };
    let ids = tool.until_stopped(picked).await?;
    let summary = tool.carry_out(Request::These(ids)).await?;
    // Part of a sample would look like a result.
    whole(&summary)?;
    let tally = summary.tally;
    args.output.print(&verdict(&tally), text);
    Ok(())
}

/// Parked CVs count neither as sampled nor as outdated, because their state at VDAB is unknown. Nor do skipped ones, which were
/// suppressed meanwhile.
fn verdict(tally: &Tally) -> Verification {
    let sampled = tally.listed - tally.parked - tally.skipped;
    let gone = tally.deleted - tally.filtered;
    let wrong = tally.updated + tally.deleted + tally.held;
    Verification {
        sampled,
        updated: tally.updated,
        deleted: gone,
        filtered: tally.filtered,
        held: tally.held,
        parked: tally.parked,
        share: share(wrong, sampled),
        at_most: upper_bound(wrong, sampled),
        stale: tally.updated,
        gone,
    }
}

fn text(verdict: &Verification) -> String {
    let mut text = format!(
        "Checked {}: {} outdated (updated now), {} removed at VDAB (deleted now), {} with held deletes: {:.2} %.\n\
         With 95 % confidence, at most {:.2} % of all CVs are outdated.",
        count(verdict.sampled, "CV"),
        number(verdict.updated),
        number(verdict.deleted),
        number(verdict.held),
        verdict.share * 100.0,
        verdict.at_most * 100.0
    );
    if verdict.filtered > 0 {
        let filtered = count(verdict.filtered, "outdated CV");
        text = format!("{text}\n{filtered} no longer matched CVSYNC_KEEP (deleted now).");
    }
    if verdict.held > 0 {
        text.push_str("\nDecide about held deletes with `cvsync deletes`.");
    }
    if verdict.parked > 0 {
        let parked = count(verdict.parked, "more CV");
        text = format!(
            "{text}\n{parked} could not be fetched and are parked; see `cvsync parked list`."
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
                "Checked 18 CVs: 0 outdated (updated now), 0 removed at VDAB (deleted now), 6 with held deletes: 33.33 %."
            ),
            "{text}"
        );
        assert!(text.contains("2 more CVs could not be fetched"), "{text}");
    }

    #[test]
    fn cvs_that_no_longer_match_the_filter_are_outdated_and_not_removed_at_vdab() {
        let tally = Tally {
            listed: 20,
            unchanged: 14,
            deleted: 5,
            filtered: 3,
            skipped: 1,
            ..Tally::default()
        };
        let verdict = verdict(&tally);
        assert_eq!(
            (verdict.sampled, verdict.deleted, verdict.filtered),
            (19, 2, 3)
        );
        assert!((verdict.share - 5.0 / 19.0).abs() < 1e-9);
        let text = text(&verdict);
        assert!(text.contains("2 removed at VDAB (deleted now)"), "{text}");
        assert!(
            text.contains("3 outdated CVs no longer matched CVSYNC_KEEP"),
            "{text}"
        );
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
