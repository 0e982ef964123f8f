//! What `cvsync config show` shows: each variable's value and origin, secrets masked.

use serde::Serialize;

use super::env::Env;
use super::reader::{Origin, Reader, is_showable};
use super::urls::masked_postgres;
use super::variables::{VARIABLES, Variable};

/// Stands for a secret.
pub(super) const MASK: &str = "********";

/// One variable, as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// `CVSYNC_…`.
    pub name: &'static str,
    /// What holds, right or wrong; `None` where nothing does.
    pub value: Option<String>,
    /// Who said so.
    pub origin: Origin,
    /// One line for people.
    pub meaning: &'static str,
}

/// Each variable there is, in the table's order. Takes what [`super::Config::load`] would refuse.
#[must_use]
pub fn shown(env: &Env) -> Vec<Shown> {
    let reader = Reader::new(env);
    VARIABLES
        .iter()
        .map(|variable| Shown {
            name: variable.name,
            value: reader
                .value(variable.name)
                .map(|value| masked(variable, value)),
            origin: reader.origin(variable),
            meaning: variable.meaning,
        })
        .collect()
}

fn masked(variable: &Variable, value: String) -> String {
    if variable.name == "CVSYNC_DATABASE_URL" {
        masked_postgres(&value)
    } else if is_showable(variable, &value) {
        value
    } else {
        MASK.to_owned()
    }
}
