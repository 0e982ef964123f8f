//! The CVs and their changes: a pure function of the options and of time, unless a test interferes.
//!
//! Only documents of tests are stored, so a candidate takes about 100 bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::cv::{self, Cv};
use super::listing::{Change, Listing, Millis};
use crate::contract::{BulkItem, BulkPage, OPEN, VERWIJDERD};

/// The percentage of the first candidates that are already removed.
const GONE_AT_FIRST: u8 = 3;
/// Of 100 changes, this many remove a CV and as many add one; the others change one.
const COMINGS_AND_GOINGS: u8 = 5;
/// Distinguishes this generator from those of the documents.
const BEGINNING: u64 = 200;
const CHANGE: u64 = 201;

#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) seed: u64,
    pub(super) candidates: u32,
    pub(super) history: TimeDelta,
    pub(super) epoch: DateTime<Utc>,
    pub(super) changes_per_second: f64,
}

/// All candidates at one moment.
pub struct World {
    origin: Origin,
    pub(super) candidates: Vec<Candidate>,
    pub(super) by_id: HashMap<Uuid, u32>,
    /// Documents with which a test has replaced rendered ones.
    pub(super) custom: HashMap<u32, Arc<str>>,
    pub(super) listing: Listing,
    now: DateTime<Utc>,
    /// The number of automatic changes so far.
    changes: u32,
}

pub(super) struct Candidate {
    pub(super) id: Uuid,
    changed: Millis,
    revision: u32,
    live: bool,
}

impl World {
    /// The world at its epoch.
    pub(super) fn new(origin: Origin) -> Self {
        let history = origin.history.num_milliseconds().max(1);
        let beginning = origin.epoch.timestamp_millis() - history;
        let changes: Vec<_> = (0..origin.candidates)
            .map(|index| {
                let mut rng = cv::draw(origin.seed, index, BEGINNING, 0);
                Change {
                    at: beginning + rng.i64(0..history),
                    index,
                    live: rng.u8(0..100) >= GONE_AT_FIRST,
                }
            })
            .collect();
        let candidates: Vec<_> = changes
            .iter()
            .map(|change| Candidate {
                id: cv::id(origin.seed, change.index),
                changed: change.at,
                revision: 0,
                live: change.live,
            })
            .collect();
        Self {
            by_id: (0..)
                .zip(&candidates)
                .map(|(index, candidate)| (candidate.id, index))
                .collect(),
            candidates,
            custom: HashMap::new(),
            listing: Listing::of(&changes),
            now: origin.epoch,
            changes: 0,
            origin,
        }
    }

    /// Makes all automatic changes up to `now`.
    pub(super) fn advance(&mut self, now: DateTime<Utc>) {
        self.now = now;
        while let Some(due) = self.next_change().filter(|due| *due <= now) {
            self.changes += 1;
            self.happen(due.timestamp_millis());
        }
        self.listing.reveal(now.timestamp_millis());
    }

    /// The current time of the world.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The ids of all live CVs.
    pub fn live_ids(&self) -> impl Iterator<Item = Uuid> {
        self.candidates
            .iter()
            .filter(|candidate| candidate.live)
            .map(|candidate| candidate.id)
    }

    /// The document of a live CV, as a detail call returns it.
    #[must_use]
    pub fn document(&self, id: Uuid) -> Option<String> {
        let index = self.by_id.get(&id).copied()?;
        self.candidates[index as usize]
            .live
            .then(|| self.document_at(index))
    }

    /// The content of a perfect copy: all live CVs, except documents that are not JSON.
    #[must_use]
    pub fn live_documents(&self) -> BTreeMap<Uuid, Value> {
        self.live()
            .filter_map(|(index, id)| {
                Some((id, serde_json::from_str(&self.document_at(index)).ok()?))
            })
            .collect()
    }

    /// One page of the window `van <= t < tot`.
    #[must_use]
    pub fn bulk(
        &self,
        van: DateTime<Utc>,
        tot: DateTime<Utc>,
        vanaf: usize,
        aantal: usize,
    ) -> BulkPage {
        let (listed, page) = self.listing.page(
            van.timestamp_millis(),
            tot.timestamp_millis(),
            vanaf,
            aantal,
        );
        let extras: Vec<_> = self
            .listing
            .extras
            .iter()
            .filter(|(at, _)| (van..tot).contains(at))
            .collect();
        let mut resultaten: Vec<_> = page.into_iter().map(|change| self.item(change)).collect();
        let room = aantal - resultaten.len();
        let passed = vanaf.saturating_sub(listed);
        resultaten.extend(
            extras
                .iter()
                .skip(passed)
                .take(room)
                .map(|(_, item)| item.clone()),
        );
        BulkPage {
            aantal: listed + extras.len(),
            resultaten,
        }
    }

    /// The live CVs: number and id.
    pub(super) fn live(&self) -> impl Iterator<Item = (u32, Uuid)> {
        (0..)
            .zip(&self.candidates)
            .filter(|(_, candidate)| candidate.live)
            .map(|(index, candidate)| (index, candidate.id))
    }

