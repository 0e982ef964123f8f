//! VDAB's status words and their meaning.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Live,
    /// The CV can be deleted without a detail call.
    Gone,
    /// An unknown word, or none: the detail call decides.
    Unknown,
}

/// The configured words (docs/contract.md, "Statuses").
#[derive(Clone, Debug)]
pub struct StatusWords {
    pub live: Vec<String>,
    pub gone: Vec<String>,
}

impl StatusWords {
    /// The meaning of `word`. An unknown word never deletes anything.
    #[must_use]
    pub fn standing(&self, word: Option<&str>) -> Standing {
        let among = |words: &[String]| {
            word.is_some_and(|word| {
                words
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(word.trim()))
            })
        };
        if among(&self.gone) {
            Standing::Gone
        } else if among(&self.live) {
            Standing::Live
        } else {
            Standing::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_words_have_a_meaning() {
        let words = StatusWords {
            live: vec!["OPEN".into()],
            gone: vec!["VERWIJDERD".into(), "GESLOTEN".into()],
        };
        assert_eq!(words.standing(Some("OPEN")), Standing::Live);
        assert_eq!(words.standing(Some("gesloten ")), Standing::Gone);
        assert_eq!(words.standing(Some("GEARCHIVEERD")), Standing::Unknown);
        assert_eq!(words.standing(Some("")), Standing::Unknown);
        assert_eq!(words.standing(None), Standing::Unknown);
    }
}
