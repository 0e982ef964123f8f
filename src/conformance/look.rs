//! Makes the calls, some dozens at most, each a GET: every answer may tell how to ask the next one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::seen::{Kind, Leading, Order, Sample, Seen, Told, Trouble};
use crate::config::{DIPLOMAS, Source};
use crate::model::{Dialect, Paging, Window, dialect};
use crate::vdab::probe::{Endpoint, Probe, Shape, Sight};
use crate::vdab::{ApiError, Pauses};

/// What `van` and `tot` may be called.
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

/// What `vanaf` may be called.
const OFFSETS: &[&str] = &[
    "vanaf",
    "offset",
    "start",
    "skip",
    "from",
    "page",
    "pagina",
    "paginaNummer",
];

/// What `aantal` may be called.
const SIZES: &[&str] = &[
    "aantal",
    "limit",
    "size",
    "count",
    "pageSize",
    "rows",
    "aantalPerPagina",
];

/// How an instant may be written.
const TIME_FORMATS: &[&str] = &[
    dialect::TIME_FORMAT,
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S%.3f+00:00",
    "%Y-%m-%dT%H:%M:%S+00:00",
    "%s%3f",
    "%s",
];

/// What `moreInformation` may be called.
const MESSAGES: &[&str] = &[
    "message",
    "error",
    "errorMessage",
    "detail",
    "description",
    "omschrijving",
    "title",
];

/// Widths of windows and sizes of pages to fall back to, in hours and items.
const WIDTHS: &[i64] = &[48, 24, 12, 6, 1];
const PAGES: &[u64] = &[1_000, 500, 200, 100, 50, 20, 10];

/// How often a call is made that is answered by something that passes.
const ATTEMPTS: u32 = 4;

/// Windows end so long ago, so that what is counted twice is the same.
const SETTLED: TimeDelta = TimeDelta::minutes(10);

/// So many CVs of each status are asked for, and so many where lists have none.
const DETAILS: usize = 2;
const DETAILS_WITHOUT_STATUS: usize = 8;
/// No source has more status words; what has is none.
const MOST_WORDS: usize = 8;

/// A document with no more fields tells who it is and what became of it, and nothing else.
const BARE: usize = 4;

/// Regions that many want to work in.
const REGIOS: [&str; 2] = ["BE231A", "BE211A"];

type Row = BTreeMap<String, Shape>;

/// Looks at a source.
pub(super) struct Looker<'a> {
    probe: Probe,
    source: &'a Source,
    seen: Seen,
    /// The end of the windows that are asked for.
    tot: DateTime<Utc>,
    /// The first number of `vanaf` that is answered.
    first: u64,
}

impl<'a> Looker<'a> {
    pub(super) fn new(probe: Probe, source: &'a Source) -> Self {
        Self {
            tot: probe.client().time().now() - SETTLED,
            probe,
            source,
            seen: Seen {
                dialect: source.api.dialect.clone(),
                ..Seen::default()
            },
            first: 0,
        }
    }

    /// Everything that can be seen.
    pub(super) async fn look(mut self) -> Seen {
        if let Err(error) = self.kandidaten().await {
            let trouble = self.trouble(&error);
            self.seen.trouble.get_or_insert(trouble);
        }
        if self.seen.trouble.is_none() {
            if let Err(error) = self.search().await {
                self.seen.search.trouble = Some(error.to_string());
            }
            if let Err(error) = self.reference().await {
                self.seen.reference.trouble = Some(error.to_string());
            }
        }
        let ahead = self.probe.client().time().local_clock_ahead();
        self.seen.ahead = ahead.map(|ahead| ahead.num_seconds());
        self.seen.calls = self.probe.answers_received();
        self.seen
    }

