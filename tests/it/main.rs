//! The behaviour of the whole on real parts: a real PostgreSQL, real HTTP over sockets, the simulator as the source.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of a test are small"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's own look at a database leaves nothing to PgBouncer, and a test may ask the time"
)]

mod access;
mod actions;
mod alerts;
mod architecture;
mod bad_answers;
mod browser;
mod circles;
mod clocks;
mod closing;
mod command_line;
mod commands;
mod conformance;
mod connections;
mod contributing;
mod daemon;
mod database_faults;
mod database_tls;
mod database_url;
mod demo;
mod docs;
mod downstream;
mod export;
mod failover;
mod failovers;
mod feed;
mod flood;
mod followers;
mod fuzz;
mod health;
mod histories;
mod hostile;
mod http_proxy;
mod install;
mod json;
mod keep;
mod lanes;
mod leadership;
mod locks;
mod look_alikes;
mod lost_history;
mod marker_gate;
mod mirror;
mod odd_documents;
mod page;
mod pair;
mod patroni;
mod pgbouncer;
mod pipeline;
mod privacy;
mod private_postgres;
mod process;
mod process_faults;
mod prometheus;
mod proxy;
mod questions;
mod readers;
mod reference;
mod refit;
mod repair;
mod replica;
mod replication;
mod restore;
mod rights;
mod runbook;
mod running;
mod search;
mod seed_page;
mod settings;
mod source_faults;
mod stopping;
mod store;
mod subject;
mod suppression;
mod tls;
mod traces;
mod upgrade;
mod views;
mod webhook;
mod windows;
mod world;
