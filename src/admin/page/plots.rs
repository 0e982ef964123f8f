//! Plots of the last hours: lag, CVs written, and calls against the quota.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use maud::{Markup, html};

use super::plot::{Plot, Scale, round_up};
use super::words::Now;
use crate::model::words::{count, number, span};
use crate::store::history::Minute;

/// Spans of a plot, each with the length of its steps: the shortest that holds the history, or the longest.
const SPANS: [(TimeDelta, TimeDelta); 3] = [
    (TimeDelta::hours(1), TimeDelta::minutes(1)),
    (TimeDelta::hours(6), TimeDelta::minutes(2)),
    (TimeDelta::hours(24), TimeDelta::minutes(5)),
];

/// Possible lines of the plot of the lag, in seconds.
const LAGS: [(i64, &str); 9] = [
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3_600, "1 h"),
    (21_600, "6 h"),
    (86_400, "1 day"),
    (2_592_000, "30 days"),
    (31_536_000, "1 year"),
    (630_720_000, "20 years"),
];

/// The plotted history, cut into steps.
struct Steps<'a> {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    step: TimeDelta,
    minutes: &'a [Minute],
}

impl<'a> Steps<'a> {
    fn new(history: &'a [Minute], now: Now) -> Self {
        let minute = now.at.duration_trunc(TimeDelta::minutes(1));
        let to = minute.unwrap_or(now.at) + TimeDelta::minutes(1);
        let oldest = history.first().map_or(to, |minute| minute.at);
        let fits = |(span, _): &&(TimeDelta, TimeDelta)| to - *span <= oldest;
        let (span, step) = *SPANS.iter().find(fits).unwrap_or(&SPANS[2]);
        let from = to - span;
        let first = history.partition_point(|minute| minute.at < from);
        Self {
            from,
            to,
            step,
            minutes: &history[first..],
        }
    }

    fn span(&self) -> TimeDelta {
        self.to - self.from
    }

    /// A value for each step that has a minute. A single step without one takes the value before it, because minutes are
    /// recorded a little less often than once per minute.
    fn values(&self, of: impl Fn(&[Minute]) -> Option<f64>) -> Vec<Option<f64>> {
        let at = |minute: &Minute| (minute.at - self.from).num_seconds() / self.step.num_seconds();
        let mut values = vec![None; self.count()];
        for step in self.minutes.chunk_by(|one, next| at(one) == at(next)) {
            let place = usize::try_from(at(&step[0])).ok();
            if let Some(value) = place.and_then(|place| values.get_mut(place)) {
                *value = of(step);
            }
        }
        for at in 1..values.len().saturating_sub(1) {
            if values[at].is_none() && values[at + 1].is_some() {
                values[at] = values[at - 1];
            }
        }
        values
    }

    fn count(&self) -> usize {
        usize::try_from(self.span().num_seconds() / self.step.num_seconds()).unwrap_or(0)
    }

    /// Labels at each quarter of the width.
    fn times(&self, now: Now) -> Vec<(f64, String)> {
        let every = self.span() / 4;
        (0..=4)
            .map(|part| {
                let at = self.from + every * part;
                (f64::from(part) / 4.0, now.minute(at))
            })
            .collect()
    }

    fn busiest(&self, of: impl Fn(&Minute) -> i64) -> Option<(i64, DateTime<Utc>)> {
        let busiest = self.minutes.iter().max_by_key(|minute| of(minute))?;
        Some((of(busiest), busiest.at))
    }
}

pub(super) fn plots(history: &[Minute], now: Now, limit: TimeDelta, per_minute: u32) -> Markup {
    let steps = Steps::new(history, now);
    if steps.minutes.is_empty() {
        return html! { p { "No history yet: the first minute is recorded one minute after the start." } };
    }
    html! {
        (freshness(&steps, now, limit).render())
        div .pair {
            (throughput(&steps, now).render())
            (quota(&steps, now, per_minute).render())
        }
        (table(&steps, now))
    }
}

