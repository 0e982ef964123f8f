//! The client of VDAB's CV API: one method for each operation, and what its calls have shown so far.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::RequestBuilder;
use tokio::sync::mpsc;

use super::absence::Absence;
use super::answer::Raw;
use super::attempt::{Answer, Transport};
use super::auth::Auth;
use super::bulk;
use super::canaries::Canaries;
use super::drift::{DriftLog, Drifts};
use super::error::{ApiError, Reason};
use super::gate_state::ClosedGate;
use super::loan::Ask;
use super::operation::Operation;
use super::page::{BulkPage, SearchPage};
use super::reference::{self, Entry};
use super::request::Http;
use super::search::{self, Search};
use super::source_time::SourceTime;
use super::traffic::{Admission, Traffic};
use crate::clock::Clock;
use crate::config;
use crate::model::{CvId, Dialect, JsonPointer, Standing, StatusWords, Window, shape};
use crate::telemetry::Metrics;

/// VDAB's CV API. Each call is one attempt.
#[derive(Debug)]
pub struct Client {
    pub(super) transport: Transport,
    /// In the order of [`Operation::ALL`].
    pub(super) all_traffic: [Traffic; Operation::ALL.len()],
    pub(super) dialect: Dialect,
    pub(super) words: StatusWords,
    pub(super) exclude: Vec<JsonPointer>,
    pub(super) patience: Option<Duration>,
    timeout: Duration,
    pub(super) canaries: Canaries,
    pub(super) absence: Absence,
    pub(super) drift: DriftLog,
    /// The CV that was last over quota alone, and when.
    pub(super) over_quota: Mutex<Option<(CvId, Instant)>>,
}

