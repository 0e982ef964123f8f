//! Fetches reference data into `reference_code`: whole lists, and diplomas one by one.
//!
//! Invariant: no sync waits for it or fails with it. Each list succeeds or fails separately. No code is deleted, since old CVs may
//! still hold codes that VDAB no longer lists.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Pipeline, SyncError};
use crate::config::{DIPLOMAS, List};
use crate::model::Job;
use crate::store::{Remedy, job_success, reference_code};
use crate::vdab::reference::Entry;
use crate::vdab::{ApiError, persevere};

/// How long one call may take, with its retries and waits, before it counts as failed.
const CALL: Duration = Duration::from_mins(3);

/// The pause between two look-ups of diplomas. They are not urgent, and leave VDAB's quota to other calls.
const PACE: Duration = Duration::from_secs(1);

/// The look-ups that may fail in a row before the run gives up.
const FAILURES: usize = 3;

/// The CVs that one transaction searches for codes.
const CVS: i64 = 5_000;

/// The most different codes that are looked up. VDAB has fewer diplomas.
const MOST_CODES: usize = 50_000;

#[derive(Debug, Default, Serialize)]
pub struct Refreshed {
    pub lists: Vec<RefreshedList>,
    /// `None` if diplomas are not among the configured lists.
    pub diplomas: Option<RefreshedDiplomas>,
}

/// The result for a list that is fetched as a whole.
#[derive(Debug, Serialize)]
pub struct RefreshedList {
    pub list: String,
    /// The number of codes that VDAB lists.
    pub codes: usize,
    /// Why there was nothing to refresh: VDAB has no such list.
    pub note: Option<String>,
    /// Why the list was not refreshed.
    pub error: Option<String>,
}

/// The result for diplomas, which are looked up one by one.
#[derive(Debug, Default, Serialize)]
pub struct RefreshedDiplomas {
    /// Codes that have a label now.
    pub found: usize,
    /// Codes that VDAB does not know; looked up again in a month.
    pub unknown: usize,
    /// Codes that wait for the next run.
    pub left: usize,
    /// Why none was looked up: VDAB has no such list.
    pub note: Option<String>,
    /// Why some were not looked up.
    pub error: Option<String>,
}

impl Refreshed {
    #[must_use]
    pub fn failed(&self) -> bool {
        self.error().is_some()
    }

    /// The first error, with the name of its list.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let lists = self
            .lists
            .iter()
            .map(|list| (list.list.as_str(), list.error.as_ref()));
        let diplomas = self
            .diplomas
            .iter()
            .map(|diplomas| (DIPLOMAS, diplomas.error.as_ref()));
        lists
            .chain(diplomas)
            .find_map(|(list, error)| Some(format!("{list}: {}", error?)))
    }

    #[must_use]
    pub fn complete(&self) -> bool {
        !self.failed()
            && self
                .diplomas
                .as_ref()
                .is_none_or(|diplomas| diplomas.left == 0 || diplomas.note.is_some())
    }
}

impl Pipeline {
    /// Fetches all lists, and looks up at most `most` diplomas, at a slow pace. May be dropped at any time.
    ///
    /// # Errors
    /// Only errors of the database. Errors of VDAB are in the result.
    pub async fn refresh_reference(&self, most: usize) -> Result<Refreshed, SyncError> {
        let mut refreshed = Refreshed::default();
        for list in &self.settings.reference.lists {
            if list.name == DIPLOMAS || self.token.is_cancelled() {
                continue;
            }
            refreshed.lists.push(self.refresh_list(list).await?);
        }
        if let Some(list) = self.settings.reference.list(DIPLOMAS) {
            refreshed.diplomas = Some(self.refresh_diplomas(list, most).await?);
        }
        if refreshed.complete() && !self.token.is_cancelled() {
            const STAGE: &str = "recording success";
            let record =
                async |tx: &mut PgConnection| job_success::record(tx, Job::Reference).await;
            let recorded = self.store.write(STAGE, record).await;
            recorded.map_err(SyncError::at(STAGE))?;
        }
        Ok(refreshed)
    }

    async fn refresh_list(&self, list: &List) -> Result<RefreshedList, SyncError> {
        let label_field = &self.settings.reference.label_field;
        let answer = patiently(|| self.vdab.reference(&list.path, label_field)).await;
        let result = |codes, error| RefreshedList {
            list: list.name.clone(),
            codes,
            note: None,
            error,
        };
        let entries = match answer {
            Ok(entries) => entries,
            Err(Some(error)) if is_missing(&error) => {
                let note = Some(no_such_list(list));
                return Ok(RefreshedList {
                    note,
                    ..result(0, None)
                });
            }
            Err(error) => return Ok(result(0, Some(explained(error)))),
        };
        if !entries.is_empty() && entries.iter().all(|entry| entry.label.is_none()) {
            return Ok(result(0, Some(self.without_label())));
        }
        let codes: BTreeMap<_, _> = entries
            .iter()
            .map(|entry| (entry.code.as_str(), entry.label.as_deref()))
            .collect();
        let codes: Vec<_> = codes.into_iter().collect();
        match self.write_codes(&list.name, &codes).await {
            // Only this list fails: the others continue.
            Err(SyncError::Store { error, .. }) if error.remedy() == Remedy::Isolate => {
                Ok(result(0, Some(error.to_string())))
            }
            written => written.map(|()| result(codes.len(), None)),
        }
    }

