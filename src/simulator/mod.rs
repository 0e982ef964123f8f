//! A stand-in for the VDAB API with synthetic CVs: `cvsync simulate`, and the source that the tests sync from.
//!
//! **Invariant**: it is written from the contract alone and shares no code with the client, so that a mistake in one of them
//! fails a test.

mod answer;
mod call;
mod cv;
mod edits;
mod faults;
mod gateway;
mod handle;
mod json;
mod listing;
mod persoon;
mod quirks;
mod quota;
mod reference;
mod routes;
mod search;
mod serve;
mod settings;
mod sparse;
#[cfg(test)]
mod tests;
mod words;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use answer::Answer;
pub use call::{CallRecord, Operation};
pub(crate) use faults::FaultKind;
pub use faults::{Fault, FaultShare};
pub use handle::Handle;
pub use quirks::Quirk;
pub(crate) use settings::Settings;
pub use world::World;

use crate::clock::Clock;
use crate::contract::MAX_WINDOW_DAYS;
use call::CallLog;
use faults::Faults;
use gateway::Gateway;
use quirks::Quirks;
use quota::Quota;
use world::Origin;

#[derive(Clone)]
pub struct Options {
    /// Address to listen on; port 0 takes a free port.
    pub listen: SocketAddr,
    /// Number of CVs at the start, including removed ones.
    pub candidates: u32,
    /// The same seed gives the same CVs.
    pub seed: u64,
    pub key: String,
    /// Changes per second from the epoch on; 0 for none.
    pub changes_per_second: f64,
    /// The time from the first change to the epoch.
    pub history: TimeDelta,
    /// The quota of each operation; none if `None` or 0.
    pub rate_per_minute: Option<u32>,
    pub faults: Vec<FaultShare>,
    /// The broken assumptions of the contract.
    pub quirks: Vec<Quirk>,
    /// The time at which changes begin; now if `None`. A restart with the same epoch has the same state.
    pub epoch: Option<DateTime<Utc>>,
}

impl Default for Options {
    /// A free port on loopback, 100 CVs of the last 30 days, the key `test-key`, no changes and no faults.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            candidates: 100,
            seed: 1,
            key: "test-key".to_owned(),
            changes_per_second: 0.0,
            history: TimeDelta::days(30),
            rate_per_minute: None,
            faults: Vec::new(),
            quirks: Vec::new(),
            epoch: None,
        }
    }
}

/// A running simulator. It stops when it is dropped.
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Simulator {
    /// Creates the world and serves it on the current runtime. `clock` is the source's time, which tests can skew.
    ///
    /// Fails if it cannot listen on the address.
    pub async fn start(options: Options, clock: Clock) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            gateway: Mutex::new(gateway(options, clock.now())),
            clock,
            stop: CancellationToken::new(),
        });
        let server = tokio::spawn(serve::run(listener, Arc::clone(&shared)));
        Ok(Self {
            addr,
            shared,
            server,
        })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL for a client, such as `http://127.0.0.1:8090/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }

    /// Stops the simulator and waits until all connections are closed.
    pub async fn shutdown(mut self) {
        self.shared.stop.cancel();
        let _ = (&mut self.server).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// The shared state of all connections and handles.
struct Shared {
    gateway: Mutex<Gateway>,
    clock: Clock,
    stop: CancellationToken,
}

impl Shared {
    /// The gateway, also after a test's hook has panicked.
    fn lock(&self) -> MutexGuard<'_, Gateway> {
        self.gateway.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gateway(options: Options, now: DateTime<Utc>) -> Gateway {
    let mut world = World::new(Origin {
        seed: options.seed,
        candidates: options.candidates,
        history: options.history,
        epoch: options.epoch.unwrap_or(now),
        changes_per_second: options.changes_per_second,
    });
    world.advance(now);
    let mut settings = Settings {
        key: options.key,
        rate_per_minute: options.rate_per_minute,
        max_window: TimeDelta::days(MAX_WINDOW_DAYS),
        send_date: true,
        date_ahead: TimeDelta::zero(),
    };
    Gateway {
        quirks: Quirks::new(options.quirks, &mut settings, &mut world),
        world,
        settings,
        faults: Faults::new(options.faults, options.seed),
        log: CallLog::default(),
        hook: None,
        rewrite: None,
        quota: Quota::default(),
    }
}