    fn trouble(&self, error: &ApiError) -> Trouble {
        let types: Vec<_> = self.seen.content_types.iter().map(String::as_str).collect();
        let (what, variables) = match error {
            ApiError::NotAnAnswer(_) => (
                format!("{error}; the content type is {}", types.join(", ")),
                vec!["CVSYNC_API_BASE_URL"],
            ),
            ApiError::Unreachable(_) => (error.to_string(), vec!["CVSYNC_API_BASE_URL"]),
            _ => (format!("{error}; try again later"), Vec::new()),
        };
        Trouble {
            what,
            variables,
            key: false,
        }
    }

    async fn kandidaten(&mut self) -> Result<(), ApiError> {
        if !self.begin().await? {
            return Ok(());
        }
        self.ends().await?;
        if !self.width().await? {
            return Ok(());
        }
        self.size().await?;
        let rows = self.sample().await?;
        let ids: Vec<_> = rows.iter().map(|row| self.id(row)).collect();
        self.paging(&ids).await?;
        self.capped(&ids).await?;
        self.halves().await?;
        self.limits().await?;
        self.details(&rows).await
    }

    // --- calls

    async fn get(
        &mut self,
        endpoint: Endpoint,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Sight, ApiError> {
        let mut pauses = Pauses::new(Duration::from_millis(500), Duration::from_secs(2));
        let mut attempts = 1;
        loop {
            let answer = self.probe.get(endpoint, path, query).await;
            if let Ok(sight) = &answer {
                self.note(endpoint, sight);
            }
            // What passes by tells nothing of the API, and must not be taken for a refusal.
            match answer.and_then(lasting) {
                Err(error) if attempts < ATTEMPTS && passes(&error) => {}
                answer => return answer,
            }
            attempts += 1;
            tokio::time::sleep(pauses.next_pause()).await;
        }
    }

    /// A page; `vanaf` and `aantal` are left out where they are `None`.
    async fn bulk(
        &mut self,
        window: Window,
        vanaf: Option<u64>,
        aantal: Option<u64>,
    ) -> Result<Sight, ApiError> {
        let dialect = self.seen.dialect.clone();
        let (van, tot) = dialect.ends(window);
        let name = |ours| dialect.names.of(ours);
        let mut query = vec![(name("van"), van), (name("tot"), tot)];
        query.extend(vanaf.map(|vanaf| (name("vanaf"), vanaf.to_string())));
        query.extend(aantal.map(|aantal| (name("aantal"), aantal.to_string())));
        self.get(Endpoint::Bulk, &["kandidaten", "bulk"], &query)
            .await
    }

    /// What any answer tells.
    fn note(&mut self, endpoint: Endpoint, sight: &Sight) {
        let seen = &mut self.seen;
        let left_before = std::mem::replace(&mut seen.left, sight.remaining);
        let quota = seen.quota.entry(endpoint).or_default();
        if quota.calls == 0 {
            quota.first_remaining = sight.remaining;
            quota.left_before = left_before;
        }
        quota.calls += 1;
        quota.limit = sight.limit.or(quota.limit);
        seen.dated = Some(seen.dated.unwrap_or(true) && sight.is_dated);
        match (sight.status, sight.body.fields()) {
            (200, _) => seen.content_types.extend(sight.content_type.clone()),
            (400..=499, Some(fields)) if sight.is_json => {
                let names = &mut seen.dialect.names;
                let known = [
                    names.of("moreInformation"),
                    "moreInformation",
                    "httpMessage",
                ];
                if !known.iter().any(|name| fields.contains_key(*name))
                    && let Some(name) = MESSAGES.iter().find(|name| is_text(fields.get(**name)))
                {
                    names.set("moreInformation", name);
                }
                seen.error.get_or_insert_with(|| sight.clone());
            }
            (400..=499, _) => seen.error_page = Some(sight.status),
            _ => {}
        }
    }

    /// The last so many hours.
    fn last(&self, hours: i64) -> Result<Window, ApiError> {
        window(self.tot - TimeDelta::hours(hours), self.tot)
    }

    // --- bulk

    /// Whether bulk calls are answered, in whatever dialect.
    async fn begin(&mut self) -> Result<bool, ApiError> {
        let sight = self.bulk(self.last(1)?, Some(self.first), Some(10)).await?;
        self.tot = self.probe.client().time().now() - SETTLED;
        let api = "CVSYNC_API_BASE_URL";
        let (what, variables) = match sight.status {
            200 if self.rows(&sight).is_some() => return Ok(true),
            200 => ("a good answer, but no list in it".to_owned(), vec![api]),
            status @ (401 | 403) if sight.asks_for_token => (
                format!("status {status}: a Bearer token is asked for"),
                vec![
                    "CVSYNC_OAUTH_TOKEN_URL",
                    "CVSYNC_OAUTH_CLIENT_ID",
                    "CVSYNC_OAUTH_CLIENT_SECRET",
                ],
            ),
            status @ (401 | 403) => (
                format!(
                    "status {status} ({}): the key is wrong or has no subscription to the CV API; if it is right and has one, a token may be needed (the three CVSYNC_OAUTH_ variables)",
                    said(&sight)
                ),
                vec!["CVSYNC_API_KEY"],
            ),
            404 => (
                format!("status 404 ({}): the API is not there", said(&sight)),
                vec![api],
            ),
            status @ 400..=499 => {
                return self.vary(status, &said(&sight)).await;
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

    /// Asks otherwise, in one respect after the other, until there is an answer.
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
            "status {status} ({said}), and so is what else was tried"
        ));
        Ok(false)
    }

    /// Finds what a parameter is called, where a wrong name is refused.
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

    /// Whether the ends of a window are heeded, under whatever name.
    async fn ends(&mut self) -> Result<(), ApiError> {
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
                // Refused for its age, perhaps: that is heed enough.
                None if at == 0 => return Ok(()),
                _ => {}
            }
        }
        self.seen.dialect = before;
        self.seen.heeds_window = Some(false);
        Ok(())
    }

    /// The widest window that is answered, moved back to where there are CVs in it.
    async fn width(&mut self) -> Result<bool, ApiError> {
        let configured = TimeDelta::from_std(self.source.sync.window).unwrap_or(TimeDelta::days(5));
        let narrower = WIDTHS.iter().map(|hours| TimeDelta::hours(*hours));
        let narrower = narrower.filter(|width| *width < configured);
        let mut last = String::new();
        for width in std::iter::once(configured).chain(narrower) {
            let sight = self.page(width, 10).await?;
            last = format!("status {} ({})", sight.status, said(&sight));
            let Some(mut rows) = self.rows(&sight) else {
                continue;
            };
            self.seen.width = Some(width);
            let end = self.tot;
            for steps in [1, 2, 4, 8, 16, 32] {
                if !rows.is_empty() {
                    break;
                }
                self.tot = end - width * steps;
                let sight = self.page(width, 10).await?;
                rows = self.rows(&sight).unwrap_or_default();
            }
            return Ok(true);
        }
        self.seen.refused = Some(last);
        Ok(false)
    }

    /// The first page of the last `width`.
    async fn page(&mut self, width: TimeDelta, size: u64) -> Result<Sight, ApiError> {
        let window = window(self.tot - width, self.tot)?;
        self.bulk(window, Some(self.first), Some(size)).await
    }

    fn widest(&self) -> TimeDelta {
        self.seen.width.unwrap_or(TimeDelta::hours(1))
    }

    /// Whether `aantal` is heeded, under whatever name.
    async fn size(&mut self) -> Result<(), ApiError> {
        let rows = async |looker: &mut Self| {
            let sight = looker.page(looker.widest(), 2).await?;
            Ok::<_, ApiError>(looker.rows(&sight).map_or(0, |rows| rows.len()))
        };
        match rows(self).await? {
            0 | 1 => return Ok(()),
            2 => {
                self.seen.heeds_size = Some(true);
                return Ok(());
            }
            _ => {}
        }
        let before = self.seen.dialect.names.clone();
        for name in SIZES {
            self.seen.dialect.names.set("aantal", name);
            if self.seen.dialect.names.clash().is_none() && rows(self).await? == 2 {
                self.seen.heeds_size = Some(true);
                return Ok(());
            }
        }
        self.seen.dialect.names = before;
        self.seen.heeds_size = Some(false);
        Ok(())
    }

    /// A page that is as large as it may be.
    async fn sample(&mut self) -> Result<Vec<Row>, ApiError> {
        let configured = u64::from(self.source.sync.page_size);
        let smaller = PAGES.iter().copied().filter(|size| *size < configured);
        for size in std::iter::once(configured).chain(smaller) {
            let sight = self.page(self.widest(), size).await?;
            let Some(rows) = self.rows(&sight) else {
                continue;
            };
            self.seen.page_size = Some(size);
            self.learn_fields(&rows);
            let ids: Vec<_> = rows.iter().map(|row| self.id(row)).collect();
            let mut once = HashSet::new();
            let mut sample = Sample {
                items: count(&rows),
                total: total(&sight),
                ..Sample::default()
            };
            for (row, id) in rows.iter().zip(&ids) {
                sample.fields.extend(row.keys().cloned());
                *sample.words.entry(self.word(row)).or_default() += 1;
                match id {
                    None => sample.garbage += 1,
                    Some(id) => sample.duplicates += u64::from(!once.insert(*id)),
                }
            }
            self.seen.sample = Some(sample);
            return Ok(rows);
        }
        Ok(Vec::new())
    }

    /// What `vanaf` counts, under whatever name.
    async fn paging(&mut self, ids: &[Option<usize>]) -> Result<(), ApiError> {
        if ids.len() < 6 || self.seen.heeds_size != Some(true) {
            return Ok(());
        }
        let pair = |at: usize| ids[at..at + 2].to_vec();
        let before = self.seen.dialect.names.clone();
        let told = before.of("vanaf").to_owned();
        let others = OFFSETS.iter().copied().filter(|name| *name != told);
        for name in std::iter::once(&*told).chain(others) {
            self.seen.dialect.names.set("vanaf", name);
            if self.seen.dialect.names.clash().is_some() {
                continue;
            }
            let at_2 = self.pair_at(2).await?;
            if at_2.len() < 2 || at_2 == pair(0) {
                continue;
            }
            let at_1 = self.pair_at(1).await?;
            let found = [
                (Paging::OffsetFrom0, 1, 2),
                (Paging::OffsetFrom1, 0, 1),
                (Paging::PageFrom0, 2, 4),
                (Paging::PageFrom1, 0, 2),
            ]
            .into_iter()
            .find(|(_, one, two)| at_1 == pair(*one) && at_2 == pair(*two));
            self.seen.heeds_offset = Some(true);
            if let Some((paging, ..)) = found {
                self.seen.paging = Some(paging);
                self.seen.dialect.paging = paging;
            } else {
                self.seen.dialect.names = before;
            }
            return Ok(());
        }
        self.seen.dialect.names = before;
        self.seen.heeds_offset = Some(false);
        Ok(())
    }

    /// The two ids that are answered for this number.
    async fn pair_at(&mut self, vanaf: u64) -> Result<Vec<Option<usize>>, ApiError> {
        let window = window(self.tot - self.widest(), self.tot)?;
        let sight = self.bulk(window, Some(vanaf), Some(2)).await?;
        let rows = self.rows(&sight).unwrap_or_default();
        Ok(rows.iter().map(|row| self.id(row)).collect())
    }

    /// Whether more CVs follow a page that was not full.
    async fn capped(&mut self, ids: &[Option<usize>]) -> Result<(), ApiError> {
        let size = self.seen.page_size.unwrap_or(0);
        let got = ids.len() as u64;
        let is_short = (1..size).contains(&got) && self.seen.heeds_size == Some(true);
        let Some(paging) = self.seen.paging.filter(|_| is_short) else {
            return Ok(());
        };
        let window = window(self.tot - self.widest(), self.tot)?;
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        let next = paging.number(got, size);
        let sight = self.bulk(window, Some(next), Some(size.into())).await?;
        let rows = self.rows(&sight).unwrap_or_default();
        let is_new = |row: &Row| !ids.contains(&self.id(row));
        self.seen.page_capped = rows.iter().any(is_new).then_some(got);
        Ok(())
    }

    /// Whether a window holds what its halves hold, and in which order.
    async fn halves(&mut self) -> Result<(), ApiError> {
        let widest = self.widest();
        let narrower = WIDTHS.iter().map(|hours| TimeDelta::hours(*hours));
        let narrower = narrower.filter(|width| *width < widest);
        for (at, width) in std::iter::once(widest).chain(narrower).enumerate() {
            let whole = window(self.tot - width, self.tot)?;
            let Some((older, newer)) = whole.halves() else {
                return Ok(());
            };
            let (Some(whole), Some(older), Some(newer)) = (
                self.counted(whole).await?,
                self.counted(older).await?,
                self.counted(newer).await?,
            ) else {
                return Ok(());
            };
            if at == 0 {
                self.seen.order = order(&whole.1, &older.1, &newer.1);
            }
            // Both halves may hold what changed in the middle; and some leave a window while it is counted.
            let slack = 2 + whole.0 / 100;
            if older.0 + newer.0 <= whole.0 + slack {
                self.seen.width = Some(width);
                return Ok(());
            }
            self.seen.cuts_windows = true;
        }
        Ok(())
    }

    /// How many CVs a window holds, and the ids of its first page; `None` where that cannot be told.
    async fn counted(
        &mut self,
        window: Window,
    ) -> Result<Option<(u64, Vec<Option<usize>>)>, ApiError> {
        let size = self.seen.page_size.unwrap_or(10);
        let sight = self.bulk(window, Some(self.first), Some(size)).await?;
        let Some(rows) = self.rows(&sight) else {
            return Ok(None);
        };
        let full = self.seen.page_capped.unwrap_or(size);
        let count = match total(&sight) {
            Some((_, total)) => Some(total),
            None => Some(count(&rows)).filter(|count| *count < full),
        };
        let ids = rows.iter().map(|row| self.id(row)).collect();
        Ok(count.map(|count| (count, ids)))
    }

    /// What is answered beyond the limits, and without a size.
    async fn limits(&mut self) -> Result<(), ApiError> {
        self.seen.six_days = Some(self.page(TimeDelta::days(6), 1).await?.status);
        let window = window(self.tot - self.widest(), self.tot)?;
        let sight = self.bulk(window, Some(self.first), None).await?;
        let more = self.seen.sample.as_ref().map_or(0, |sample| {
            sample
                .items
                .max(sample.total.as_ref().map_or(0, |(_, total)| *total))
        });
        self.seen.default_page = self
            .rows(&sight)
            .map(|rows| (count(&rows), more > count(&rows)));
        Ok(())
    }

    // --- what a list looks like

    /// The rows of a good list, under whatever name.
    fn rows(&mut self, sight: &Sight) -> Option<Vec<Row>> {
        let fields = sight.body.fields().filter(|_| sight.status == 200)?;
        let names = &mut self.seen.dialect.names;
        let lists: Vec<_> = fields
            .iter()
            .filter(|(_, value)| value.items().is_some())
            .map(|(name, _)| name.as_str())
            .collect();
        let usual = [names.of("resultaten").to_owned(), "resultaten".to_owned()];
        let known = usual
            .iter()
            .map(String::as_str)
            .find(|name| lists.contains(name));
        let name = known.or(match lists[..] {
            [only] => Some(only),
            _ => None,
        })?;
        names.set("resultaten", name);
        let rows = fields[name].items()?.iter();
        Some(rows.filter_map(Shape::fields).cloned().collect())
    }

    /// Finds the fields of id and status.
    fn learn_fields(&mut self, rows: &[Row]) {
        let names = &mut self.seen.dialect.names;
        let of = |is: &dyn Fn(&Shape) -> bool, name: &str| {
            rows.iter().any(|row| row.get(name).is_some_and(is))
        };
        let all: BTreeSet<_> = rows.iter().flat_map(BTreeMap::keys).collect();
        let is_id = |shape: &Shape| matches!(shape, Shape::Id(_));
        let is_word = |shape: &Shape| matches!(shape, Shape::Word(_));
        for (ours, is) in [
            ("cvId", &is_id as &dyn Fn(&Shape) -> bool),
            ("status", &is_word),
        ] {
            let known = [names.of(ours).to_owned(), ours.to_owned()];
            // A status in small letters is a status all the same, and nothing else is to be taken for it.
            let is_there = |name: &&String| of(is, name) || ours == "status" && all.contains(*name);
            let known = known.iter().find(is_there);
            let found = known.or_else(|| all.iter().copied().find(|name| of(is, name)));
            let words: BTreeSet<_> = rows
                .iter()
                .filter_map(|row| match row.get(found?) {
                    Some(Shape::Word(word)) => Some(word),
                    _ => None,
                })
                .collect();
            if let Some(found) = found.filter(|_| words.len() <= MOST_WORDS) {
                names.set(ours, found);
            }
        }
    }

    fn id(&self, row: &Row) -> Option<usize> {
        match row.get(self.seen.dialect.names.of("cvId")) {
            Some(Shape::Id(id)) => Some(*id),
            _ => None,
        }
    }

    fn word(&self, row: &Row) -> Option<String> {
        word(row.get(self.seen.dialect.names.of("status")))
    }

    // --- details

    async fn details(&mut self, rows: &[Row]) -> Result<(), ApiError> {
        let never = Uuid::new_v4().to_string();
        let unknown = self
            .get(Endpoint::Detail, &["kandidaten", &never], &[])
            .await?;
        self.seen.unknown_id = Some(unknown);
        let malformed = self
            .get(Endpoint::Detail, &["kandidaten", "NOT_FOUND"], &[])
            .await?;
        self.seen.malformed_id = Some(malformed);
        let has_status = rows.iter().any(|row| self.word(row).is_some());
        let most = if has_status {
            DETAILS
        } else {
            DETAILS_WITHOUT_STATUS
        };
        let mut asked = BTreeMap::<_, usize>::new();
        for row in rows {
            let (Some(id), listed) = (self.id(row), self.word(row)) else {
                continue;
            };
            let times = asked.entry(listed.clone()).or_default();
            if *times == most {
                continue;
            }
            *times += 1;
            let sight = self.probe.detail(id).await?;
            self.note(Endpoint::Detail, &sight);
            let told = Told {
                listed,
                status: sight.status,
                kind: self.kind(&sight, id),
            };
            self.seen.details.push(told);
        }
        Ok(())
    }

    fn kind(&mut self, sight: &Sight, id: usize) -> Kind {
        let names = &mut self.seen.dialect.names;
        match (sight.status, sight.body.fields()) {
            (200, Some(fields)) if sight.is_json => {
                let find = |ours: &str, is: &dyn Fn(&Shape) -> bool| {
                    let contracts = ours.strip_prefix("document.").unwrap_or(ours);
                    let known = [names.of(ours), contracts];
                    let known = known
                        .into_iter()
                        .find(|name| fields.get(*name).is_some_and(is));
                    let mut others = fields.iter().filter(|(_, value)| is(value));
                    known
                        .or_else(|| others.next().map(|(name, _)| name.as_str()))
                        .map(str::to_owned)
                };
                let leading = Leading {
                    id: find("document.cvId", &|value| *value == Shape::Id(id)),
                    status: find("document.status", &|value| matches!(value, Shape::Word(_))),
                    date: find("document.wijzigingsDatum", &|value| *value == Shape::Date),
                };
                if leading.id.is_none() {
                    return Kind::Other("a document without its id".to_owned());
                }
                let word = leading
                    .status
                    .as_ref()
                    .and_then(|name| word(fields.get(name)));
                if fields.len() <= BARE {
                    return Kind::Bare { word };
                }
                for (ours, found) in [
                    ("document.cvId", &leading.id),
                    ("document.status", &leading.status),
                    ("document.wijzigingsDatum", &leading.date),
                ] {
                    if let Some(found) = found {
                        names.set(ours, found);
                    }
                }
                Kind::Document {
                    word,
                    names: leading,
                }
            }
            (status @ 400..=499, Some(fields)) if sight.is_json => {
                let says = sight.message.to_lowercase().contains("geen bestaande");
                let is_error = [
                    names.of("moreInformation"),
                    "moreInformation",
                    "httpMessage",
                ]
                .iter()
                .any(|name| is_text(fields.get(*name)));
                if says || matches!(status, 404 | 410) && is_error {
                    Kind::Gone
                } else {
                    Kind::Other(format!("status {status} ({})", said(sight)))
                }
            }
            (status, _) => Kind::Other(format!("status {status}, no JSON of the API's")),
        }
    }

    // --- search and reference lists

    async fn search(&mut self) -> Result<(), ApiError> {
        let regio = |at: usize| ("gewensteRegios", REGIOS[at].to_owned());
        let velden = [
            "cvId",
            "status",
            "wijzigingsDatum",
            "iklId",
            "attesteringen",
            "competenties",
        ];
        let few = ("aantal", "1".to_owned());
        let mut statuses = Vec::new();
        for count in [5, 6] {
            let mut query = vec![regio(0), few.clone()];
            query.extend(
                velden[..count]
                    .iter()
                    .map(|veld| ("velden", (*veld).to_owned())),
            );
            statuses.push(self.found(&query).await?.0);
        }
        if matches!(statuses[0], 401 | 403 | 404) {
            self.seen.search.trouble = Some(format!("status {}", statuses[0]));
            return Ok(());
        }
        self.seen.search.velden = Some((statuses[0], statuses[1]));
        let mut statuses = Vec::new();
        for size in ["200", "201"] {
            let query = [regio(0), ("aantal", size.to_owned())];
            statuses.push(self.found(&query).await?.0);
        }
        self.seen.search.page = Some((statuses[0], statuses[1]));
        let one = self.found(&[regio(0), few.clone()]).await?.1;
        let other = self.found(&[regio(1), few.clone()]).await?.1;
        let both = self.found(&[regio(0), regio(1), few]).await?.1;
        if let (Some(one), Some(other), Some(both)) = (one, other, both) {
            self.seen.search.repeated = Some((one, other, both));
        }
        Ok(())
    }

    /// The status of a search, and how many CVs it found.
    async fn found(&mut self, query: &[(&str, String)]) -> Result<(u16, Option<u64>), ApiError> {
        let sight = self.get(Endpoint::Search, &["kandidaten"], query).await?;
        Ok((sight.status, total(&sight).map(|(_, total)| total)))
    }

    async fn reference(&mut self) -> Result<(), ApiError> {
        for list in &self.source.sync.reference.lists {
            let path: Vec<_> = list.path.split('/').collect();
            let keyword = [("trefwoord", "master".to_owned())];
            let is_diplomas = list.name == DIPLOMAS;
            let query = if is_diplomas { &keyword[..] } else { &[] };
            let sight = self.get(Endpoint::Reference, &path, query).await?;
            if matches!(sight.status, 401 | 403) {
                self.seen.reference.trouble = Some(format!(
                    "status {}: the key may need a subscription to the Referentie API",
                    sight.status
                ));
                return Ok(());
            }
            let reference = &mut self.seen.reference;
            let Some(entries) = entries(&sight) else {
                reference.missing.push((list.clone(), sight.status));
                continue;
            };
            if is_diplomas {
                reference.diplomas = Some(entries.len());
            } else {
                let first = entries.first().and_then(Shape::fields);
                let names = first.into_iter().flat_map(|entry| entry.keys().cloned());
                reference.fields.extend(names);
            }
            reference.found.push(list.clone());
        }
        Ok(())
    }
}

