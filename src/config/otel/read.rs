//! Parses the standard variables, and notes which ones are ignored.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::names::{NO_EFFECT, is_obeyed};
use crate::config::env::Env;
use crate::config::file;

/// The variables, and the reasons why some are ignored.
pub(super) struct Variables<'a> {
    env: &'a Env,
    refused: BTreeMap<String, String>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(env: &'a Env) -> Self {
        let given = env.otel_names().filter(|name| !is_obeyed(name));
        let refused = given.filter_map(|name| {
            let value = env.get(name).ok().flatten()?;
            let (_, reason, quiet) = NO_EFFECT.iter().find(|(known, ..)| {
                known
                    .strip_suffix('*')
                    .map_or(name == *known, |start| name.starts_with(start))
            })?;
            (!value.eq_ignore_ascii_case(quiet)).then(|| (name.to_owned(), (*reason).to_owned()))
        });
        Self {
            env,
            refused: refused.collect(),
        }
    }

    /// Notes why a variable is ignored. The reason does not show the value.
    pub(super) fn refuse(&mut self, name: &str, reason: &str) {
        self.refused.insert(name.to_owned(), reason.to_owned());
    }

    /// Notes that one of two variables is missing.
    pub(super) fn refuse_pair(&mut self, one: &[String; 2], other: &[String; 2]) {
        for name in one.iter().chain(other) {
            if self.env.sets(name) && !self.refused.contains_key(name) {
                self.refuse(name, "needs both a client certificate and its key");
            }
        }
    }

    /// The ignored variables with their reasons, ordered by name.
    pub(super) fn ignored(self) -> Vec<String> {
        let refused = self.refused.into_iter();
        refused
            .map(|(name, reason)| format!("{name} ({reason})"))
            .collect()
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        if let Ok(value) = self.env.get(name) {
            return value;
        }
        self.refuse(name, "must be Unicode text");
        None
    }

    pub(super) fn read<T>(
        &mut self,
        name: &str,
        rule: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.text(name)?;
        rule(&value)
            .map_err(|reason| self.refuse(name, &reason))
            .ok()
    }

    /// The first of two variables that is set and valid.
    pub(super) fn first<T>(
        &mut self,
        names: &[String; 2],
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        names.iter().find_map(|name| self.read(name, &rule))
    }

    /// One of these words, in lower case.
    pub(super) fn word(&mut self, name: &str, known: &[&str]) -> Option<String> {
        self.read(name, |value| {
            let value = value.to_ascii_lowercase();
            if known.contains(&&*value) {
                Ok(value)
            } else {
                Err(format!("must be one of {}", known.join(", ")))
            }
        })
    }

    pub(super) fn number<T>(&mut self, name: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        self.read(name, |value| {
            let number = value.parse().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| {
                format!(
                    "must be an integer between {} and {}",
                    range.start(),
                    range.end()
                )
            })
        })
    }

    pub(super) fn millis(&mut self, name: &str) -> Option<Duration> {
        self.read(name, millis)
    }

    /// Whether a signal is pushed, if the variable says so. The list may name other exporters, which are ignored.
    pub(super) fn exporter(&mut self, signal: &str) -> Option<bool> {
        let name = format!("OTEL_{signal}_EXPORTER");
        let value = self.text(&name)?.to_ascii_lowercase();
        let words: Vec<_> = value
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        let is_known = |word: &&str| {
            matches!(*word, "otlp" | "none") || *word == "prometheus" && signal == "METRICS"
        };
        if !words.iter().all(is_known) {
            self.refuse(&name, "must be otlp or none");
        }
        Some(words.contains(&"otlp"))
    }
}

/// Milliseconds, up to a day.
pub(super) fn millis(text: &str) -> Result<Duration, String> {
    let most = 86_400_000;
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=most).contains(number));
    let number = number.ok_or_else(|| format!("must be milliseconds between 1 and {most}"));
    number.map(Duration::from_millis)
}

pub(super) fn ratio(text: &str) -> Option<f64> {
    let ratio = text.parse().ok();
    ratio.filter(|ratio| (0.0..=1.0).contains(ratio))
}

/// `name=value`, comma-separated; values are percent-encoded.
pub(super) fn attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let attribute = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then_some((name.to_owned(), decoded(value.trim())?))
    };
    items(text, attribute)
}

pub(super) fn headers(text: &str) -> Result<Vec<(String, SecretString)>, String> {
    items(text, header)
}

fn items<T>(text: &str, rule: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let read = items.enumerate().map(|(at, item)| {
        let at = at + 1;
        rule(item)
            .ok_or_else(|| format!("item {at} must be NAME=VALUE with a percent-encoded value"))
    });
    read.collect()
}

fn header(item: &str) -> Option<(String, SecretString)> {
    let (name, value) = item.split_once('=')?;
    let name = name.trim();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let value = decoded(value.trim())?;
    let is_value = value.bytes().all(|b| matches!(b, b' '..=b'~'));
    (!name.is_empty() && name.bytes().all(is_name) && is_value)
        .then(|| (name.to_ascii_lowercase(), value.into()))
}

/// Decodes percent-encoded text; a `+` stays a `+`.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = behind
            .get(..2)
            .filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        rest = &behind[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

pub(super) fn content(path: &str) -> Result<Vec<u8>, String> {
    let told = |what| format!("the file {what}");
    let content = file::bytes(path).map_err(told)?;
    file::refuse_utf16(&content).map_err(told)?;
    Ok(content)
}

pub(super) fn certificates(path: &str) -> Result<Vec<u8>, String> {
    file::certificates(path).map_err(|what| format!("the file {what}"))
}
