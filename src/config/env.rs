//! A snapshot of the environment variables that cvsync reads, and of unknown `CVSYNC_` names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use super::injected::is_injected;
use super::problem::Problem;
use super::rules::nearest;
use super::text::bare;
use super::variables::{CGI, PREFIX, PROXIES, VARIABLES};

/// Names with this prefix are for tests; the daemon ignores them.
const FOR_TESTS: &str = "CVSYNC_TEST_";

/// The prefix of OpenTelemetry's standard variables.
const STANDARD: &str = "OTEL_";

/// The environment variables that start with `CVSYNC_`, and the standard ones of OpenTelemetry and of proxies. Tests create one
/// without changing the process.
///
/// Contains raw values, so that a value that is not Unicode is reported with all other problems.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, OsString>);

impl Env {
    /// The environment of the process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of_pairs(std::env::vars_os().map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            (name, value)
        }))
    }

    /// Only these variables.
    pub fn new(pairs: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        Self::of_pairs(pairs.into_iter().map(|(name, value)| {
            let value: String = value.into();
            (name.into(), value.into())
        }))
    }

    /// Whether the variable has a value.
    #[must_use]
    pub fn sets(&self, name: &str) -> bool {
        !matches!(self.get(name), Ok(None))
    }

    /// A copy with these values instead of its own.
    pub(super) fn with<'a>(&self, values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all = self.0.clone();
        all.extend(
            values
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into())),
        );
        Self(all)
    }

    /// A copy with these values where it has none.
    pub(super) fn over(mut self, values: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name, value.into()));
        for (name, value) in Self::of_pairs(values).0 {
            if !self.sets(&name) {
                self.0.insert(name, value);
            }
        }
        self
    }

    pub(super) fn of_pairs(pairs: impl Iterator<Item = (String, OsString)>) -> Self {
        Self(
            pairs
                .filter(|(name, _)| {
                    // Also in lower case: such a name has no effect and is reported.
                    let name = name.to_ascii_uppercase();
                    name.starts_with(STANDARD)
                        || name.starts_with(PREFIX) && !name.starts_with(FOR_TESTS)
                        || PROXIES.iter().any(|(_, capitals)| *capitals == name)
                        || name == CGI
                })
                .collect(),
        )
    }

    /// The [`bare`] value. Empty counts as unset, because Compose files turn a missing value into `NAME=`.
    pub(super) fn get(&self, name: &str) -> Result<Option<String>, NotUnicode> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let value = bare(value.to_str().ok_or(NotUnicode)?);
        Ok((!value.is_empty()).then(|| value.to_owned()))
    }

    /// The names of OpenTelemetry's variables, except those that container platforms set.
    pub(super) fn otel_names(&self) -> impl Iterator<Item = &str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(|name| name.starts_with(STANDARD) && !is_injected(name, self.pairs()))
    }

    /// Names and values; empty for a value that is not Unicode.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
    }

    /// One problem for each unknown name, which is mostly a typing error.
    pub(super) fn unknown(&self) -> Vec<Problem> {
        let names = || VARIABLES.iter().map(|variable| variable.name);
        self.0
            .keys()
            .filter(|name| name.to_ascii_uppercase().starts_with(PREFIX))
            .filter(|name| !is_known(name) && !is_injected(name, self.pairs()))
            .map(|name| {
                let by_file = name
                    .strip_suffix("_FILE")
                    .filter(|plain| names().any(|known| known == *plain));
                let what = match by_file {
                    Some(plain) => {
                        format!("is not supported, because only secrets can be read from files; set {plain}")
                    }
                    None => format!(
                        "is not a variable of cvsync; did you mean {}?",
                        nearest(name, names())
                    ),
                };
                Problem::named(name, what)
            })
            .collect()
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

pub(super) struct NotUnicode;

fn is_known(name: &str) -> bool {
    VARIABLES.iter().any(|variable| {
        name == variable.name
            || variable.secret && name.strip_suffix("_FILE") == Some(variable.name)
    })
}