/// An answer, unless it is one that may be another the next time.
fn lasting(sight: Sight) -> Result<Sight, ApiError> {
    match sight.status {
        429 => Err(ApiError::OverQuota { wait: None }),
        408 => Err(ApiError::Incomplete("status 408")),
        status @ 500..=599 => Err(ApiError::Server { status, wait: None }),
        200 if !sight.is_json => Err(ApiError::NotAnAnswer("status 200, but it is no JSON")),
        _ => Ok(sight),
    }
}

fn passes(error: &ApiError) -> bool {
    !matches!(error, ApiError::GaveUp { .. } | ApiError::Unreachable(_))
}

fn window(van: DateTime<Utc>, tot: DateTime<Utc>) -> Result<Window, ApiError> {
    Window::new(van, tot).ok_or(ApiError::NotAnAnswer(
        "this machine's clock is out of range",
    ))
}

fn with_ends(dialect: &Dialect, (van, tot): (&str, &str)) -> Dialect {
    let mut dialect = dialect.clone();
    dialect.names.set("van", van);
    dialect.names.set("tot", tot);
    dialect
}

fn count(rows: &[Row]) -> u64 {
    rows.len() as u64
}

/// The total and its name: the larger one where there are two, as the client has it.
fn total(sight: &Sight) -> Option<(String, u64)> {
    let fields = sight.body.fields()?;
    ["aantal", "totaalAantalResultaten"]
        .iter()
        .filter_map(|name| match fields.get(*name) {
            Some(Shape::Number(total)) => Some(((*name).to_owned(), *total)),
            _ => None,
        })
        .max_by_key(|(_, total)| *total)
}

