//! Where data comes from: the only code that speaks HTTP to VDAB.
//!
//! Invariant: each attempt has a permit of its operation's quota and has passed its operation's gate. Being gone is an
//! answer, not an error.
//!
//! What reads an answer is plain functions over bytes, public so that they can be fuzzed.

mod absence;
pub mod answer;
mod auth;
pub mod bulk;
mod canaries;
pub mod detail;
mod drift;
mod error;
mod gate;
pub mod headers;
mod loan;
mod names;
mod operation;
pub(crate) mod probe;
mod quota;
pub mod reference;
mod request;
mod retry;
pub mod search;
mod source_time;
mod traffic;
mod wire;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use url::Url;

pub use self::detail::Detail;
pub(crate) use self::drift::Seen;
pub use self::error::{ApiError, Reason, Remedy};
pub(crate) use self::gate::ClosedGate;
pub(crate) use self::loan::{Ask, Loan};
pub(crate) use self::operation::Operation;
pub(crate) use self::quota::LARGEST_LOAN;
pub(crate) use self::retry::persevere;
pub(crate) use self::search::Search;
pub(crate) use self::source_time::SourceTime;
pub(crate) use self::wire::{BulkItem, BulkPage, SearchPage};

use self::absence::Absence;
use self::answer::Raw;
use self::auth::Auth;
use self::canaries::Canaries;
use self::drift::Drift;
use self::error::Verdict;
use self::gate::Pass;
use self::operation::Properties;
use self::quota::Permit;
use self::reference::Entry;
use self::request::{API, Http};
use self::traffic::{Admission, Traffic};
use crate::clock::Clock;
use crate::config;
use crate::model::{CvId, Dialect, JsonPointer, Standing, StatusWords, Window, shape};
use crate::telemetry::Metrics;

/// So many CVs that are known to be live are asked for before one failure closes the gate: the first may fail by itself.
const WITNESSES: usize = 2;

/// Two CVs that are over quota within so long are not to blame, even if another CV is answered meanwhile.
const OVER_QUOTA: Duration = Duration::from_mins(1);

/// VDAB's CV API: one method for each operation, each call one attempt.
#[derive(Debug)]
pub struct Client {
    http: Http,
    base_url: Url,
    auth: Auth,
    words: StatusWords,
    exclude: Vec<JsonPointer>,
    dialect: Dialect,
    per_minute: NonZeroU32,
    timeout: Duration,
    patience: Option<Duration>,
    time: SourceTime,
    metrics: Metrics,
    /// In the order of [`Operation::ALL`].
    traffic: [Traffic; Operation::ALL.len()],
    canaries: Canaries,
    absence: Absence,
    drift: Drift,
    /// The CV that was last over quota alone, and when.
    over_quota: Mutex<Option<(CvId, Instant)>>,
}

/// The outcome of one call, which is not reported to the gate yet.
struct Reply<T> {
    outcome: Result<Answer<T>, ApiError>,
    /// How long to wait where the answer says that it was the last of the quota.
    nothing_left: Option<Duration>,
}

impl<T> Reply<T> {
    fn tell(&self, pass: Pass<'_>) {
        match (&self.outcome, self.nothing_left) {
            (Ok(_), Some(wait)) => pass.report_last(wait),
            (outcome, _) => pass.report(outcome.as_ref().err()),
        }
    }
}

/// An answer, and the source time at which its request started: it reflects every change before that.
#[derive(Debug)]
pub struct Answer<T> {
    /// Lower bound of the source's time at the start of the request.
    pub as_of: DateTime<Utc>,
    /// What was asked for.
    pub value: T,
}

