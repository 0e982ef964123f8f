//! The main job, visibly, with nothing configured: private PostgreSQL, simulator, daemon.

pub mod postgres;
