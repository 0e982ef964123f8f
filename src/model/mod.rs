//! The domain as plain data: no I/O, no async, and nothing of ours imported.

pub mod brake;
pub mod clocks;
pub mod closed_set;
pub mod cv;
pub mod dialect;
pub mod hash;
pub mod health;
pub mod job;
pub mod outcome;
pub mod shape;
pub mod status;
pub mod volume;
pub mod window;
pub mod words;

pub use brake::{Brake, DeleteLoad};
pub use clocks::{Clocks, OddClock, SourceClock};
pub(crate) use closed_set::closed_set;
pub use cv::{CvId, Document, JsonPointer, Unreadable};
pub use dialect::{Dialect, Names, Paging};
pub use hash::{hex, sha256};
pub use health::{Facts, Finding, Health, Light};
pub use job::Job;
pub use outcome::{Difference, Fate, Outcome, ParkClass, Tally};
pub use shape::DriftKind;
pub use status::{Standing, StatusWords};
pub use window::Window;
