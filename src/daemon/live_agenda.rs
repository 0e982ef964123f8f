//! The schedule of the live lane; pure.

use chrono::{DateTime, Utc};

use super::again::{after, is_again, pauses};
use super::schedule::Ticker;
use crate::config;
use crate::pauses::Pauses;

/// When the live lane lists.
#[derive(Debug)]
pub(super) struct LiveAgenda {
    sync: Ticker,
    /// A sync is due whatever the schedule says: the first one, or one that failed.
    sync_at: Option<DateTime<Utc>>,
    pauses: Pauses,
}

impl LiveAgenda {
    /// For an instance that begins to lead: a sync is due at once.
    pub(super) fn new(settings: &config::Sync, now: DateTime<Utc>) -> Self {
        Self {
            sync: Ticker::new(settings.schedule.clone(), now),
            sync_at: Some(now),
            pauses: pauses(),
        }
    }

    /// Whether a sync is due by now.
    pub(super) fn is_due(&mut self, now: DateTime<Utc>) -> bool {
        is_again(self.sync_at, now) || self.sync.is_due(now)
    }

    /// When the next sync starts.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        [self.sync.next_tick(), self.sync_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// A sync begins: the next one is due at the next tick.
    pub(super) fn begun(&mut self, now: DateTime<Utc>) {
        self.sync.skip_to(now);
        self.sync_at = None;
    }

    /// The sync under way was dropped, and is due again.
    pub(super) fn dropped(&mut self, now: DateTime<Utc>) {
        self.sync_at = Some(now);
    }

    /// A sync has ended. If a tick came while it was under way, the next one is due: this one did not list what changed meanwhile.
    pub(super) fn done(&mut self, now: DateTime<Utc>, failed: bool) {
        self.sync_at = after(&mut self.pauses, now, failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Env};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn settings() -> config::Sync {
        let config = Config::load(&Env::new([
            ("CVSYNC_API_KEY", "k"),
            ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
        ]));
        config.unwrap().sync
    }

    #[test]
    fn a_sync_is_due_at_start_and_then_by_schedule() {
        let mut agenda = LiveAgenda::new(&settings(), at("2026-11-23T12:01:00Z"));
        assert!(agenda.is_due(at("2026-11-23T12:01:00Z")));
        agenda.begun(at("2026-11-23T12:01:00Z"));
        agenda.done(at("2026-11-23T12:01:30Z"), false);
        assert!(!agenda.is_due(at("2026-11-23T12:04:59Z")));
        assert!(agenda.is_due(at("2026-11-23T12:05:00Z")));
    }

    #[test]
    fn ticks_that_come_during_a_sync_are_served_by_one_more() {
        let mut agenda = LiveAgenda::new(&settings(), at("2026-11-23T12:01:00Z"));
        agenda.begun(at("2026-11-23T12:01:00Z"));
        agenda.done(at("2026-11-23T12:12:00Z"), false);
        assert!(agenda.is_due(at("2026-11-23T12:12:00Z")));
        agenda.begun(at("2026-11-23T12:12:00Z"));
        agenda.done(at("2026-11-23T12:12:10Z"), false);
        assert!(!agenda.is_due(at("2026-11-23T12:14:59Z")));
        assert!(agenda.is_due(at("2026-11-23T12:15:00Z")));
    }

    #[test]
    fn a_sync_that_failed_comes_again_sooner() {
        let mut live = LiveAgenda::new(&settings(), at("2026-11-23T12:01:00Z"));
        live.begun(at("2026-11-23T12:01:00Z"));
        live.done(at("2026-11-23T12:01:00Z"), true);
        assert!(!live.is_due(at("2026-11-23T12:01:01Z")));
        assert!(live.is_due(at("2026-11-23T12:01:09Z")));
    }
}
