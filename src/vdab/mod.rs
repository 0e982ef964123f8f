//! The source of the data: the only code that speaks HTTP to VDAB.
//!
//! Invariant: each attempt has a permit of its operation's quota and has passed its operation's gate. An absence is a response,
//! not an error.
//!
//! Responses are read by plain functions over bytes, which are public so that they can be fuzzed.

mod absence;
pub mod answer;
mod attempt;
mod auth;
pub mod bulk;
mod canaries;
mod client;
mod crosscheck;
pub mod detail;
mod drift;
mod error;
mod failure;
mod gate;
mod gate_state;
pub mod headers;
mod json;
mod loan;
mod names;
mod operation;
mod page;
pub(crate) mod probe;
mod quota;
pub mod reference;
mod request;
mod retry;
pub mod search;
mod source_time;
mod traffic;
mod usual_form;

pub use self::attempt::Answer;
pub use self::client::{Client, ClientError};
pub use self::detail::Detail;
pub(crate) use self::drift::Drifts;
pub use self::error::{ApiError, Reason, Remedy};
pub use self::failure::Said;
pub(crate) use self::gate_state::ClosedGate;
pub(crate) use self::loan::{Ask, Loan};
pub(crate) use self::operation::Operation;
pub(crate) use self::page::{BulkItem, BulkPage, ListedId};
pub(crate) use self::quota::LARGEST_LOAN;
pub(crate) use self::retry::persevere;
pub(crate) use self::search::Search;
pub(crate) use self::source_time::SourceTime;
