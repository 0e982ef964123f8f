//! One report of all problems in the configuration. Each line names the variable and the remedy, and shows no secret.

use std::fmt;

use super::variables::Variable;

/// One problem of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    name: String,
    what: String,
    example: Option<&'static str>,
}

impl Problem {
    /// `what` reads on from the name, such as `must be …`. The example is part of the message.
    pub(super) fn of(variable: &Variable, what: impl Into<String>) -> Self {
        Self {
            name: variable.name.to_owned(),
            what: what.into(),
            example: Some(variable.example),
        }
    }

    /// A problem of a name without an example.
    pub(super) fn named(name: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            what: what.into(),
            example: None,
        }
    }

    /// A problem of a standard variable, such as those of proxies.
    pub(super) fn standard(name: &str, what: impl Into<String>, example: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            what: what.into(),
            example: Some(example),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        write!(f, "{name} {}", self.what)?;
        match self.example {
            Some(example) => write!(f, "; for example {name}={example}"),
            None => Ok(()),
        }
    }
}

/// All problems of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has 1 problem:")?,
            count => write!(f, "the configuration has {count} problems:")?,
        }
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
