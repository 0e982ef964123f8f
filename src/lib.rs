//! cvsync keeps a PostgreSQL database in step with the CVs that VDAB's CV API offers its partners.

pub(crate) mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod conformance;
pub(crate) mod contract;
pub mod daemon;
pub mod demo;
pub mod model;
pub(crate) mod outbound;
pub(crate) mod pauses;
pub(crate) mod shutdown;
pub mod simulator;
pub mod store;
pub mod sync;
pub mod telemetry;
pub(crate) mod terminal;
pub mod vdab;

pub use admin::input;
