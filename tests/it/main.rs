//! The behaviour of the whole on real parts: a real PostgreSQL, real HTTP over sockets, the simulator as the source.

mod architecture;
mod bad_answers;
mod commands;
mod daemon;
mod docs;
mod leadership;
mod pgbouncer;
mod pipeline;
mod process;
mod repair;
mod seed_page;
mod store;
mod world;
