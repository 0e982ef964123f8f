//! The output of `cvsync config show`: the value and origin of each variable, with secrets masked.

use std::borrow::Cow;

use serde::Serialize;
use url::Url;

use super::Otel;
use super::database::{DATABASE_READ_URL, DATABASE_URL};
use super::env::Env;
use super::postgres_url::masked_postgres;
use super::proxy::{self, Proxies, Proxy};
use super::reader::{Origin, Reader, is_showable};
use super::variables::{PROXIES, VARIABLES, Variable};

/// Replaces a secret.
pub(super) const MASK: &str = "********";

#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// A `CVSYNC_` variable, or one of proxies.
    pub name: &'static str,
    /// The value, valid or not; `None` without a value.
    pub value: Option<String>,
    pub origin: Origin,
    pub meaning: Cow<'static, str>,
}

/// All variables, in the order of the table. Accepts invalid values too.
#[must_use]
pub(crate) fn shown(env: &Env) -> Vec<Shown> {
    let reader = Reader::new(env);
    let proxies = shown_proxies(env);
    VARIABLES
        .iter()
        .map(|variable| Shown {
            name: variable.name,
            value: reader
                .value(variable.name)
                .map(|value| masked(variable, value)),
            origin: reader.origin(variable),
            meaning: variable.meaning.into(),
        })
        .chain(proxies)
        .collect()
}

/// The variables whose URLs cvsync sends requests to.
const TARGETS: [&str; 4] = [
    "CVSYNC_API_BASE_URL",
    "CVSYNC_OAUTH_TOKEN_URL",
    "CVSYNC_PING_URL",
    "CVSYNC_WEBHOOK_URL",
];

/// The proxy of each target that is set. The URLs of the targets are not shown.
#[must_use]
pub(crate) fn routes(env: &Env) -> Vec<(&'static str, Option<Proxy>)> {
    let proxies = Proxies::read(env).unwrap_or_default();
    let reader = Reader::new(env);
    let ours = TARGETS
        .into_iter()
        .filter_map(|name| Some((name, reader.value(name)?)));
    let otel = Otel::read(env);
    let collectors = [otel.traces, otel.metrics].into_iter().flatten();
    let collectors = collectors.map(|target| (target.variable, target.url().to_string()));
    let mut routes: Vec<_> = ours
        .chain(collectors)
        .filter_map(|(name, url)| Some((name, proxies.of(&Url::parse(&url).ok()?).cloned())))
        .collect();
    // Both signals may go to the same collector.
    routes.dedup_by_key(|(name, _)| *name);
    routes
}

/// The proxy variables that are set, with the targets that each applies to.
fn shown_proxies(env: &Env) -> Vec<Shown> {
    let routes = routes(env);
    let given = PROXIES
        .iter()
        .filter_map(|(name, _)| proxy::given(env, name));
    given
        .map(|(name, value)| {
            let is_list = name.eq_ignore_ascii_case("no_proxy");
            let decided = routes.iter().filter(|(_, proxy)| match proxy {
                Some(proxy) => proxy.variable() == name,
                None => is_list,
            });
            let decided: Vec<_> = decided.map(|(target, _)| *target).collect();
            let decided = match &*decided {
                [] => "no URL".to_owned(),
                decided => decided.join(", "),
            };
            Shown {
                name,
                value: Some(match value {
                    Ok(value) if is_list => value,
                    Ok(value) => proxy::masked(&value),
                    Err(_) => MASK.to_owned(),
                }),
                origin: Origin::Environment,
                meaning: if is_list {
                    format!("hosts that are asked directly; direct are: {decided}").into()
                } else {
                    format!("the proxy of: {decided}").into()
                },
            }
        })
        .collect()
}

fn masked(variable: &Variable, value: String) -> String {
    if [DATABASE_URL, DATABASE_READ_URL].contains(&variable.name) {
        masked_postgres(&value)
    } else if is_showable(variable, &value) {
        value
    } else {
        MASK.to_owned()
    }
}
