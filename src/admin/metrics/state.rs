//! Gauges about the lag, and about this instance.

use chrono::TimeDelta;

use super::gauge::{Gauge, by, count, flag, numbers, one, seconds};
use crate::admin::facts::{self, coverage};
use crate::admin::{Audience, Phase};
use crate::store::coverage::KANDIDATEN;

pub(super) const GAUGES: &[Gauge] = &[
    Gauge {
        name: "cvsync.watermark.timestamp",
        unit: "s",
        help: "VDAB's time before which every change is applied or parked, as a Unix timestamp",
        read: |admin| {
            let at = seconds(coverage(admin)?.watermark?.timestamp_millis());
            Some(by("stream", [(KANDIDATEN, at)]))
        },
    },
    Gauge {
        name: "cvsync.source.lag",
        unit: "s",
        help: "VDAB's time now minus the watermark",
        read: |admin| {
            // A standby does not see VDAB's clock, so its value would include the error of its own clock.
            if admin.phase() == Phase::Standby {
                return None;
            }
            let lag = admin.view.now() - coverage(admin)?.watermark?;
            let lag = seconds(lag.num_milliseconds());
            Some(by("stream", [(KANDIDATEN, lag)]))
        },
    },
    Gauge {
        name: "cvsync.live.lag",
        unit: "s",
        help: "VDAB's time now minus the time up to which the live lane has listed",
        read: |admin| {
            if admin.phase() == Phase::Standby {
                return None;
            }
            let lag = admin.view.now() - coverage(admin)?.live_edge()?;
            let lag = seconds(lag.num_milliseconds());
            Some(by("stream", [(KANDIDATEN, lag)]))
        },
    },
    Gauge {
        name: "cvsync.backlog",
        unit: "s",
        help: "VDAB's time before the live lane that is not settled; 0 without a backlog",
        read: |admin| {
            let coverage = coverage(admin)?;
            coverage.live_edge()?;
            let gaps = coverage.gaps(admin.view.settings().from).into_iter();
            let left: TimeDelta = gaps.map(|gap| gap.width()).sum();
            Some(by(
                "stream",
                [(KANDIDATEN, seconds(left.num_milliseconds()))],
            ))
        },
    },
    Gauge {
        name: "cvsync.backlog.oldest.timestamp",
        unit: "s",
        help: "The oldest time of VDAB that is not settled, as a Unix timestamp; absent without a backlog",
        read: |admin| {
            let gaps = coverage(admin)?.gaps(admin.view.settings().from);
            let at = seconds(gaps.last()?.van().timestamp_millis());
            Some(by("stream", [(KANDIDATEN, at)]))
        },
    },
    Gauge {
        name: "cvsync.last.success.timestamp",
        unit: "s",
        help: "When this job last succeeded, as a Unix timestamp",
        read: |admin| {
            let jobs = numbers(admin)?.last_success.into_iter();
            Some(by(
                "job",
                jobs.map(|(job, at)| (job.as_str(), count(at.timestamp()))),
            ))
        },
    },
    Gauge {
        name: "cvsync.source.clock.offset",
        unit: "s",
        help: "This machine's clock minus VDAB's clock",
        read: |admin| {
            let ahead = admin.view.local_clock_ahead()?;
            Some(one(seconds(ahead.num_milliseconds())))
        },
    },
    Gauge {
        name: "cvsync.clock.disagreement",
        unit: "s",
        help: "How far this clock is ahead of the median of the three clocks that cvsync compares",
        read: |admin| {
            let clocks = admin.view.clocks().compared();
            let ahead = clocks.into_iter().map(|clock| {
                let ahead = seconds(clock.ahead.num_milliseconds());
                (clock.name.as_str(), ahead)
            });
            Some(by("clock", ahead))
        },
    },
    Gauge {
        name: "cvsync.paused",
        unit: "",
        help: "1 while syncing is paused, else 0",
        read: |admin| Some(one(flag(admin.board.pause().is_some()))),
    },
    Gauge {
        name: "cvsync.ready",
        unit: "",
        help: "1 if this instance can work, else 0",
        read: |admin| Some(one(flag(facts::health(admin, Audience::Public).ready))),
    },
    Gauge {
        name: "cvsync.mirror.replica.up",
        unit: "",
        help: "1 if the mirror can read from its replica, else 0; absent without one",
        read: |admin| Some(one(flag(admin.mirror.standby()?.error.is_none()))),
    },
    Gauge {
        name: "cvsync.mirror.replica.lag",
        unit: "s",
        help: "How far the mirror's replica is behind the primary; 0 if it replays a change within 2 seconds; absent while unknown",
        read: |admin| {
            let lag = admin.mirror.standby()?.lag?;
            Some(one(seconds(lag.num_milliseconds())))
        },
    },
    Gauge {
        name: "cvsync.leader",
        unit: "",
        help: "1 if this instance is the leader, else 0",
        read: |admin| Some(one(flag(admin.board.phase() == Phase::Leading))),
    },
];
