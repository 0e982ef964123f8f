//! `/mirror/v1/kandidaten/bulk`: the CVs that changed here within a window of time.
//!
//! Invariant: once a window was returned, no change is added to it. So a client that requests adjacent windows up to now misses
//! no change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::answer::{Refusal, as_of};
use super::query::Query;
use super::reads::{LOOK, REPLAY};
use super::{Mirror, to_its_end};
use crate::admin::Admin;
use crate::contract::{BulkItem, BulkPage, DEFAULT_BULK_PAGE, MAX_BULK_PAGE, VERWIJDERD};
use crate::model::window::instant;
use crate::store::mirror::{self, Changes};

/// How far a client's clock may be ahead of the database's: a window that ends within this time is answered once it has passed.
/// A later end is rejected, because changes could still be added to the window.
const AHEAD: TimeDelta = TimeDelta::seconds(5);

/// A window, and the part of it that a page has.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    van: DateTime<Utc>,
    tot: DateTime<Utc>,
    vanaf: i64,
    aantal: i64,
}

pub(super) async fn bulk(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let asked = read_query(&Query::read(query))?;
    let changes = to_its_end(async move { once_whole(&admin.mirror, asked).await });
    let (changes, at) = changes.await?;
    Ok((as_of(at), Json(page(changes))).into_response())
}

pub(super) fn read_query(query: &Query) -> Result<Asked, Refusal> {
    query.only(&["van", "tot", "vanaf", "aantal"], &[])?;
    let asked = Asked {
        van: query.instant("van")?,
        tot: query.instant("tot")?,
        vanaf: query.number("vanaf", 0, 0..=usize::MAX)?,
        aantal: query.number("aantal", DEFAULT_BULK_PAGE, 1..=MAX_BULK_PAGE)?,
    };
    if asked.tot < asked.van {
        return Err(Refusal::wrong("van must not be later than tot"));
    }
    Ok(asked)
}

/// The changes in the window, once no new one can appear in it.
///
/// A window that the snapshot does not hold yet needs a fence after its end. A standby must also replay it, within [`REPLAY`].
async fn once_whole(mirror: &Mirror, asked: Asked) -> Result<(Changes, DateTime<Utc>), Refusal> {
    let mut fenced_at = None;
    mirror.reads.fences.refresh().await;
    loop {
        let turn = mirror.turn().await?;
        if let Some(found) = read(mirror, asked).await? {
            return Ok(found);
        }
        let wait = if let Some(at) = fenced_at {
            let late = Instant::now().saturating_duration_since(at) >= REPLAY;
            if late {
                return Err(Refusal::busy());
            }
            LOOK
        } else {
            let now = mirror.reads.fences.after(asked.tot).await?;
            let ahead = asked.tot - now;
            if ahead > AHEAD {
                let now = instant(now);
                return Err(Refusal::wrong(format!(
                    "tot must not be in the future; the time here is {now}"
                )));
            }
            if ahead <= TimeDelta::zero() {
                fenced_at = Some(Instant::now());
                continue;
            }
            // One millisecond more, because the two clocks may run at different speeds.
            ahead.to_std().unwrap_or_default() + Duration::from_millis(1)
        };
        drop(turn);
        tokio::time::sleep(wait).await;
    }
}

/// `None` if the snapshot does not hold the whole window.
async fn read(mirror: &Mirror, asked: Asked) -> Result<Option<(Changes, DateTime<Utc>)>, Refusal> {
    let read = async |tx: &mut PgConnection, as_of| {
        if as_of < asked.tot {
            return Ok(None);
        }
        let window = (asked.van, asked.tot);
        let changes = mirror::changes(tx, window, asked.vanaf, asked.aantal).await?;
        Ok(Some((changes, as_of)))
    };
    Ok(mirror.reads.read("reading changes", read).await?)
}

fn page(changes: Changes) -> BulkPage {
    let items = changes.page.into_iter().map(|(id, status)| BulkItem {
        cv_id: id.to_string(),
        status: Some(status.unwrap_or_else(|| VERWIJDERD.to_owned())),
    });
    BulkPage {
        aantal: usize::try_from(changes.total).unwrap_or(0),
        resultaten: items.collect(),
    }
}
