//! cvsync keeps a PostgreSQL database in step with the CVs that VDAB's CV API offers its partners.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod conformance;
pub mod contract;
pub mod daemon;
pub mod demo;
pub mod model;
pub mod outbound;
pub mod pauses;
pub mod shutdown;
pub mod simulator;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod terminal;
pub mod vdab;
