//! The domain as plain data: no I/O, no async, no imports from other modules.

pub(crate) mod brake;
pub mod clocks;
pub(crate) mod closed_set;
pub mod coverage;
pub(crate) mod cv;
pub(crate) mod dialect;
mod filled;
pub(crate) mod hash;
pub mod health;
pub(crate) mod job;
pub(crate) mod lane;
pub(crate) mod outcome;
pub(crate) mod shape;
pub(crate) mod status;
pub(crate) mod volume;
pub mod window;
pub(crate) mod words;

pub use brake::Brake;
pub(crate) use brake::DeleteLoad;
pub(crate) use clocks::{Clocks, SourceClock};
pub(crate) use closed_set::closed_set;
pub use coverage::Coverage;
pub(crate) use cv::Unreadable;
pub use cv::{CvId, Document, JsonPointer};
pub use dialect::Names;
pub(crate) use dialect::{Dialect, Paging};
pub(crate) use filled::filled;
pub use hash::{hex, sha256};
pub(crate) use health::{Facts, Health, Light};
pub(crate) use job::Job;
pub use lane::Lane;
pub(crate) use outcome::{Difference, Tally};
pub use outcome::{Fate, Outcome, ParkClass};
pub(crate) use shape::DriftKind;
pub use status::{Standing, StatusWords};
pub use window::Window;
