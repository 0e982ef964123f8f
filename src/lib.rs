//! cvsync keeps a PostgreSQL database in step with the CVs that VDAB's CV API offers its partners.

pub mod clock;
pub mod contract;
pub mod simulator;
