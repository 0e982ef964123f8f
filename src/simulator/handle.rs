//! A test's control of a running simulator.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::Shared;
use super::answer::Answer;
use super::call::{Call, CallRecord, Operation};
use super::faults::{Fault, FaultShare, Target};
use super::settings::Settings;
use super::world::World;

/// Reads and changes a simulator. Clones share it.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Reads or changes the current world.
    pub fn world<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        let mut gateway = self.0.lock();
        gateway.world.advance(self.0.clock.now());
        work(&mut gateway.world)
    }

    /// The content of a perfect copy: each live document, as it is served.
    #[must_use]
    pub fn documents(&self) -> BTreeMap<Uuid, Value> {
        let mut gateway = self.0.lock();
        gateway.world.advance(self.0.clock.now());
        let answered = |id: Uuid| {
            let call = Call {
                operation: Operation::Detail,
                id: Some(id.to_string()),
                query: Vec::new(),
            };
            let answer = gateway.answer(&call, &Fault::Pass);
            Some((id, serde_json::from_slice(&answer.body).ok()?))
        };
        gateway.world.live_ids().filter_map(answered).collect()
    }

    /// Changes key, quota and limits.
    pub fn settings(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.0.lock().settings);
    }

    /// From now on, runs `hook` before each response to a call that has key and quota, so that a test can change the
    /// world between two pages. The hook must not use a handle, because the simulator waits for it.
    pub fn on_request(&self, hook: impl FnMut(&Call, &mut World) + Send + 'static) {
        self.0.lock().hook = Some(Box::new(hook));
    }

    /// From now on, `rewrite` changes each successful response to this operation. It must not use a handle.
    pub fn rewrite(&self, operation: Operation, rewrite: impl FnMut(&mut Answer) + Send + 'static) {
        self.0.lock().rewrite = Some((operation, Box::new(rewrite)));
    }

    /// From now on, these are the only random faults.
    pub fn set_faults(&self, shares: impl Into<Vec<FaultShare>>) {
        self.0.lock().faults.shares = shares.into();
    }

    /// Adds the faults of the next calls to this operation or id, after those scripted before.
    pub fn script(&self, target: impl Into<Target>, faults: impl IntoIterator<Item = Fault>) {
        self.0
            .lock()
            .faults
            .scripts
            .entry(target.into())
            .or_default()
            .extend(faults);
    }

    /// From now on, each call to this operation or id has this fault.
    pub fn rule(&self, target: impl Into<Target>, fault: Fault) {
        self.0.lock().faults.rules.insert(target.into(), fault);
    }

    /// Removes all faults: shares, scripts and rules.
    pub fn clear_faults(&self) {
        let faults = &mut self.0.lock().faults;
        faults.shares.clear();
        faults.scripts.clear();
        faults.rules.clear();
    }

    /// The number of calls to this operation, refused ones included.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.0.lock().log.count(operation)
    }

    /// The latest 100,000 calls, oldest first.
    #[must_use]
    pub fn call_log(&self) -> Vec<CallRecord> {
        self.0.lock().log.latest()
    }
}
