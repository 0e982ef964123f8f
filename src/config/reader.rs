//! Reads values in layers (defaults, environment, files of secrets), parses them, and collects the errors.

use std::collections::BTreeMap;
use std::fmt;

use ::config::{Config as Layers, ConfigError, Environment};
use serde::{Serialize, Serializer};

use super::Problems;
use super::env::Env;
use super::file;
use super::problem::Problem;
use super::proxy::Proxies;
use super::text::{fault, is_filler};
use super::variables::{PREFIX, VARIABLES, Variable, variable};

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default of a variable that is not set.
    Default,
    Environment,
    /// The file at this path, named by `NAME_FILE`.
    File(String),
    /// A variable that is not set and has no default.
    Unset,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Unset => f.write_str("unset"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads variables and collects their problems.
///
/// Has no `Debug`, because its layers contain secrets.
pub(super) struct Reader {
    layers: Layers,
    origins: BTreeMap<&'static str, Origin>,
    /// Variables whose value could not be obtained. They are reported when they are read: a command that needs only the
    /// database does not report the file of the API key.
    unobtained: BTreeMap<&'static str, Problem>,
    unknown: Vec<Problem>,
    proxies: Result<Proxies, Vec<Problem>>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Reader {
    pub(super) fn new(env: &Env) -> Self {
        let mut given = BTreeMap::new();
        let mut unobtained = BTreeMap::new();
        for variable in VARIABLES {
            match obtain(variable, env) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    given.insert(variable.name, value);
                }
                Err(problem) => {
                    unobtained.insert(variable.name, problem);
                }
            }
        }
        Self {
            layers: layers(&given).expect("the names in VARIABLES are keys that config takes"),
            origins: given
                .into_iter()
                .map(|(name, (origin, _))| (name, origin))
                .collect(),
            unobtained,
            unknown: env.unknown(),
            proxies: Proxies::read(env),
            warnings: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// A required value, set or by default. `None` is a problem, which is noted.
    ///
    /// A rule's error reads on from the name and does not repeat the value. After a semicolon it may name a remedy:
    /// `must be at most 5 days; VDAB allows no more`. The reader puts the value before the semicolon.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        rule: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.optional(name, rule)?;
        if value.is_none() {
            let meaning = variable(name).meaning.trim_end_matches("; required");
            self.refuse(name, format!("must be set: {meaning}"));
        }
        value
    }

    /// An optional value, which may be `Some(None)`. `None` is a problem, which is noted.
    #[expect(
        clippy::option_option,
        reason = "refused, absent and there are three things"
    )]
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        rule: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        if let Some(problem) = self.unobtained.get(name) {
            self.problems.push(problem.clone());
            return None;
        }
        let Some(value) = self.value(name) else {
            return Some(None);
        };
        match rule(&value) {
            Ok(parsed) => Some(Some(parsed)),
            Err(what) => {
                let what = with_value(&what, variable(name), &value);
                self.refuse(name, what);
                None
            }
        }
    }

    /// Notes a problem of this variable, as text that reads on from its name.
    pub(super) fn refuse(&mut self, name: &'static str, what: impl Into<String>) {
        self.problems.push(Problem::of(variable(name), what));
    }

    /// Notes a warning about a setting that is valid.
    pub(super) fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// The warnings so far, with one for each secret file that every user of this machine may read.
    pub(super) fn warnings(&self) -> Vec<String> {
        let files = self
            .origins
            .iter()
            .filter_map(|(name, origin)| match origin {
                Origin::File(path) if file::is_open(path) => Some(format!(
                    "{name}_FILE names {path:?}, which every user of this machine can read; make it private with: chmod o-r {path:?}"
                )),
                _ => None,
            });
        self.warnings.iter().cloned().chain(files).collect()
    }

    /// The proxies of outgoing HTTP; their problems are noted.
    pub(super) fn proxies(&mut self) -> Option<Proxies> {
        match &self.proxies {
            Ok(proxies) => Some(proxies.clone()),
            Err(problems) => {
                self.problems.extend(problems.iter().cloned());
                None
            }
        }
    }

    /// Whether the variable is set, valid or not.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.origins.contains_key(name) || self.unobtained.contains_key(name)
    }

    /// The unparsed text. A value that could not be obtained is not replaced by its default.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        if self.unobtained.contains_key(name) {
            return None;
        }
        self.layers.get_string(&key(name)).ok()
    }

    /// The file of the value, if it comes from one.
    pub(super) fn file(&self, name: &str) -> Option<String> {
        match self.origins.get(name) {
            Some(Origin::File(path)) => Some(path.clone()),
            _ => None,
        }
    }

    pub(super) fn origin(&self, variable: &Variable) -> Origin {
        match self.origins.get(variable.name) {
            Some(origin) => origin.clone(),
            None if self.value(variable.name).is_some() => Origin::Default,
            None => Origin::Unset,
        }
    }

    /// The value, or all problems that were noted.
    pub(super) fn finish<T>(mut self, read: Option<T>) -> Result<T, Problems> {
        self.problems.append(&mut self.unknown);
        match read {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Problems(self.problems)),
        }
    }
}

