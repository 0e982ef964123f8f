//! The tables `watermark`, `covered` and `live_edge`: which spans of the source's time are settled.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar, script};
use crate::model::{Coverage, Window};

/// The stream of CVs.
pub(crate) const KANDIDATEN: &str = "kandidaten";

/// Both lanes settle windows, and a person may move the watermark back at the same time.
const ONE_AT_A_TIME: &str = "lock table cvsync.covered in share row exclusive mode";

/// The settled spans. No time in them is later than `latest`.
pub(crate) async fn read(
    tx: &mut PgConnection,
    latest: DateTime<Utc>,
) -> Result<Coverage, StoreError> {
    type Time = DateTime<Utc>;
    let (watermark, live, van, tot): (_, _, Vec<Time>, Vec<Time>) = query_as(
        "select (select position from cvsync.watermark where stream = $1),
                (select position from cvsync.live_edge where stream = $1),
                coalesce(array_agg(van order by van), '{}'),
                coalesce(array_agg(tot order by van), '{}')
           from cvsync.covered
          where stream = $1",
    )
    .bind(KANDIDATEN)
    .fetch_one(tx)
    .await?;
    let spans = van.into_iter().zip(tot);
    let spans = spans.filter_map(|(van, tot)| Window::new(van, tot));
    Ok(Coverage::new(watermark, spans, live, latest))
}

/// The watermark as it is stored; `None` before the first sync is complete.
pub(crate) async fn watermark(tx: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(
        query_scalar("select position from cvsync.watermark where stream = $1")
            .bind(KANDIDATEN)
            .fetch_optional(tx)
            .await?,
    )
}

/// When a person last moved the watermark back.
pub(crate) async fn rewound_at(tx: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(
        query_scalar("select max(at) from cvsync.watermark_rewind where stream = $1")
            .bind(KANDIDATEN)
            .fetch_one(tx)
            .await?,
    )
}

/// Adds settled windows, and moves the watermark over what is settled without a gap from `from` on. The live lane has listed
/// up to `live`.
///
/// If a person has moved the watermark back since `rewound`, nothing is added: the time after it must be listed again.
pub async fn settle(
    tx: &mut PgConnection,
    windows: &[Window],
    live: Option<DateTime<Utc>>,
    from: DateTime<Utc>,
    rewound: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let (rewound_at,): (Option<i64>,) = script(
        tx,
        format!(
            "{ONE_AT_A_TIME};
             select (extract(epoch from max(at)) * 1000000)::bigint
               from cvsync.watermark_rewind
              where stream = '{KANDIDATEN}'"
        ),
    )
    .await?;
    if rewound_at.and_then(DateTime::from_timestamp_micros) != rewound {
        return Ok(());
    }
    if let Some(live) = live {
        move_live_edge(&mut *tx, live).await?;
    }
    for window in windows {
        cover(&mut *tx, *window).await?;
    }
    query(
        "with reached as (
             delete from cvsync.covered
              where stream = $1
                and van <= coalesce(
                        (select position from cvsync.watermark where stream = $1), $2)
             returning tot
         )
         insert into cvsync.watermark as mark (stream, position)
         select $1, max(tot) from reached having max(tot) is not null
         on conflict (stream) do update
            set position   = excluded.position,
                updated_at = now()
          where mark.position < excluded.position",
    )
    .bind(KANDIDATEN)
    .bind(from)
    .execute(tx)
    .await?;
    Ok(())
}

/// Moves the live edge forward.
async fn move_live_edge(tx: &mut PgConnection, to: DateTime<Utc>) -> Result<(), StoreError> {
    query(
        "insert into cvsync.live_edge as edge (stream, position)
         values ($1, $2)
         on conflict (stream) do update
            set position   = excluded.position,
                updated_at = now()
          where edge.position < excluded.position",
    )
    .bind(KANDIDATEN)
    .bind(to)
    .execute(tx)
    .await?;
    Ok(())
}

/// Adds a window, as one span with those that it touches.
async fn cover(tx: &mut PgConnection, window: Window) -> Result<(), StoreError> {
    query(
        "with touching as (
             delete from cvsync.covered
              where stream = $1
                and van <= $3
                and tot >= $2
             returning van, tot
         )
         insert into cvsync.covered (stream, van, tot)
         select $1, least($2, min(van)), greatest($3, max(tot)) from touching",
    )
    .bind(KANDIDATEN)
    .bind(window.van())
    .bind(window.tot())
    .execute(tx)
    .await?;
    Ok(())
}

/// Nothing after `position` counts as settled from then on. Keeps a record of that, and returns the time up to which it was
/// listed before; `None` if that is not later than `position`.
pub(crate) async fn rewind(
    tx: &mut PgConnection,
    position: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    query(ONE_AT_A_TIME).execute(&mut *tx).await?;
    // The trigger `rewound` takes back what is settled.
    Ok(query_scalar(
        "insert into cvsync.watermark_rewind (stream, from_position, to_position)
         select $1, reached, $2
           from (select greatest(
                            (select position from cvsync.watermark where stream = $1),
                            (select max(tot) from cvsync.covered where stream = $1),
                            (select position from cvsync.live_edge where stream = $1)
                        ) as reached) as before
          where reached > $2
         returning from_position",
    )
    .bind(KANDIDATEN)
    .bind(position)
    .fetch_optional(tx)
    .await?)
}