fn freshness<'a>(steps: &Steps, now: Now, limit: TimeDelta) -> Plot<'a> {
    let lags: Vec<(i64, DateTime<Utc>)> = steps
        .minutes
        .iter()
        .filter_map(|minute| Some((minute.lag_seconds?, minute.at)))
        .collect();
    let least = lags.iter().map(|(lag, _)| *lag).min().unwrap_or(60);
    let (most, at) = lags.iter().copied().max().unwrap_or((60, now.at));
    let within = lags.iter().filter(|(lag, _)| *lag <= limit.num_seconds());
    let bottom = LAGS.iter().rposition(|(lag, _)| *lag <= least);
    let highest = most.max(limit.num_seconds());
    let top = LAGS.iter().position(|(lag, _)| *lag >= highest);
    let shown = &LAGS[bottom.unwrap_or(0)..=top.unwrap_or(LAGS.len() - 1)];
    let ends = (shown[0].0, shown[shown.len() - 1].0);
    // At most five lines.
    let every = shown.len().div_ceil(5);
    let lines = shown.iter().rev().step_by(every).rev();
    Plot {
        id: "freshness",
        title: "Lag behind VDAB",
        summary: format!(
            "In the last {} h: at most {}, at {}; {} of the time within {}.",
            steps.span().num_hours(),
            span(TimeDelta::seconds(most)),
            now.minute(at),
            percent(within.count(), lags.len()),
            span(limit)
        ),
        values: steps.values(|step| {
            let longest = step.iter().filter_map(|minute| minute.lag_seconds).max();
            longest.map(as_f64)
        }),
        scale: Scale::Log(as_f64(ends.0), as_f64(ends.1)),
        lines: lines
            .map(|(lag, label)| (as_f64(*lag), (*label).to_owned()))
            .collect(),
        limit: Some((
            as_f64(limit.num_seconds()),
            format!("in step below {}", span(limit)),
        )),
        times: steps.times(now),
    }
}

fn throughput<'a>(steps: &Steps, now: Now) -> Plot<'a> {
    let written = |minute: &Minute| minute.upserted + minute.deleted;
    let upserted: i64 = steps.minutes.iter().map(|minute| minute.upserted).sum();
    let deleted: i64 = steps.minutes.iter().map(|minute| minute.deleted).sum();
    let (most, at) = steps.busiest(written).unwrap_or((0, now.at));
    let values = steps.values(|step| {
        let sum: i64 = step.iter().map(written).sum();
        let minutes = i64::try_from(step.len()).unwrap_or(1);
        Some(as_f64(sum) / as_f64(minutes))
    });
    let top = round_up(values.iter().flatten().copied().fold(1.0, f64::max));
    Plot {
        id: "throughput",
        title: "CVs written per minute",
        summary: format!(
            "In the last {} h: {} inserted or updated, {} deleted; at most {} in a minute, at {}.",
            steps.span().num_hours(),
            number(upserted),
            number(deleted),
            number(most),
            now.minute(at)
        ),
        values,
        scale: Scale::Linear(top),
        lines: halves(top),
        limit: None,
        times: steps.times(now),
    }
}

fn quota<'a>(steps: &Steps, now: Now, per_minute: u32) -> Plot<'a> {
    let (most, at) = steps.busiest(|minute| minute.calls).unwrap_or((0, now.at));
    let top = as_f64(most).max(f64::from(per_minute)) * 1.1;
    Plot {
        id: "quota",
        title: "Calls per minute and the quota",
        summary: format!(
            "At most {} in a minute, at {}: {} of the {} that VDAB allows for each endpoint.",
            count(most, "call"),
            now.minute(at),
            percent(
                usize::try_from(most).unwrap_or(0),
                usize::try_from(per_minute).unwrap_or(1)
            ),
            number(per_minute)
        ),
        values: steps.values(|step| step.iter().map(|minute| minute.calls).max().map(as_f64)),
        scale: Scale::Linear(top),
        lines: vec![(0.0, "0".to_owned())],
        limit: Some((
            f64::from(per_minute),
            format!("quota {}", number(per_minute)),
        )),
        times: steps.times(now),
    }
}

