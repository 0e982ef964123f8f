//! `/mirror/v1/kandidaten/bulk`: what changed here within a window of time.
//!
//! Invariant: once a window was answered, no change comes into it any more. So a client that asks for one window after the
//! other, up to now, misses none.

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

/// A client's clock may be so far ahead of the database's: a window up to its "now" is answered once that has come. One that
/// ends later still is refused, for it would be answered without changes that are yet to come into it.
const AHEAD: TimeDelta = TimeDelta::seconds(5);

pub(super) async fn bulk(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Json<BulkPage>, Refusal> {
    let query = Query::read(query);
    query.only(&["van", "tot", "vanaf", "aantal"], &[])?;
    let (van, tot) = (query.instant("van")?, query.instant("tot")?);
    if tot < van {
        return Err(Refusal::wrong("van is later than tot"));
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

/// Waits until nothing new can appear before `tot`, as far as that is soon; then has a turn.
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
                "tot is yet to come: it is {now} here"
            )));
        }
        drop(turn);
        // A millisecond more, since the two clocks need not have the same pace.
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