    /// The document to render for a candidate; `Err` with the text if a test has replaced it.
    pub(super) fn cv(&self, index: u32) -> Result<Cv, &str> {
        if let Some(text) = self.custom.get(&index) {
            return Err(text);
        }
        let Candidate {
            changed, revision, ..
        } = self.candidates[index as usize];
        let changed = DateTime::from_timestamp_millis(changed).unwrap_or_default();
        Ok(Cv {
            seed: self.origin.seed,
            index,
            revision,
            changed,
        })
    }

    pub(super) fn document_at(&self, index: u32) -> String {
        self.cv(index).map_or_else(str::to_owned, |cv| cv.render())
    }

    fn item(&self, change: Change) -> BulkItem {
        BulkItem {
            cv_id: self.candidates[change.index as usize].id.to_string(),
            status: Some(if change.live { OPEN } else { VERWIJDERD }.to_owned()),
        }
    }

    /// The time of the next automatic change; `None` without a rate.
    fn next_change(&self) -> Option<DateTime<Utc>> {
        let seconds = f64::from(self.changes.checked_add(1)?) / self.origin.changes_per_second;
        let after = TimeDelta::from_std(Duration::try_from_secs_f64(seconds).ok()?).ok()?;
        self.origin.epoch.checked_add_signed(after)
    }

    /// Makes change number `changes`, whose kind and CV depend only on the number.
    fn happen(&mut self, at: Millis) {
        let mut rng = cv::draw(self.origin.seed, self.changes, CHANGE, 0);
        let kind = rng.u8(0..100);
        let count = u32::try_from(self.candidates.len()).unwrap_or(u32::MAX);
        let struck = (0..64)
            .filter(|_| count > 0)
            .map(|_| rng.u32(0..count))
            .find(|index| self.candidates[*index as usize].live);
        match struck {
            Some(index) if kind >= COMINGS_AND_GOINGS => {
                self.set(index, at, kind >= 2 * COMINGS_AND_GOINGS);
            }
            _ => {
                self.newcomer(at, None);
            }
        }
    }

    pub(super) fn set(&mut self, index: u32, at: Millis, live: bool) {
        let candidate = &mut self.candidates[index as usize];
        candidate.revision += 1;
        candidate.changed = at;
        candidate.live = live;
        self.custom.remove(&index);
        self.list(Change { at, index, live });
    }

    pub(super) fn newcomer(&mut self, at: Millis, id: Option<Uuid>) -> u32 {
        let index = u32::try_from(self.candidates.len()).unwrap_or(u32::MAX);
        let id = id.unwrap_or_else(|| cv::id(self.origin.seed, index));
        self.candidates.push(Candidate {
            id,
            changed: at,
            revision: 0,
            live: true,
        });
        self.by_id.insert(id, index);
        self.list(Change {
            at,
            index,
            live: true,
        });
        index
    }

    fn list(&mut self, change: Change) {
        self.listing.record(change);
        self.listing.reveal(self.now.timestamp_millis());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn epoch() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    pub(in super::super) fn world(changes_per_second: f64) -> World {
        let history = TimeDelta::days(30);
        World::new(Origin {
            seed: 1,
            candidates: 1000,
            history,
            epoch: epoch(),
            changes_per_second,
        })
    }

    fn everything(world: &World) -> BulkPage {
        world.bulk(
            DateTime::UNIX_EPOCH,
            world.now() + TimeDelta::milliseconds(1),
            0,
            9999,
        )
    }

    #[test]
    fn time_leads_to_the_same_world_in_one_step_or_many() {
        let end = epoch() + TimeDelta::minutes(10);
        let (mut once, mut often) = (world(5.0), world(5.0));
        once.advance(end);
        (0..=600).for_each(|second| often.advance(epoch() + TimeDelta::seconds(second)));
        assert_eq!(everything(&once), everything(&often));
        assert_eq!(once.live_documents(), often.live_documents());
        let live = once.live_ids().count();
        assert!((850..1050).contains(&live), "{live} live");
        assert_ne!(everything(&once), everything(&world(5.0)));
    }

    #[test]
    fn all_candidates_changed_within_the_history_and_some_are_gone() {
        let world = world(0.0);
        let page = world.bulk(epoch() - TimeDelta::days(30), epoch(), 0, 9999);
        assert_eq!((page.aantal, page.resultaten.len()), (1000, 1000));
        let gone = page
            .resultaten
            .iter()
            .filter(|item| item.status.as_deref() == Some(VERWIJDERD))
            .count();
        assert!((10..60).contains(&gone), "{gone} gone");
        assert_eq!(gone + world.live_ids().count(), 1000);
        let day = world
            .bulk(
                epoch() - TimeDelta::days(3),
                epoch() - TimeDelta::days(2),
                0,
                9999,
            )
            .aantal;
        assert!((15..60).contains(&day), "{day} on one day");
    }

    #[test]
    fn pages_together_are_the_window() {
        let mut world = world(0.0);
        world.list_extra(epoch(), "NOT_FOUND", None);
        world.list_extra(epoch(), "NOT_FOUND", Some(OPEN));
        let all = everything(&world);
        assert_eq!(all.aantal, 1002);
        let end = world.now() + TimeDelta::milliseconds(1);
        let paged: Vec<_> = (0..)
            .step_by(77)
            .map(|vanaf| world.bulk(DateTime::UNIX_EPOCH, end, vanaf, 77).resultaten)
            .take_while(|p| !p.is_empty())
            .flatten()
            .collect();
        assert_eq!(paged, all.resultaten);
    }
}
