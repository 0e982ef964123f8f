//! The domain as plain data: no I/O, no async, and nothing of ours imported.

pub mod cv;
pub mod outcome;
pub mod status;
pub mod window;

pub use cv::{CvId, Document, JsonPointer, Unreadable};
pub use outcome::{Fate, Outcome, ParkClass, Tally};
pub use status::{Standing, StatusWords};
pub use window::Window;
