//! `/mirror/v1/kandidaten/bulk`: the CVs that changed here within a window of time.
//!
//! Invariant: once a window was returned, no change is added to it. So a client that requests adjacent windows up to now misses
//! no change.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::Refusal;
use super::query::Query;
use super::{Mirror, to_its_end};
use crate::admin::Admin;
use crate::contract::{BulkItem, BulkPage, DEFAULT_BULK_PAGE, MAX_BULK_PAGE, VERWIJDERD};
use crate::model::window::instant;
use crate::store::mirror::{self, Changes};

/// How far a client's clock may be ahead of the database's: a window that ends within this time is answered once it has passed.
/// A later end is rejected, because changes could still be added to the window.
const AHEAD: TimeDelta = TimeDelta::seconds(5);

pub(super) async fn bulk(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Json<BulkPage>, Refusal> {
    let query = Query::read(query);
    query.only(&["van", "tot", "vanaf", "aantal"], &[])?;
    let (van, tot) = (query.instant("van")?, query.instant("tot")?);
    if tot < van {
        return Err(Refusal::wrong("van must not be later than tot"));
    }
    let vanaf = query.number("vanaf", 0, 0..=usize::MAX)?;
    let aantal = query.number("aantal", DEFAULT_BULK_PAGE, 1..=MAX_BULK_PAGE)?;
    let changes = to_its_end(async move {
        let _turn = until_whole(&admin.mirror, tot).await?;
        let read =
            async |tx: &mut PgConnection| mirror::changes(tx, (van, tot), vanaf, aantal).await;
        Ok(admin.mirror.store.read("reading changes", read).await?)
    });
    Ok(Json(page(changes.await?)))
}

/// Waits until no new change can appear before `tot`, at most [`AHEAD`]; returns a turn.
async fn until_whole(mirror: &Mirror, tot: DateTime<Utc>) -> Result<OwnedSemaphorePermit, Refusal> {
    loop {
        let turn = mirror.turn().await?;
        let now = mirror::all_seen_until(&mirror.store).await?;
        let ahead = tot - now;
        if ahead <= TimeDelta::zero() {
            return Ok(turn);
        }
        if ahead > AHEAD {
            let now = instant(now);
            return Err(Refusal::wrong(format!(
                "tot must not be in the future; the time here is {now}"
            )));
        }
        drop(turn);
        // One millisecond more, because the two clocks may run at different speeds.
        let wait = ahead.to_std().unwrap_or_default() + Duration::from_millis(1);
        tokio::time::sleep(wait).await;
    }
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