/// The entries of a reference list: the answer, or the only list in it.
fn entries(sight: &Sight) -> Option<&[Shape]> {
    if sight.status != 200 {
        return None;
    }
    let inside = || sight.body.fields()?.values().find_map(Shape::items);
    sight.body.items().or_else(inside)
}

fn word(shape: Option<&Shape>) -> Option<String> {
    match shape {
        Some(Shape::Word(word)) => Some(word.clone()),
        _ => None,
    }
}

fn is_text(shape: Option<&Shape>) -> bool {
    matches!(shape, Some(Shape::Text | Shape::Word(_)))
}

fn order(
    whole: &[Option<usize>],
    older: &[Option<usize>],
    newer: &[Option<usize>],
) -> Option<Order> {
    let (older, newer): (HashSet<_>, HashSet<_>) = (older.iter().collect(), newer.iter().collect());
    // In the first half as well, where a CV is listed for each of its changes: that tells nothing.
    let is_newer: Vec<_> = whole
        .iter()
        .filter(|id| older.contains(id) != newer.contains(id))
        .map(|id| newer.contains(id))
        .collect();
    if older.is_empty() || newer.is_empty() || is_newer.is_empty() {
        return None;
    }
    Some(match is_newer[0] {
        false if is_newer.is_sorted() => Order::OldestFirst,
        true if is_newer.iter().rev().is_sorted() => Order::NewestFirst,
        _ => Order::Neither,
    })
}

/// What an error says.
fn said(sight: &Sight) -> String {
    match &*sight.message {
        "" => "no reason given".to_owned(),
        message => message.to_owned(),
    }
}
