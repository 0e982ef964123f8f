//! Changes that tests make to a world.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::listing::Millis;
use super::world::World;
use crate::contract::BulkItem;

impl World {
    /// Changes a CV now, or restores a removed one. Returns `false` for an unknown id.
    pub fn update(&mut self, id: Uuid) -> bool {
        self.edit(id, |world, index, now| world.set(index, now, true))
    }

    /// Removes a CV now. Returns `false` for an unknown id.
    pub fn remove(&mut self, id: Uuid) -> bool {
        self.edit(id, |world, index, now| world.set(index, now, false))
    }

    pub fn add(&mut self) -> Uuid {
        let index = self.newcomer(self.now().timestamp_millis(), None);
        self.candidates[index as usize].id
    }

    /// Replaces the document of this CV by any text, changed at `at`. A new id adds a CV.
    pub fn put(&mut self, id: Uuid, document: impl Into<Arc<str>>, at: DateTime<Utc>) {
        let at = at.timestamp_millis();
        let index = match self.by_id.get(&id).copied() {
            Some(index) => {
                self.set(index, at, true);
                index
            }
            None => self.newcomer(at, Some(id)),
        };
        self.custom.insert(index, document.into());
    }

    /// Removes a CV from the bulk lists only, as if VDAB never listed its changes.
    pub fn unlist(&mut self, id: Uuid) -> bool {
        self.edit(id, |world, index, _| world.listing.forget(index))
    }

    /// Adds an item at the end of the bulk lists whose window contains `at`: garbage, or a duplicate of a CV.
    pub fn list_extra(
        &mut self,
        at: DateTime<Utc>,
        cv_id: impl Into<String>,
        status: Option<&str>,
    ) {
        let item = BulkItem {
            cv_id: cv_id.into(),
            status: status.map(str::to_owned),
        };
        self.listing.extras.push((at, item));
    }

    /// From now on, changes are listed this long after their time.
    pub fn delay_listing(&mut self, delay: TimeDelta) {
        self.listing.delay = delay;
    }

    fn edit(&mut self, id: Uuid, change: impl FnOnce(&mut Self, u32, Millis)) -> bool {
        let Some(index) = self.by_id.get(&id).copied() else {
            return false;
        };
        change(self, index, self.now().timestamp_millis());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::tests::{epoch, world};
    use super::*;
    use crate::contract::VERWIJDERD;

    #[test]
    fn what_a_test_does_shows_in_detail_and_list() {
        let mut world = world(0.0);
        let moment = epoch() + TimeDelta::seconds(5);
        world.advance(moment);
        let [updated, removed] = [0, 1].map(|n| world.live_ids().nth(n).unwrap());
        let before = world.document(updated);
        assert!(world.update(updated) && world.remove(removed) && !world.update(Uuid::nil()));
        let added = world.add();
        world.put(Uuid::nil(), "[1]", moment);
        assert_ne!(world.document(updated), before);
        assert_eq!(world.document(removed), None);
        assert_eq!(world.document(Uuid::nil()).as_deref(), Some("[1]"));
        let listed = world
            .bulk(moment, moment + TimeDelta::seconds(1), 0, 9)
            .resultaten;
        let ids: Vec<_> = listed.iter().map(|item| item.cv_id.clone()).collect();
        assert_eq!(
            ids,
            [updated, removed, added, Uuid::nil()].map(|id| id.to_string())
        );
        assert_eq!(listed[1].status.as_deref(), Some(VERWIJDERD));
        assert_eq!(world.live_documents()[&Uuid::nil()], serde_json::json!([1]));
        world.unlist(updated);
        assert_eq!(
            world
                .bulk(moment, moment + TimeDelta::seconds(1), 0, 9)
                .aantal,
            3
        );
    }
}
