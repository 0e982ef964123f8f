//! Reads input of clients over HTTP without a database, so that it can be fuzzed. An error is status and text of the response.

use super::actions::{self, Begin, Retry};
use super::mirror;
use super::refusal::{Refusal, body};

/// The body of `POST /api/parked/retry`.
pub fn retry(bytes: &[u8]) -> Result<(), (u16, String)> {
    let read = body::<Retry>(bytes, "{}");
    read.map(drop).map_err(Refusal::into_parts)
}

/// The body of `POST /api/deletes/approve` and of `POST /api/deletes/discard`.
pub fn deletes(bytes: &[u8]) -> Result<(), (u16, String)> {
    let read = actions::chosen(bytes);
    read.map(drop).map_err(Refusal::into_parts)
}

/// The body of `POST /api/pause`.
pub fn pause(bytes: &[u8]) -> Result<(), (u16, String)> {
    let read = body::<Begin>(bytes, "{}");
    read.map(drop).map_err(Refusal::into_parts)
}

/// The parameters of a search in the mirror.
pub fn search(query: &str) -> Result<(), (u16, String)> {
    mirror::read_search(query).map_err(mirror::Refusal::into_parts)
}

/// The parameters of a list of changes in the mirror.
pub fn changes(query: &str) -> Result<(), (u16, String)> {
    mirror::read_changes(query).map_err(mirror::Refusal::into_parts)
}
