//! The filter of `CVSYNC_KEEP`: which CVs are stored; pure.

use std::collections::{BTreeMap, BTreeSet};

/// The kinds of terms that `cvsync.codes` computes, and the field of the document that each comes from.
pub(crate) const KINDS: [(&str, &str); 10] = [
    ("studie", "/opleidingen"),
    ("rijbewijs", "/attesteringen"),
    ("attest", "/attesteringen"),
    ("competentie", "/competenties"),
    ("softskill", "/competenties"),
    ("taal", "/competenties"),
    ("regio", "/gewensteJob/regios"),
    ("arbeidsregime", "/gewensteJob/arbeidsRegimes"),
    ("arbeidsstelsel", "/gewensteJob/arbeidsStelsels"),
    ("beroep", "/gewensteJob/functies"),
];

/// The longest code in characters, and what it may hold besides letters and digits: `cvsync.codes` has no others.
const LONGEST: usize = 40;
const MARKS: &str = "._+/-";

/// Whether `cvsync.codes` may compute this code. A language may have a level: `taal:N:2`.
fn is_code(kind: &str, code: &str) -> bool {
    let level = |code: &&str| matches!(code.as_bytes(), [b'1'..=b'9']);
    let code = match code.rsplit_once(':') {
        Some((code, rest)) if kind == "taal" && level(&rest) => code,
        _ => code,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || MARKS.contains(c);
    code.starts_with(|c: char| c.is_ascii_alphanumeric())
        && code.chars().all(allowed)
        && code.len() <= LONGEST
}

/// Terms by kind. A CV matches if it has at least one term of each kind. Without terms, every CV matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep(BTreeMap<&'static str, BTreeSet<String>>);

impl Keep {
    /// Parses a term such as `regio:BE231A`. The error reads on from the name of the variable.
    pub(crate) fn parse_term(text: &str) -> Result<(&'static str, String), String> {
        let kinds = || KINDS.map(|(kind, _)| kind).join(", ");
        let (kind, code) = text
            .split_once(':')
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| {
                format!(
                    "must be kind:code, such as regio:BE231A; kinds: {}",
                    kinds()
                )
            })?;
        let (kind, _) = KINDS
            .into_iter()
            .find(|(known, _)| *known == kind)
            .ok_or_else(|| format!("must have one of these kinds: {}", kinds()))?;
        if !is_code(kind, code) {
            return Err(format!(
                "must have a code of at most {LONGEST} letters, digits and {MARKS}, and begin with a letter or digit"
            ));
        }
        Ok((kind, text.to_owned()))
    }

    /// The terms, sorted.
    #[must_use]
    pub(crate) fn terms(&self) -> Vec<String> {
        self.0.values().flatten().cloned().collect()
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kinds of its terms, and the field that each comes from.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        KINDS
            .into_iter()
            .filter(|(kind, _)| self.0.contains_key(kind))
    }

    /// Whether each CV that matches `other` matches this filter too.
    #[must_use]
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.0.iter().all(|(kind, terms)| {
            let theirs = other.0.get(kind);
            theirs.is_some_and(|theirs| theirs.is_subset(terms))
        })
    }
}

impl FromIterator<(&'static str, String)> for Keep {
    fn from_iter<I: IntoIterator<Item = (&'static str, String)>>(terms: I) -> Self {
        let mut keep = BTreeMap::<_, BTreeSet<_>>::new();
        for (kind, term) in terms {
            keep.entry(kind).or_default().insert(term);
        }
        Self(keep)
    }
}

/// Terms that an earlier version accepted and this one does not know are left out.
impl<'a> FromIterator<&'a String> for Keep {
    fn from_iter<I: IntoIterator<Item = &'a String>>(terms: I) -> Self {
        let terms = terms.into_iter();
        terms
            .filter_map(|term| Self::parse_term(term).ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(terms: &[&str]) -> Keep {
        terms
            .iter()
            .map(|term| Keep::parse_term(term).unwrap())
            .collect()
    }

    #[test]
    fn a_filter_covers_narrower_ones_only() {
        let everything = keep(&[]);
        let regio = keep(&["regio:A"]);
        let regios = keep(&["regio:A", "regio:B"]);
        let both = keep(&["regio:A", "studie:X"]);
        for wide in [&everything, &regios, &regio] {
            assert!(wide.covers(&regio) && wide.covers(&both));
        }
        assert!(regios.covers(&regios));
        assert!(!regio.covers(&everything));
        assert!(!regio.covers(&regios));
        assert!(!both.covers(&regio));
        assert!(!keep(&["studie:X"]).covers(&regio));
    }

    #[test]
    fn an_unknown_kind_is_refused_and_the_known_ones_are_named() {
        for text in ["regoi:A", "Regio:A", ":A", "regio", "regio:"] {
            let error = Keep::parse_term(text).unwrap_err();
            assert!(error.contains("studie, rijbewijs"), "{text}: {error}");
        }
        assert_eq!(
            Keep::parse_term("taal:EN:3"),
            Ok(("taal", "taal:EN:3".to_owned()))
        );
        assert!(Keep::parse_term(&format!("regio:{}", "x".repeat(LONGEST))).is_ok());
    }

    #[test]
    fn a_code_that_no_cv_can_have_is_refused() {
        for code in [
            "x".repeat(LONGEST + 1).as_str(),
            "a b",
            "-a",
            "a@b",
            "{}",
            "é",
            "a:3",
            "\0",
        ] {
            let error = Keep::parse_term(&format!("regio:{code}")).unwrap_err();
            assert!(error.contains("letters, digits"), "{code}: {error}");
        }
        for code in ["EN:0", "EN:10", "EN:a", ":3"] {
            assert!(Keep::parse_term(&format!("taal:{code}")).is_err(), "{code}");
        }
    }
}