/// Why no client can be built from a configuration that is formally right.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("CVSYNC_API_KEY holds a character that no HTTP header can carry")]
    Key,
    #[error(
        "no TLS client can be built: CVSYNC_API_CA_FILE must hold valid certificates in PEM, and this machine needs root certificates (install ca-certificates, or set SSL_CERT_FILE)"
    )]
    Tls(#[source] reqwest::Error),
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// `patience` is how long a caller waits for a closed gate. The daemon waits without a limit (`None`), a command does not.
    pub fn new(
        api: &config::Api,
        exclude: Vec<JsonPointer>,
        patience: Option<Duration>,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, ClientError> {
        let per_minute = api.rate_per_minute;
        let traffic = |operation| Traffic::new(operation, per_minute, api.timeout);
        let client = Self {
            transport: Transport {
                http: Http::new(api).map_err(ClientError::Tls)?,
                base_url: api.base_url.clone(),
                auth: Auth::new(api).ok_or(ClientError::Key)?,
                names: api.dialect.names.clone(),
                per_minute,
                time: SourceTime::new(clock),
                metrics,
            },
            all_traffic: Operation::ALL.map(traffic),
            dialect: api.dialect.clone(),
            words: api.statuses.clone(),
            exclude,
            patience,
            timeout: api.timeout,
            canaries: Canaries::default(),
            absence: Absence::default(),
            drift: DriftLog::default(),
            over_quota: Mutex::default(),
        };
        for operation in Operation::for_syncs() {
            let limit = per_minute.get().into();
            let metrics = &client.transport.metrics;
            metrics.quota(operation.name(), limit, None);
        }
        Ok(client)
    }

    /// The ids whose latest change lies in `window`, from the one at `offset` on, `size` at most.
    ///
    /// The request reaches a [`margin`](Self::margin) beyond both ends, so it also lists ids of the neighbouring windows.
    pub async fn bulk(
        &self,
        window: Window,
        offset: u64,
        size: u16,
    ) -> Result<Answer<BulkPage>, ApiError> {
        let Dialect { names, paging, .. } = &self.dialect;
        let request = self.dialect.request(window, self.time().now());
        let (van, tot) = self.dialect.ends(request);
        let query = [
            (names.of("van"), van),
            (names.of("tot"), tot),
            (names.of("vanaf"), paging.number(offset, size).to_string()),
            (names.of("aantal"), size.to_string()),
        ];
        let request = self.transport.get(&["kandidaten", "bulk"]).query(&query);
        let page = self
            .ask(Operation::Bulk, request, |answer| {
                bulk::classify(answer, offset, names)
            })
            .await?;
        for item in &page.value.items {
            if let Some(id) = item.id.valid() {
                self.note_status(id, item.status.as_deref());
            }
        }
        Ok(page)
    }

    /// A page of the CVs that match `search`, from the result at `offset` on, `size` at most.
    ///
    /// # Errors
    /// See [`ApiError::remedy`]. If VDAB does not accept a filter, the error holds its message.
    pub async fn search(
        &self,
        search: &Search,
        offset: u64,
        size: u16,
    ) -> Result<Answer<SearchPage>, ApiError> {
        let query = search.query(&self.dialect, offset, size);
        let request = self.transport.get(&["kandidaten"]).query(&query);
        self.ask(Operation::Search, request, |answer| {
            search::classify(answer, offset, &self.dialect.names)
        })
        .await
    }

    /// A whole reference list. `label_field` is the field of its entries that people read.
    pub async fn reference(
        &self,
        path: &str,
        label_field: &str,
    ) -> Result<Answer<Vec<Entry>>, ApiError> {
        let segments: Vec<_> = path.split('/').collect();
        let request = self.transport.get(&segments);
        self.ask(Operation::Reference, request, |answer| {
            reference::classify(answer, label_field, &self.dialect.names)
        })
        .await
    }

    /// The diplomas that match `keyword` best: ten at VDAB.
    pub async fn diplomas(
        &self,
        path: &str,
        keyword: &str,
        label_field: &str,
    ) -> Result<Answer<Vec<Entry>>, ApiError> {
        let segments: Vec<_> = path.split('/').collect();
        let request = self.transport.get(&segments);
        let request = request.query(&[("trefwoord", keyword)]);
        self.ask(Operation::Diplomas, request, |answer| {
            reference::classify(answer, label_field, &self.dialect.names)
        })
        .await
    }

    /// From now on, calls are borrowed from this lender while it lends.
    pub fn borrow_from(&mut self, lender: &mpsc::Sender<Ask>) {
        for traffic in &mut self.all_traffic {
            traffic.quota.borrow_from(lender.clone());
        }
    }

    /// Takes calls of an operation out of its quota, before all callers that wait here, for a tool to make at once. False if
    /// there is no such operation.
    pub async fn lend(&self, operation: &str, calls: u32) -> bool {
        let Some(operation) = Operation::of(operation) else {
            return false;
        };
        self.traffic(operation).quota.lend(calls).await;
        true
    }

    /// Adds CVs that are probably live to the canaries, while there is room.
    pub fn suggest_canaries(&self, ids: impl IntoIterator<Item = CvId>) {
        self.canaries.suggest(ids);
    }

    pub(super) fn note_status(&self, cv: CvId, word: Option<&str>) {
        if self.words.standing(word) == Standing::Unknown {
            self.drift.note(cv, word.map(shape::new_status));
        }
    }

    /// How the responses so far differ from the contract.
    #[must_use]
    pub fn drift(&self) -> Drifts {
        self.drift.all()
    }

    /// How far a request for a window reaches beyond each of its ends.
    #[must_use]
    pub fn margin(&self) -> TimeDelta {
        self.dialect.resolution()
    }

    /// Both halves of a window, the older one first; `None` if it is too short to be cut.
    #[must_use]
    pub fn halves(&self, window: Window) -> Option<(Window, Window)> {
        self.dialect.halves(window)
    }

    /// How long one request may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The quota of each operation, in calls per minute.
    #[must_use]
    pub fn per_minute(&self) -> u32 {
        self.transport.per_minute.get()
    }

    /// Attempts of the operations that syncs need, whether they succeeded or failed.
    #[must_use]
    pub fn answers_received(&self) -> u64 {
        self.answers_by_operation().iter().sum()
    }

    /// Attempts of bulk and of detail calls, each of which has the whole quota.
    #[must_use]
    pub fn answers_by_operation(&self) -> [u64; 2] {
        [Operation::Bulk, Operation::Detail].map(|operation| self.traffic(operation).received())
    }

    /// Detail calls without a response so far.
    #[must_use]
    pub fn details_under_way(&self) -> usize {
        self.traffic(Operation::Detail).under_way()
    }

    /// Whether any detail call succeeded since `instant`. Then a CV that keeps failing fails by itself.
    #[must_use]
    pub fn detail_healthy_since(&self, instant: Instant) -> bool {
        self.traffic(Operation::Detail).gate.healthy_since(instant)
    }

    /// Whether the gate of detail calls is open.
    #[must_use]
    pub fn details_are_open(&self) -> bool {
        self.traffic(Operation::Detail).gate.is_open()
    }

    #[must_use]
    pub fn time(&self) -> &SourceTime {
        &self.transport.time
    }

    #[must_use]
    pub fn words(&self) -> &StatusWords {
        &self.words
    }

    /// The closed gates of the operations that syncs need, by the operation's name.
    ///
    /// The gates of reference data are left out: no sync depends on them.
    #[must_use]
    pub fn closed_gates(&self) -> BTreeMap<&'static str, ClosedGate> {
        let closed = |operation: Operation| {
            let gate = self.traffic(operation).gate.closed()?;
            Some((operation.name(), gate))
        };
        Operation::for_syncs().filter_map(closed).collect()
    }

    /// Adds the time that gates were closed to the metrics. If two are closed at once, the longer time counts. Called every few
    /// seconds and before each scrape.
    pub fn count_closed_time(&self) {
        let mut longest = HashMap::<Reason, Duration>::new();
        for operation in Operation::for_syncs() {
            for (reason, time) in self.traffic(operation).gate.take_closed_time() {
                let so_far = longest.entry(reason).or_default();
                *so_far = time.max(*so_far);
            }
        }
        for (reason, time) in longest {
            self.transport.metrics.gate_closed(reason.into(), time);
        }
    }

    pub(super) fn traffic(&self, operation: Operation) -> &Traffic {
        &self.all_traffic[operation as usize]
    }

    /// One attempt, as soon as gate and quota let it pass.
    pub(super) async fn ask<T>(
        &self,
        operation: Operation,
        request: RequestBuilder,
        classify: impl FnOnce(&Raw) -> Result<T, ApiError>,
    ) -> Result<Answer<T>, ApiError> {
        let traffic = self.traffic(operation);
        let Admission { pass, permit } = traffic.admit(self.patience).await?;
        let reply = self
            .transport
            .attempt(traffic, &pass, permit, request, classify);
        let reply = reply.await;
        reply.report_to(pass);
        reply.outcome
    }
}
