//! Gauges about the content of the database.

use super::gauge::{Gauge, Values, by, count, numbers, one};
use crate::admin::Admin;
use crate::admin::sample::QUANTILES;
use crate::store::feed_consumer::Consumer;

pub(super) const GAUGES: &[Gauge] = &[
    Gauge {
        name: "cvsync.parked",
        unit: "",
        help: "Parked CVs: they could not be fetched or stored and are retried",
        read: |admin| {
            let parked = numbers(admin)?.parked.into_iter();
            let parked = parked.map(|(class, ids)| (class, count(ids)));
            Some(by("error_class", parked))
        },
    },
    Gauge {
        name: "cvsync.parked.oldest.age",
        unit: "s",
        help: "Time since the oldest parked CV was parked; 0 if none is parked",
        read: |admin| Some(one(numbers(admin)?.parked_oldest_age)),
    },
    Gauge {
        name: "cvsync.stored",
        unit: "",
        help: "CVs in the database (live), deleted CVs that are remembered (tombstone), and CVs that do not match CVSYNC_KEEP (filtered)",
        read: |admin| {
            let numbers = numbers(admin)?;
            let live = count(numbers.stored);
            let tombstones = count(numbers.ages.tombstones);
            let filtered = count(numbers.ages.filtered);
            let states = [
                ("live", live),
                ("tombstone", tombstones),
                ("filtered", filtered),
            ];
            Some(by("state", states))
        },
    },
    Gauge {
        name: "cvsync.confirmed.age",
        unit: "s",
        help: "Time within which VDAB last confirmed this share of the documents",
        read: |admin| ages(admin, "share"),
    },
    Gauge {
        name: "cvsync.verified.age",
        unit: "s",
        help: "Deprecated, use cvsync_confirmed_age_seconds: time since VDAB last confirmed documents, by quantile",
        read: |admin| ages(admin, "quantile"),
    },
    Gauge {
        name: "cvsync.feed.seq",
        unit: "",
        help: "The latest seq in the change feed",
        read: |admin| Some(one(count(numbers(admin)?.feed_seq))),
    },
    Gauge {
        name: "cvsync.feed.consumer.lag",
        unit: "",
        help: "Changes that this consumer has not processed, up to 100,000",
        read: |admin| consumers(admin, |one| count(one.behind)),
    },
    Gauge {
        name: "cvsync.feed.consumer.wait",
        unit: "s",
        help: "Age of the oldest change that this consumer has not processed; 0 without such a change",
        read: |admin| consumers(admin, |one| one.waiting_seconds),
    },
    Gauge {
        name: "cvsync.unsearchable",
        unit: "",
        help: "CVs that searches do not find, because PostgreSQL cannot index their documents",
        read: |admin| Some(one(count(numbers(admin)?.unsearchable))),
    },
    Gauge {
        name: "cvsync.changes.lately",
        unit: "",
        help: "Changes that VDAB listed in the six hours before the watermark",
        read: |admin| Some(one(count(numbers(admin)?.changes?.0))),
    },
    Gauge {
        name: "cvsync.changes.usual",
        unit: "",
        help: "Usual number of changes in these hours of the week; absent while unknown",
        read: |admin| Some(one(count(numbers(admin)?.changes?.1?))),
    },
    Gauge {
        name: "cvsync.deletes.withheld",
        unit: "",
        help: "Held deletes: they wait for a decision or for proof from VDAB",
        read: |admin| Some(one(count(numbers(admin)?.held_deletes))),
    },
    Gauge {
        name: "cvsync.refit.left",
        unit: "",
        help: "CVs that the current stage of a refit still examines; 0 if no refit is under way",
        read: |admin| {
            let refit = numbers(admin)?.refit;
            let left = refit.map_or(0, |refit| (refit.total - refit.examined).max(1));
            Some(one(count(left)))
        },
    },
    Gauge {
        name: "cvsync.suppressed",
        unit: "",
        help: "Suppressed CVs: they are not stored, whatever VDAB lists",
        read: |admin| Some(one(count(numbers(admin)?.suppressed))),
    },
    Gauge {
        name: "cvsync.schema.drift",
        unit: "",
        help: "Fields, status words and types in responses that the contract does not have, since the process started",
        read: |admin| {
            let seen = admin.view.drift().into_iter();
            let names = seen.map(|(kind, names)| (kind.as_str(), count(names.len())));
            Some(by("kind", names))
        },
    },
    Gauge {
        name: "cvsync.reconcile.difference",
        unit: "",
        help: "CVs that differed in the latest comparison of all CVs at VDAB with the database",
        read: |admin| {
            let numbers = numbers(admin)?;
            let run = numbers.page.reconciled.as_ref()?;
            let found = [
                ("missing", count(run.missing)),
                ("extra", count(run.extra)),
                ("stale", count(run.stale)),
            ];
            Some(by("kind", found))
        },
    },
];

/// The ages of confirmations, with a label of this name.
fn ages(admin: &Admin, label: &'static str) -> Option<Values> {
    let ages = &numbers(admin)?.ages.verified;
    let shares = QUANTILES.iter().map(ToString::to_string);
    Some(by(label, shares.zip(ages.iter().copied())))
}

/// One value per consumer of the change feed.
fn consumers(admin: &Admin, value: impl Fn(&Consumer) -> f64) -> Option<Values> {
    let consumers = numbers(admin)?.consumers.into_iter();
    let value = |one: Consumer| {
        let value = value(&one);
        (one.name, value)
    };
    Some(by("consumer", consumers.map(value)))
}
