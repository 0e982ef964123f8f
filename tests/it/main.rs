//! The behaviour of the whole on real parts: a real PostgreSQL, real HTTP over sockets, the simulator as the source.

mod architecture;
mod bad_answers;
mod pipeline;
mod seed_page;
mod store;
mod world;
