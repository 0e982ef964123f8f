//! The table `pause`: whether all instances are to make no runs, since when, and why.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};
use crate::model::instants::is_end;
use crate::model::window::instant;
use crate::model::{When, health, one_line};

/// A pause that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Pause {
    pub reason: String,
    pub since: DateTime<Utc>,
    /// When it ends by itself.
    pub until: Option<DateTime<Utc>>,
    /// How it was begun, such as "over HTTP".
    pub begun_by: Option<String>,
}

impl From<Pause> for health::Pause {
    fn from(pause: Pause) -> Self {
        Self {
            reason: pause.reason,
            begun_by: pause.begun_by,
            since: pause.since,
            until: pause.until,
        }
    }
}

/// The longest reason in characters: a reason is a sentence. A longer one is cut.
const LONGEST_REASON: usize = 200;

/// The reason where nobody gave one.
const NO_REASON: &str = "by hand";

impl Pause {
    /// When it ends, for people: `until 2026-02-13T12:00:00Z`.
    #[must_use]
    pub fn end(&self) -> String {
        self.until.map_or_else(
            || "until `cvsync resume`".to_owned(),
            |until| format!("until {}", instant(until)),
        )
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// This pause holds now.
    Holds(Pause),
    /// Nothing was done: another pause holds.
    Stands(Pause),
    /// Nothing was done: its end is not within ten years from the database's time, which is this.
    NoEnd(DateTime<Utc>),
}

/// Begins a pause, whose end counts from the database's time. One that holds already stays as it is, unless it is to be replaced.
pub async fn begin(
    tx: &mut PgConnection,
    reason: &str,
    until: Option<When>,
    begun_by: &str,
    replace: bool,
) -> Result<Begun, StoreError> {
    let now: DateTime<Utc> = query_scalar("select now()").fetch_one(&mut *tx).await?;
    let until = until.map(|until| until.after(now));
    if until.is_some_and(|until| !is_end(now, until)) {
        return Ok(Begun::NoEnd(now));
    }
    loop {
        let begun = query_as(
            "insert into cvsync.pause (reason, until, begun_by)
             values ($1, $2, $3)
             on conflict (only_row) do update
                set reason   = excluded.reason,
                    until    = excluded.until,
                    begun_by = excluded.begun_by,
                    since    = now()
              where $4
                 or pause.until <= now()
             returning reason, since, until, begun_by",
        )
        .bind(in_a_line(reason))
        .bind(until)
        .bind(one_line(begun_by, LONGEST_REASON))
        .bind(replace)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(pause) = begun {
            return Ok(Begun::Holds(in_lines(pause)));
        }
        // None where somebody has ended it in this moment.
        if let Some(pause) = current(&mut *tx).await? {
            return Ok(Begun::Stands(pause));
        }
    }
}

fn in_a_line(reason: &str) -> String {
    match one_line(reason, LONGEST_REASON) {
        line if line.is_empty() => NO_REASON.to_owned(),
        line => line,
    }
}

/// The pause as it is shown: an older version, or a person with SQL, may have stored any text.
fn in_lines(pause: Pause) -> Pause {
    Pause {
        reason: in_a_line(&pause.reason),
        begun_by: pause.begun_by.map(|by| one_line(&by, LONGEST_REASON)),
        ..pause
    }
}

/// Ends it; false if there was none.
pub async fn end(tx: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(query("delete from cvsync.pause")
        .execute(tx)
        .await?
        .rows_affected()
        > 0)
}

/// The pause that holds now. Works with a schema that does not know how it was begun, too.
pub async fn current(tx: &mut PgConnection) -> Result<Option<Pause>, StoreError> {
    let pause: Option<Pause> = query_as(
        "select reason, since, until, to_jsonb(pause) ->> 'begun_by' as begun_by
           from cvsync.pause
          where until is null
             or until > now()",
    )
    .fetch_optional(tx)
    .await?;
    Ok(pause.map(in_lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(
            in_a_line(" moving\u{1b}[2J\nhouse\u{202e}\n"),
            "moving[2J house"
        );
        assert_eq!(in_a_line(" \n\0\u{200b}"), NO_REASON);
        let long = in_a_line(&"é".repeat(10_000));
        assert_eq!(long.chars().count(), LONGEST_REASON);
    }
}
