//! When a run is due: a bell that rings each second, and the schedule that says whether it means anything.
//!
//! tokio-cron-scheduler is the bell, never the brain: it starts jobs while earlier ones still run, freezes the offset of
//! a time zone when a job is made, and forgets them on shutdown. So its only job rings; what is due is asked of the
//! schedule, in its time zone, on each ring. A ring that comes late, twice or not at all changes nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::config::Schedule;

/// A bell that is silent for longer is broken.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// Rings each second.
pub(super) struct Bell {
    scheduler: JobScheduler,
    rung: Arc<Notify>,
}

impl Bell {
    pub(super) async fn hang() -> Result<Self, JobSchedulerError> {
        let rung = Arc::new(Notify::new());
        let scheduler = JobScheduler::new().await?;
        let rings = Arc::clone(&rung);
        let job = Job::new("* * * * * *", move |_, _| rings.notify_one())?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Self { scheduler, rung })
    }

    /// Waits for the next ring, but no longer than a few seconds: should the bell be broken, nothing is late by more.
    pub(super) async fn rings(&self) {
        let _ = tokio::time::timeout(LONGEST_SILENCE, self.rung.notified()).await;
    }

    pub(super) async fn take_down(mut self) {
        let _ = self.scheduler.shutdown().await;
    }
}

/// A schedule and the place on it.
#[derive(Debug)]
pub(super) struct Ticker {
    schedule: Schedule,
    from: DateTime<Utc>,
    next: Option<DateTime<Utc>>,
}

impl Ticker {
    /// Nothing is due before the first tick behind `from`.
    pub(super) fn new(schedule: Schedule, from: DateTime<Utc>) -> Self {
        let next = schedule.after(from);
        Self {
            schedule,
            from,
            next,
        }
    }

    /// The next tick; `None` if the schedule has no tick within a lifetime.
    pub(super) fn next_tick(&self) -> Option<DateTime<Utc>> {
        self.next
    }

    /// Forgets all ticks up to `now`.
    pub(super) fn skip_to(&mut self, now: DateTime<Utc>) {
        self.from = now;
        self.next = self.schedule.after(now);
    }

    /// Whether a tick has come. A clock that was set back brings the next tick nearer.
    pub(super) fn is_due(&mut self, now: DateTime<Utc>) -> bool {
        if now < self.from {
            self.skip_to(now);
        }
        self.next.is_some_and(|next| next <= now)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use croner::parser::{CronParser, Seconds};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn ticker(pattern: &str, from: &str) -> Ticker {
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        let schedule = Schedule {
            cron: parser.parse(pattern).unwrap(),
            zone: chrono_tz::Europe::Brussels,
        };
        Ticker::new(schedule, at(from))
    }

    fn ticks(ticker: &mut Ticker, count: usize) -> Vec<String> {
        (0..count)
            .filter_map(|_| {
                let next = ticker.next_tick()?;
                assert!(ticker.is_due(next));
                ticker.skip_to(next);
                Some(next.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
            })
            .collect()
    }

    #[test]
    fn a_tick_is_due_once_and_missed_ones_are_one() {
        let mut ticker = ticker("0 */5 * * * *", "2026-11-24T12:01:00Z");
        assert!(!ticker.is_due(at("2026-11-24T12:04:59Z")));
        assert!(ticker.is_due(at("2026-11-24T12:05:00Z")));
        ticker.skip_to(at("2026-11-24T12:32:00Z"));
        assert!(!ticker.is_due(at("2026-11-24T12:32:01Z")));
        assert_eq!(ticker.next_tick(), Some(at("2026-11-24T12:35:00Z")));
    }

    #[test]
    fn half_past_three_is_half_past_three_in_summer_and_in_winter() {
        let mut spring = ticker("0 30 3 * * *", "2026-03-28T00:00:00Z");
        assert_eq!(
            ticks(&mut spring, 3),
            [
                "2026-03-28T02:30:00Z",
                "2026-03-29T01:30:00Z",
                "2026-03-30T01:30:00Z"
            ]
        );
        let mut autumn = ticker("0 30 3 * * *", "2026-10-24T00:00:00Z");
        assert_eq!(
            ticks(&mut autumn, 3),
            [
                "2026-10-24T01:30:00Z",
                "2026-10-25T02:30:00Z",
                "2026-10-26T02:30:00Z"
            ]
        );
    }

    #[test]
    fn an_hour_that_is_skipped_or_comes_twice_costs_no_tick_of_each_day() {
        for (from, day) in [
            ("2026-03-28T12:00:00Z", "2026-03-29"),
            ("2026-10-24T12:00:00Z", "2026-10-25"),
        ] {
            let mut night = ticker("0 30 2 * * *", from);
            let ticks = ticks(&mut night, 2);
            assert!(ticks[0].starts_with(day), "{ticks:?}");
        }
        let mut often = ticker("0 */5 * * * *", "2026-03-29T00:50:00Z");
        let ticks = ticks(&mut often, 4);
        assert_eq!(
            ticks,
            [
                "2026-03-29T00:55:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:05:00Z",
                "2026-03-29T01:10:00Z"
            ]
        );
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_silence_it() {
        let mut ticker = ticker("0 */5 * * * *", "2026-11-24T12:01:00Z");
        assert!(!ticker.is_due(at("2026-11-24T10:58:00Z")));
        assert!(ticker.is_due(at("2026-11-24T11:00:00Z")));
    }

    #[tokio::test]
    async fn the_bell_rings_each_second_until_it_is_taken_down() {
        let bell = Bell::hang().await.unwrap();
        let begun = Clock::default().now();
        for _ in 0..3 {
            tokio::time::timeout(Duration::from_secs(5), bell.rings())
                .await
                .unwrap();
        }
        let took = Clock::default().now() - begun;
        assert!(took > TimeDelta::seconds(1), "{took}");
        let rung = Arc::clone(&bell.rung);
        bell.take_down().await;
        let _ = tokio::time::timeout(Duration::from_millis(600), rung.notified()).await;
        let quiet = tokio::time::timeout(Duration::from_secs(2), rung.notified()).await;
        assert!(quiet.is_err());
    }

    use crate::clock::Clock;
}