    async fn refresh_diplomas(
        &self,
        list: &List,
        most: usize,
    ) -> Result<RefreshedDiplomas, SyncError> {
        let mut codes = self.diplomas_to_look_up().await?;
        let mut refreshed = RefreshedDiplomas {
            left: codes.len().saturating_sub(most),
            ..RefreshedDiplomas::default()
        };
        codes.truncate(most);
        // A few codes for which VDAB fails must not come first in every run: failures in a row end it.
        fastrand::shuffle(&mut codes);
        let (mut failures, mut missing) = (0, 0);
        for (at, code) in codes.iter().enumerate() {
            if at > 0 {
                tokio::select! {
                    () = tokio::time::sleep(PACE) => {}
                    () = self.token.cancelled() => {}
                }
            }
            if self.token.is_cancelled() || failures == FAILURES || missing == FAILURES {
                refreshed.left += codes.len() - at;
                break;
            }
            match self.look_up(list, code).await {
                Ok(None) => {
                    refreshed.left += 1;
                    missing += 1;
                }
                Ok(Some(label)) => {
                    self.write_codes(DIPLOMAS, &[(code, label.as_deref())])
                        .await?;
                    refreshed.found += usize::from(label.is_some());
                    refreshed.unknown += usize::from(label.is_none());
                    (failures, missing) = (0, 0);
                }
                Err(error) => {
                    refreshed.error = Some(error);
                    failures += 1;
                }
            }
        }
        // One keyword may be unknown at VDAB. If it knows none at all, it has no such list.
        let is_absent = missing > 0 && refreshed.found + refreshed.unknown == 0;
        refreshed.note = (is_absent && refreshed.error.is_none()).then(|| no_such_list(list));
        Ok(refreshed)
    }

    /// The label of exactly this code, if VDAB has one; `None` if it answers that there is no such resource.
    async fn look_up(&self, list: &List, code: &str) -> Result<Option<Option<String>>, String> {
        let label_field = &self.settings.reference.label_field;
        let found = match patiently(|| self.vdab.diplomas(&list.path, code, label_field)).await {
            // Only this keyword fails. It is looked up again together with unknown codes.
            Err(Some(ApiError::Refused {
                status: 400 | 422, ..
            })) => return Ok(Some(None)),
            Err(Some(error)) if is_missing(&error) => return Ok(None),
            found => found.map_err(explained)?,
        };
        match found.into_iter().find(|entry| entry.code == code) {
            Some(Entry { label: None, .. }) => Err(self.without_label()),
            found => Ok(Some(found.and_then(|entry| entry.label))),
        }
    }

    async fn diplomas_to_look_up(&self) -> Result<Vec<String>, SyncError> {
        const STAGE: &str = "looking for codes in CVs";
        let mut codes = BTreeSet::new();
        let mut after = Uuid::nil();
        while codes.len() < MOST_CODES {
            let page =
                async |tx: &mut PgConnection| reference_code::diplomas_in_cvs(tx, after, CVS).await;
            let page = self.store.read(STAGE, page).await;
            let Some((found, last)) = page.map_err(SyncError::at(STAGE))? else {
                break;
            };
            codes.extend(found);
            after = last;
        }
        let codes: Vec<String> = codes.into_iter().collect();
        let unknown = async |tx: &mut PgConnection| reference_code::to_look_up(tx, &codes).await;
        let unknown = self.store.read(STAGE, unknown).await;
        unknown.map_err(SyncError::at(STAGE))
    }

    async fn write_codes(
        &self,
        list: &str,
        codes: &[(&str, Option<&str>)],
    ) -> Result<(), SyncError> {
        const STAGE: &str = "writing reference data";
        let upsert = async |tx: &mut PgConnection| reference_code::upsert(tx, list, codes).await;
        let written = self.store.write(STAGE, upsert).await;
        written.map_err(SyncError::at(STAGE))
    }

    fn without_label(&self) -> String {
        format!(
            "its entries have no text in the field `{}`: set CVSYNC_REFERENCE_LABEL_FIELD",
            self.settings.reference.label_field
        )
    }
}

fn is_missing(error: &ApiError) -> bool {
    matches!(error, ApiError::Refused { status: 404, .. })
}

fn no_such_list(list: &List) -> String {
    format!(
        "VDAB has no list at {:?}; correct or remove the entry in CVSYNC_REFERENCE_LISTS",
        list.to_string()
    )
}

fn explained(error: Option<ApiError>) -> String {
    match error {
        None => "VDAB did not answer in time".to_owned(),
        Some(error) => error.to_string(),
    }
}

/// The error is `None` if no response arrived in time.
async fn patiently<F>(call: impl FnMut() -> F) -> Result<Vec<Entry>, Option<ApiError>>
where
    F: Future<Output = Result<crate::vdab::Answer<Vec<Entry>>, ApiError>>,
{
    match tokio::time::timeout(CALL, persevere(call)).await {
        Ok(answer) => answer.map(|answer| answer.value).map_err(Some),
        Err(_) => Err(None),
    }
}