/// The data of the plots, for screen readers.
fn table(steps: &Steps, now: Now) -> Markup {
    let hour = |minute: &Minute| minute.at.timestamp().div_euclid(3_600);
    let hours = steps.minutes.chunk_by(|one, next| hour(one) == hour(next));
    html! {
        details id="hours" {
            summary { "The same data per hour, as a table" }
            div .scroll role="region" aria-label="History per hour" tabindex="0" {
                table {
                    thead {
                        tr {
                            th scope="col" { "from" }
                            th scope="col" .number { "longest lag" }
                            th scope="col" .number { "inserted + updated" }
                            th scope="col" .number { "deleted" }
                            th scope="col" .number { "calls" }
                        }
                    }
                    tbody {
                        @for hour in hours {
                            @let lag = hour.iter().filter_map(|minute| minute.lag_seconds).max();
                            tr {
                                th scope="row" { (now.time(hour[0].at)) }
                                td .number { (lag.map_or("unknown".to_owned(), |lag| span(TimeDelta::seconds(lag)))) }
                                td .number { (number(hour.iter().map(|minute| minute.upserted).sum::<i64>())) }
                                td .number { (number(hour.iter().map(|minute| minute.deleted).sum::<i64>())) }
                                td .number { (number(hour.iter().map(|minute| minute.calls).sum::<i64>())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn halves(top: f64) -> Vec<(f64, String)> {
    #[allow(clippy::cast_possible_truncation, reason = "a round number")]
    let label = |value: f64| number(value as i64);
    let mut lines = vec![(0.0, "0".to_owned()), (top, label(top))];
    if top >= 2.0 {
        let half = (top / 2.0).floor();
        lines.push((half, label(half)));
    }
    lines
}

/// Rounds down, so that `100 %` means all.
fn percent(part: usize, of: usize) -> String {
    let tenths = part * 1_000 / of.max(1);
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} %"),
        (whole, tenth) => format!("{whole}.{tenth} %"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Now {
        Now {
            at: "2026-11-26T12:00:30Z".parse().unwrap(),
            zone: chrono_tz::Europe::Brussels,
        }
    }

    fn minutes(ago: std::ops::Range<i64>) -> Vec<Minute> {
        ago.rev()
            .map(|ago| Minute {
                at: now().at - TimeDelta::seconds(30) - TimeDelta::minutes(ago),
                lag_seconds: Some(60 + ago),
                calls: ago,
                ..Minute::default()
            })
            .collect()
    }

    #[test]
    fn history_of_less_than_a_day_gets_a_shorter_plot() {
        for (known, hours) in [(30, 1), (90, 6), (1_440, 24)] {
            let history = minutes(0..known);
            let steps = Steps::new(&history, now());
            assert_eq!(steps.span(), TimeDelta::hours(hours));
            let values = steps.values(|step| Some(as_f64(step[0].calls)));
            assert!(values.last().unwrap().is_some());
        }
    }

    #[test]
    fn one_missing_minute_is_filled_and_two_are_a_gap() {
        let mut history = minutes(0..60);
        history.retain(|minute| ![10, 20, 21].contains(&minute.calls));
        let steps = Steps::new(&history, now());
        let values = steps.values(|step| Some(as_f64(step[0].calls)));
        let known: Vec<bool> = values.iter().map(Option::is_some).collect();
        assert!(known[60 - 11]);
        assert!(!known[60 - 22]);
    }

    #[test]
    fn plots_are_also_described_in_words() {
        let plots = plots(&minutes(0..1_440), now(), TimeDelta::minutes(16), 2_000).into_string();
        assert!(plots.contains("at most 24 min, at 13:01"), "{plots}");
        assert!(
            plots.contains("62.5 % of the time within 16 min"),
            "{plots}"
        );
        assert!(plots.len() < 40_000, "{}", plots.len());
    }
}