/// Whether a message may show the value. A URL can contain a password where none belongs.
pub(super) fn is_showable(variable: &Variable, value: &str) -> bool {
    let may_hold_secret = value.contains('@')
        || value.contains("://") && (value.contains(['?', '#']) || value.contains("%40"));
    !variable.secret && !may_hold_secret
}

/// Whether the text is certainly a path, and not a secret that was put in its place.
fn is_path(text: &str) -> bool {
    let is_url = text.contains('@') || text.contains("://");
    !is_url
        && ["/", "./", "../"]
            .iter()
            .any(|start| text.starts_with(start))
}

/// A rule's error with the value in it, unless that may hold a secret.
fn with_value(what: &str, variable: &Variable, value: &str) -> String {
    const ENOUGH: usize = 80;
    if !is_showable(variable, value) {
        return what.to_owned();
    }
    let mut chars = value.chars();
    let start: String = chars.by_ref().take(ENOUGH).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    let (must, remedy) = what.split_once("; ").unwrap_or((what, ""));
    let semicolon = if remedy.is_empty() { "" } else { "; " };
    let start = start.escape_debug();
    format!("{must}, got \"{start}{more}\"{semicolon}{remedy}")
}

/// The variables whose items may be on separate lines.
const LISTS: [&str; 6] = [
    "CVSYNC_API_GONE_STATUSES",
    "CVSYNC_API_LIVE_STATUSES",
    "CVSYNC_API_NAMES",
    "CVSYNC_DOCUMENT_EXCLUDE",
    "CVSYNC_KEEP",
    "CVSYNC_REFERENCE_LISTS",
];

/// The value that is set, and its origin.
fn obtain(variable: &Variable, env: &Env) -> Result<Option<(Origin, String)>, Problem> {
    let found = given(variable, env)?;
    if let Some((_, value)) = &found
        && variable.secret
        && is_filler(value)
    {
        let what = "must be the secret itself, not a placeholder for it";
        return Err(Problem::of(variable, what));
    }
    Ok(found)
}

fn given(variable: &Variable, env: &Env) -> Result<Option<(Origin, String)>, Problem> {
    let get = |name: &str| {
        let value = env
            .get(name)
            .map_err(|_| Problem::named(name, "must be Unicode text"))?;
        match value
            .as_deref()
            .and_then(|value| fault(value, LISTS.contains(&name)))
        {
            Some(what) if name == variable.name => Err(Problem::of(variable, what)),
            Some(what) => Err(Problem::named(name, what)),
            None => Ok(value),
        }
    };
    let value = get(variable.name)?.map(|value| (Origin::Environment, value));
    if !variable.secret {
        return Ok(value);
    }
    let name = format!("{}_FILE", variable.name);
    match (value, get(&name)?) {
        (Some(_), Some(_)) => Err(Problem::of(
            variable,
            format!("and {name} are both set; set one of them"),
        )),
        (None, Some(path)) => match file::secret(&path) {
            Ok(value) => Ok(Some((Origin::File(path), value))),
            Err(what) if is_path(&path) => Err(Problem::named(
                name,
                format!("names the file {path:?}, which {what}"),
            )),
            // The text may be the secret itself, so it is not shown.
            Err(_) => Err(Problem::named(
                name,
                "must be the path of a file that contains the secret, such as /run/secrets/api-key",
            )),
        },
        (value, None) => Ok(value),
    }
}

fn layers(given: &BTreeMap<&'static str, (Origin, String)>) -> Result<Layers, ConfigError> {
    let mut builder = Layers::builder();
    for variable in VARIABLES {
        if let Some(default) = variable.default {
            builder = builder.set_default(key(variable.name), default)?;
        }
    }
    let mut environment = BTreeMap::new();
    for (name, (origin, value)) in given {
        if *origin == Origin::Environment {
            environment.insert((*name).to_owned(), value.clone());
        } else {
            builder = builder.set_override(key(name), value.as_str())?;
        }
    }
    builder
        .add_source(
            Environment::with_prefix(PREFIX.trim_end_matches('_'))
                .source(Some(environment.into_iter().collect())),
        )
        .build()
}

/// The name in the config crate: in lower case, without the prefix.
fn key(name: &str) -> String {
    name.trim_start_matches(PREFIX).to_ascii_lowercase()
}
