//! Gauges about the current run, the schedules and the queues.

use super::gauge::{Gauge, Values, by, count, one, seconds};
use crate::admin::Admin;
use crate::model::Job;
use crate::sync::{Queue, RELIST_EVERY};

pub(super) const GAUGES: &[Gauge] = &[
    Gauge {
        name: "cvsync.workers",
        unit: "",
        help: "Workers by state: idle, quota (waiting for the quota or a gate), fetching, writing (waiting for the writer)",
        read: |admin| {
            let workers = admin.view.workers();
            let states = [
                ("idle", count(workers.idle)),
                ("quota", count(workers.quota)),
                ("fetching", count(workers.fetching)),
                ("writing", count(workers.writing)),
            ];
            Some(by("state", states))
        },
    },
    Gauge {
        name: "cvsync.windows.pending",
        unit: "",
        help: "Windows of the current run that are not settled, by state",
        read: |admin| {
            let pending = admin.view.pending();
            let states = [
                ("planned", pending.planned),
                ("listing", pending.listing),
                ("applying", pending.applying),
            ];
            let states = states.map(|(state, windows)| (state, count(windows)));
            Some(by("state", states))
        },
    },
    Gauge {
        name: "cvsync.access.waiting",
        unit: "",
        help: "Records of CVs that this instance's mirror gave and that are not written yet",
        read: |admin| Some(one(count(admin.mirror.waiting_records()))),
    },
    Gauge {
        name: "cvsync.schedule.interval",
        unit: "s",
        help: "Interval of this job's schedule",
        read: |admin| Some(intervals(admin)),
    },
    Gauge {
        name: "cvsync.settle.lag",
        unit: "s",
        help: "CVSYNC_SETTLE_LAG: how far the watermark stays behind on purpose",
        read: |admin| Some(one(admin.view.settings().settle_lag.as_secs_f64())),
    },
    Gauge {
        name: "cvsync.queue.depth",
        unit: "",
        help: "Items that wait in this queue",
        read: |admin| Some(queues(admin, |queue| queue.depth)),
    },
    Gauge {
        name: "cvsync.queue.capacity",
        unit: "",
        help: "Capacity of this queue",
        read: |admin| Some(queues(admin, |queue| queue.capacity)),
    },
];

fn intervals(admin: &Admin) -> Values {
    let settings = admin.view.settings();
    let jobs = [
        (Job::Sync, Some(&settings.schedule)),
        (Job::Reconcile, settings.reconcile_schedule.as_ref()),
        (Job::Reference, settings.reference.schedule.as_ref()),
    ];
    let now = admin.view.now();
    let scheduled = jobs
        .into_iter()
        .filter_map(|(job, schedule)| Some((job, schedule?.interval(now)?)));
    let relist = settings.relist.map(|_| (Job::Relist, RELIST_EVERY));
    let intervals = scheduled.chain(relist);
    let intervals =
        intervals.map(|(job, interval)| (job.as_str(), seconds(interval.num_milliseconds())));
    by("job", intervals)
}

fn queues(admin: &Admin, number: impl Fn(&Queue) -> usize) -> Values {
    let queues = admin.view.queues();
    let numbers = queues
        .iter()
        .map(|queue| (queue.name, count(number(queue))));
    by("queue", numbers)
}
