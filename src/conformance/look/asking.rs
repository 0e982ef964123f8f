//! Finds the form of calls that the source accepts: names, time formats, numbers.

use chrono::{DateTime, TimeDelta};

use super::{Looker, SETTLED, window};
use crate::conformance::seen::Trouble;
use crate::model::{Dialect, Window, dialect};
use crate::vdab::ApiError;

/// Possible names of `van` and `tot`.
const ENDS: &[(&str, &str)] = &[
    ("van", "tot"),
    ("from", "until"),
    ("from", "to"),
    ("since", "until"),
    ("start", "end"),
    ("vanDatum", "totDatum"),
    ("datumVan", "datumTot"),
    ("startDatum", "eindDatum"),
    ("wijzigingsDatumVan", "wijzigingsDatumTot"),
];

/// Possible names of `vanaf`.
pub(super) const OFFSETS: &[&str] = &[
    "vanaf",
    "offset",
    "start",
    "skip",
    "from",
    "page",
    "pagina",
    "paginaNummer",
];

/// Possible names of `aantal`.
pub(super) const SIZES: &[&str] = &[
    "aantal",
    "limit",
    "size",
    "count",
    "pageSize",
    "rows",
    "aantalPerPagina",
];

const TIME_FORMATS: &[&str] = &[
    dialect::TIME_FORMAT,
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S%.3f+00:00",
    "%Y-%m-%dT%H:%M:%S+00:00",
    "%s%3f",
    "%s",
];

impl Looker<'_> {
    /// Whether bulk calls are accepted, in any dialect.
    pub(super) async fn begin(&mut self) -> Result<bool, ApiError> {
        let sight = self.bulk(self.last(1)?, Some(self.first), Some(10)).await?;
        self.tot = self.probe.client().time().now() - SETTLED;
        let api = "CVSYNC_API_BASE_URL";
        let (what, variables) = match sight.status {
            200 if self.rows(&sight).is_some() => return Ok(true),
            200 => (
                format!(
                    "a successful response, but without a list: {}",
                    sight.unproven.unwrap_or("it has several arrays")
                ),
                vec![api],
            ),
            204 => (
                "status 204: without a body, nothing proves that a window is empty".to_owned(),
                Vec::new(),
            ),
            status @ (401 | 403) if sight.asks_for_token => (
                format!("status {status}: a Bearer token is required"),
                vec![
                    "CVSYNC_OAUTH_TOKEN_URL",
                    "CVSYNC_OAUTH_CLIENT_ID",
                    "CVSYNC_OAUTH_CLIENT_SECRET",
                ],
            ),
            status @ (401 | 403) => (
                format!(
                    "status {status} ({}): the key is wrong or has no subscription to the CV API; otherwise a token may be required (the three CVSYNC_OAUTH_ variables)",
                    self.said(&sight)
                ),
                vec!["CVSYNC_API_KEY"],
            ),
            404 => (
                format!(
                    "status 404 ({}): the API is not at this URL",
                    self.said(&sight)
                ),
                vec![api],
            ),
            status @ 400..=499 => {
                return self.vary(status, &self.said(&sight)).await;
            }
            status @ 300..=399 => (format!("status {status}, a redirect"), vec![api]),
            status => (format!("status {status}"), Vec::new()),
        };
        self.seen.trouble = Some(Trouble {
            what,
            variables,
            key: matches!(sight.status, 401 | 403),
        });
        Ok(false)
    }

    /// Varies one aspect of the call after the other until it is accepted.
    async fn vary(&mut self, status: u16, said: &str) -> Result<bool, ApiError> {
        let window = self.last(1)?;
        let asked = self.seen.dialect.clone();
        let formats = TIME_FORMATS.iter().map(|format| Dialect {
            time_format: (*format).to_owned(),
            ..asked.clone()
        });
        let ends = ENDS.iter().map(|ends| with_ends(&asked, *ends));
        let mut tries = vec![(asked.clone(), 1)];
        tries.extend(formats.map(|dialect| (dialect, 0)));
        tries.extend(ends.map(|dialect| (dialect, 0)));
        tries.retain(|(dialect, first)| *dialect != asked || *first != self.first);
        for (dialect, first) in tries {
            self.seen.dialect = dialect;
            if self.bulk(window, Some(first), Some(10)).await?.status == 200 {
                self.first = first;
                self.seen.first = first;
                return Ok(true);
            }
        }
        self.seen.dialect = asked;
        if self.bulk(window, None, None).await?.status == 200 {
            let named = self.name("aantal", SIZES, None, Some(10), window).await?;
            self.seen.heeds_size = (!named).then_some(false);
            let named = self.name("vanaf", OFFSETS, Some(0), None, window).await?;
            self.seen.heeds_offset = (!named).then_some(false);
            return Ok(true);
        }
        self.seen.refused = Some(format!(
            "status {status} ({said}), and so are all other forms that were tried"
        ));
        Ok(false)
    }

    /// Finds the name of a parameter, where the source refuses wrong names.
    async fn name(
        &mut self,
        ours: &'static str,
        candidates: &[&str],
        vanaf: Option<u64>,
        aantal: Option<u64>,
        window: Window,
    ) -> Result<bool, ApiError> {
        let before = self.seen.dialect.names.clone();
        for theirs in candidates {
            self.seen.dialect.names.set(ours, theirs);
            if self.seen.dialect.names.clash().is_none()
                && self.bulk(window, vanaf, aantal).await?.status == 200
            {
                return Ok(true);
            }
        }
        self.seen.dialect.names = before;
        Ok(false)
    }

    /// Whether the ends of a window have an effect, under any name.
    pub(super) async fn ends(&mut self) -> Result<(), ApiError> {
        let before = self.seen.dialect.clone();
        let mut tries = vec![before.clone()];
        tries.extend(ENDS.iter().map(|ends| with_ends(&before, *ends)));
        let long_ago = DateTime::UNIX_EPOCH + TimeDelta::days(7_305);
        let long_ago = window(long_ago, long_ago + TimeDelta::hours(1))?;
        for (at, dialect) in tries.into_iter().enumerate() {
            if at > 0 && dialect == before {
                continue;
            }
            self.seen.dialect = dialect;
            let sight = self.bulk(long_ago, Some(self.first), Some(10)).await?;
            match self.rows(&sight) {
                Some(rows) if rows.is_empty() => {
                    self.seen.heeds_window = Some(true);
                    return Ok(());
                }
                // Perhaps refused for its age, so the ends have an effect.
                None if at == 0 => {
                    self.seen.unproven = sight.unproven;
                    return Ok(());
                }
                _ => {}
            }
        }
        self.seen.dialect = before;
        self.seen.heeds_window = Some(false);
        Ok(())
    }
}

fn with_ends(dialect: &Dialect, (van, tot): (&str, &str)) -> Dialect {
    let mut dialect = dialect.clone();
    dialect.names.set("van", van);
    dialect.names.set("tot", tot);
    dialect
}