/// Why no client can be built from a configuration that is formally right.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key cannot be sent.
    #[error("CVSYNC_API_KEY holds a character that no HTTP header can carry")]
    Key,
    /// No root certificates, or a bad one.
    #[error(
        "no TLS client can be built: CVSYNC_API_CA_FILE must hold valid certificates in PEM, and this machine needs root certificates (install ca-certificates, or set SSL_CERT_FILE)"
    )]
    Tls(#[source] reqwest::Error),
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// `patience` is how long a closed gate may keep a caller: the daemon waits for as long as it takes (`None`), a
    /// person at a terminal does not.
    pub fn new(
        api: &config::Api,
        exclude: Vec<JsonPointer>,
        patience: Option<Duration>,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, ClientError> {
        let traffic = |operation| Traffic::new(operation, api.rate_per_minute, api.timeout);
        let client = Self {
            http: Http::new(api).map_err(ClientError::Tls)?,
            base_url: api.base_url.clone(),
            auth: Auth::new(api).ok_or(ClientError::Key)?,
            words: api.statuses.clone(),
            exclude,
            dialect: api.dialect.clone(),
            per_minute: api.rate_per_minute,
            timeout: api.timeout,
            patience,
            time: SourceTime::new(clock),
            metrics,
            traffic: Operation::ALL.map(traffic),
            canaries: Canaries::default(),
            absence: Absence::default(),
            drift: Drift::default(),
            over_quota: Mutex::default(),
        };
        for operation in Operation::for_syncs() {
            let limit = api.rate_per_minute.get().into();
            client.metrics.quota(operation.name(), limit, None);
        }
        Ok(client)
    }

    /// The ids whose latest change lies in `window`, from the one at `offset` on and `size` at most.
    ///
    /// The request reaches a [`margin`](Self::margin) beyond both ends, so it also lists ids of the neighbouring windows.
    pub async fn bulk(
        &self,
        window: Window,
        offset: u64,
        size: u16,
    ) -> Result<Answer<BulkPage>, ApiError> {
        let url = self.url(&["kandidaten", "bulk"]);
        let Dialect { names, paging, .. } = &self.dialect;
        let request = self.dialect.request(window, self.time.now());
        let (van, tot) = self.dialect.ends(request);
        let query = [
            (names.of("van"), van),
            (names.of("tot"), tot),
            (names.of("vanaf"), paging.number(offset, size).to_string()),
            (names.of("aantal"), size.to_string()),
        ];
        let request = self.http.get(url).query(&query);
        let page = self
            .ask(Operation::Bulk, request, |answer| {
                bulk::classify(answer, offset, names)
            })
            .await?;
        for item in &page.value.items {
            self.note_status(item.status.as_deref());
        }
        Ok(page)
    }

    /// The document of a CV, or that it is gone.
    ///
    /// A CV that fails by itself proves nothing. So a CV that is known to be live is asked for to reopen a closed gate, and
    /// before a failure closes it.
    pub async fn detail(&self, id: CvId) -> Result<Answer<Detail>, ApiError> {
        loop {
            let Admission { pass, permit } =
                self.traffic(Operation::Detail).admit(self.patience).await?;
            let canary = self.canaries.other_than(id);
            if let (Some(canary), true) = (canary, pass.is_probe()) {
                // Its outcome opens the gate, or keeps it closed.
                let reply = self.ask_detail(&pass, permit, canary).await;
                reply.tell(pass);
                if reply.outcome.is_err() {
                    self.canaries.drop(canary);
                }
                continue;
            }
            let reply = self.ask_detail(&pass, permit, id).await;
            let (Err(error), Some(_)) = (&reply.outcome, canary) else {
                reply.tell(pass);
                return reply.outcome;
            };
            let closes = matches!(error.verdict(), Verdict::Close(..));
            let alone = match pass.report_doubtful(error) {
                Some(check) => self.others_answer(id, check, error).await,
                None => false,
            };
            return match reply.outcome {
                Err(error) if alone && closes => Err(ApiError::Alone(Box::new(error))),
                outcome => outcome,
            };
        }
    }

    /// Whether the source answers for another CV than `id`, for which it has failed; if not, the gate closes. Such a call
    /// goes before those that wait for the quota.
    async fn others_answer(&self, id: CvId, check: Pass<'_>, error: &ApiError) -> bool {
        let mut why = error.clone();
        // The gate closes for many failures in a row: one more is enough.
        let witnesses = match error.verdict() {
            Verdict::Close(..) => WITNESSES,
            Verdict::Suspect | Verdict::Healthy => 1,
        };
        for _ in 0..witnesses {
            let Some(canary) = self.canaries.other_than(id) else {
                break;
            };
            let permit = self.traffic(Operation::Detail).quota.urgent_permit().await;
            let reply = self.ask_detail(&check, permit, canary).await;
            match &reply.outcome {
                Err(failure) if failure.verdict() != Verdict::Healthy => {
                    if matches!(failure.verdict(), Verdict::Close(..)) {
                        why = failure.clone();
                    }
                    self.canaries.drop(canary);
                }
                _ if self.is_over_quota_again(id, error) => {
                    check.report(Some(&ApiError::OverQuota { wait: None }));
                    return true;
                }
                _ => {
                    reply.tell(check);
                    return true;
                }
            }
        }
        check.report(Some(&why));
        false
    }

    /// Whether `error` says that the quota is used up, as another CV's answer did a moment ago.
    fn is_over_quota_again(&self, id: CvId, error: &ApiError) -> bool {
        if !matches!(error, ApiError::OverQuota { .. }) {
            return false;
        }
        let mut last = self
            .over_quota
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = last.replace((id, Instant::now()));
        before.is_some_and(|(other, at)| other != id && at.elapsed() < OVER_QUOTA)
    }

    /// A page of what matches `search`, from the result at `offset` on and `size` at most.
    ///
    /// # Errors
    /// See [`ApiError::remedy`]; where VDAB does not take a filter, with its words.
    pub async fn search(
        &self,
        search: &Search,
        offset: u64,
        size: u16,
    ) -> Result<Answer<SearchPage>, ApiError> {
        let url = self.url(&["kandidaten"]);
        let request = self
            .http
            .get(url)
            .query(&search.query(&self.dialect, offset, size));
        self.ask(Operation::Search, request, |answer| {
            search::classify(answer, offset, &self.dialect.names)
        })
        .await
    }

    /// A reference list whole. `label_field` is the field of its entries that people read.
    pub async fn reference(
        &self,
        path: &str,
        label_field: &str,
    ) -> Result<Answer<Vec<Entry>>, ApiError> {
        let segments: Vec<_> = path.split('/').collect();
        let request = self.http.get(self.url(&segments));
        self.ask(Operation::Reference, request, |answer| {
            reference::classify(answer, label_field, &self.dialect.names)
        })
        .await
    }

    /// The diploma's that match `keyword` best: ten at VDAB.
    pub async fn diplomas(
        &self,
        path: &str,
        keyword: &str,
        label_field: &str,
    ) -> Result<Answer<Vec<Entry>>, ApiError> {
        let segments: Vec<_> = path.split('/').collect();
        let request = self.http.get(self.url(&segments));
        let request = request.query(&[("trefwoord", keyword)]);
        self.ask(Operation::Diplomas, request, |answer| {
            reference::classify(answer, label_field, &self.dialect.names)
        })
        .await
    }

    /// From now on calls come out of the quota of whoever answers these, as long as somebody does.
    pub fn borrow_from(&mut self, lender: &mpsc::Sender<Ask>) {
        for traffic in &mut self.traffic {
            traffic.quota.borrow_from(lender.clone());
        }
    }

    /// Takes so many calls of an operation out of its quota, before all callers that wait here, for somebody else to make at once.
    /// False if there is no such operation.
    pub async fn lend(&self, operation: &str, calls: u32) -> bool {
        let Some(operation) = Operation::of(operation) else {
            return false;
        };
        self.traffic(operation).quota.lend(calls).await;
        true
    }

    /// Whether the source answers for any CV that is known to be there; false where none is.
    pub async fn answers(&self) -> bool {
        while let Some(canary) = self.canaries.first() {
            if self.detail(canary).await.is_ok() {
                return true;
            }
            self.canaries.drop(canary);
        }
        false
    }

    /// Whether an answer of `told` that a CV is gone can be believed: after a few in a row, only once a CV that is known to be
    /// live has been asked for since, and is live. False where none is.
    pub async fn confirms_gone(&self, told: Instant) -> bool {
        if self.absence.is_plausible(told) {
            return true;
        }
        let _turn = self.absence.turn.lock().await;
        while !self.absence.is_plausible(told) {
            let Some(canary) = self.canaries.first() else {
                return false;
            };
            match self.detail(canary).await {
                // One that is gone is no longer among them.
                Ok(_) => {}
                Err(_) => self.canaries.drop(canary),
            }
        }
        true
    }

    /// Tells of CVs that are known to be there, as far as there is room for them.
    pub fn suggest_canaries(&self, ids: impl IntoIterator<Item = CvId>) {
        self.canaries.suggest(ids);
    }

    /// One call, whose reply the caller reports to the gate.
    async fn ask_detail(&self, pass: &Pass<'_>, permit: Permit<'_>, id: CvId) -> Reply<Detail> {
        let request = self.http.get(self.url(&["kandidaten", &id.to_string()]));
        let asked = Instant::now();
        let reply = self
            .call(Operation::Detail, pass, permit, request, |answer| {
                let names = &self.dialect.names;
                detail::classify(answer, id, &self.words, &self.exclude, names)
            })
            .await;
        match reply.outcome.as_ref().map(|answer| &answer.value) {
            Ok(Detail::Live(document)) => {
                self.drift.note(document.drift().iter().cloned());
                self.note_status(document.status());
                self.canaries.answered(id);
                self.absence.live(asked);
            }
            Ok(Detail::Gone) => {
                self.canaries.drop(id);
                self.absence.gone();
            }
            Err(_) => {}
        }
        reply
    }

    fn note_status(&self, word: Option<&str>) {
        if self.words.standing(word) == Standing::Unknown {
            self.drift.note(word.map(shape::new_status));
        }
    }

    /// How the answers so far depart from the contract.
    #[must_use]
    pub fn drift(&self) -> Seen {
        self.drift.seen()
    }

    /// How far a request for a window reaches beyond each of its ends.
    #[must_use]
    pub fn margin(&self) -> TimeDelta {
        self.dialect.resolution()
    }

    /// Both halves of a window; `None` where it is too short to be cut.
    #[must_use]
    pub fn halves(&self, window: Window) -> Option<(Window, Window)> {
        self.dialect.halves(window)
    }

    /// How long one request may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The quota of each operation.
    #[must_use]
    pub fn per_minute(&self) -> u32 {
        self.per_minute.get()
    }

    /// Attempts of what syncs need that have come to an end, well or not.
    #[must_use]
    pub fn answers_received(&self) -> u64 {
        self.answers_by_operation().iter().sum()
    }

    /// The same for bulk and detail, each of which has the whole quota.
    #[must_use]
    pub fn answers_by_operation(&self) -> [u64; 2] {
        [Operation::Bulk, Operation::Detail].map(|operation| self.traffic(operation).received())
    }

    /// Detail calls that have no answer yet.
    #[must_use]
    pub fn details_under_way(&self) -> usize {
        self.traffic(Operation::Detail).under_way()
    }

    /// Whether any detail call succeeded since `instant`: then a CV that keeps failing fails by itself.
    #[must_use]
    pub fn detail_healthy_since(&self, instant: Instant) -> bool {
        self.traffic(Operation::Detail).gate.healthy_since(instant)
    }

    /// Whether detail calls make sense now.
    #[must_use]
    pub fn details_are_open(&self) -> bool {
        self.traffic(Operation::Detail).gate.is_open()
    }

    /// The source's time.
    #[must_use]
    pub fn time(&self) -> &SourceTime {
        &self.time
    }

    /// What status words mean.
    #[must_use]
    pub fn words(&self) -> &StatusWords {
        &self.words
    }

    /// The closed gates of what syncs need, by operation. That reference data cannot be had is no trouble of theirs.
    #[must_use]
    pub fn closed_gates(&self) -> Vec<(&'static str, ClosedGate)> {
        let closed = |operation: Operation| {
            let gate = self.traffic(operation).gate.closed()?;
            Some((operation.name(), gate))
        };
        Operation::for_syncs().filter_map(closed).collect()
    }

    /// Brings the time that gates were closed into the metrics: of two that are closed at once, the longer time. Called every
    /// few seconds and before each scrape.
    pub fn count_closed_time(&self) {
        let mut longest = HashMap::<Reason, Duration>::new();
        for operation in Operation::for_syncs() {
            for (reason, time) in self.traffic(operation).gate.take_closed_time() {
                let known = longest.entry(reason).or_default();
                *known = time.max(*known);
            }
        }
        for (reason, time) in longest {
            self.metrics.gate_closed(reason.into(), time);
        }
    }

    fn traffic(&self, operation: Operation) -> &Traffic {
        &self.traffic[operation as usize]
    }

    /// One attempt, as soon as gate and quota let it pass.
    async fn ask<T>(
        &self,
        operation: Operation,
        request: reqwest::RequestBuilder,
        classify: impl FnOnce(&Raw) -> Result<T, ApiError>,
    ) -> Result<Answer<T>, ApiError> {
        let Admission { pass, permit } = self.traffic(operation).admit(self.patience).await?;
        let reply = self.call(operation, &pass, permit, request, classify);
        let reply = reply.await;
        reply.tell(pass);
        reply.outcome
    }

    async fn call<T>(
        &self,
        operation: Operation,
        pass: &Pass<'_>,
        mut permit: Permit<'_>,
        request: reqwest::RequestBuilder,
        classify: impl FnOnce(&Raw) -> Result<T, ApiError>,
    ) -> Reply<T> {
        let asked = Instant::now();
        let Properties {
            template, limit, ..
        } = operation.properties();
        let traffic = self.traffic(operation);
        let under_way = traffic.begin();
        let raw = match self.auth.sign(&self.http, request).await {
            Ok(request) => {
                let again = async || {
                    permit.renew().await;
                    pass.holds()
                };
                self.http.send(API, request, limit, again).await
            }
            Err(error) => Err(error),
        };
        permit.end();
        traffic.end(under_way);
        let received = Instant::now();
        if let Ok(raw) = &raw {
            self.observe(operation, raw, asked, received);
        }
        // A good answer is kept as it is: its reader knows the names.
        let raw = raw.map(|raw| match &self.dialect.names {
            names if names.is_empty() || raw.status == 200 => raw,
            names => names::in_ours(raw, names),
        });
        let outcome = raw.as_ref().map_err(Clone::clone).and_then(classify);
        self.metrics.http_request(
            &self.base_url,
            template,
            received - asked,
            raw.as_ref().ok().map(|raw| raw.status.as_u16()),
            outcome.as_ref().err().map(ApiError::class),
        );
        if outcome.as_ref().is_err_and(ApiError::is_of_credentials) {
            self.auth.doubt();
        }
        Reply {
            outcome: outcome.map(|value| Answer {
                as_of: self.time.at(asked),
                value,
            }),
            nothing_left: raw.as_ref().ok().and_then(nothing_left),
        }
    }

    fn observe(&self, operation: Operation, raw: &Raw, asked: Instant, received: Instant) {
        self.time
            .learn(headers::date(&raw.headers), asked, received);
        let ours = u64::from(self.per_minute.get());
        self.metrics.quota(
            operation.name(),
            headers::rate_limit(&raw.headers).unwrap_or(ours),
            headers::rate_limit_remaining(&raw.headers),
        );
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base_url.clone();
        // Cannot fail: the configuration takes http and https URLs only, which have a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

/// How long to wait where a good answer says that it was the last of the quota.
fn nothing_left(raw: &Raw) -> Option<Duration> {
    (headers::rate_limit_remaining(&raw.headers) == Some(0))
        .then(|| headers::rate_limit_reset(&raw.headers))
        .flatten()
}
