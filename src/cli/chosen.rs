//! The CVs that a decision is about: some by their ids, or all.

use std::collections::BTreeSet;

use super::{Output, Usage};

#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// Ids of CVs as `list` shows them, or --all
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All that `list` shows
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    pub output: Output,
}

impl Chosen {
    /// The ids, each once; `None` for all.
    pub(super) fn read(&self) -> Result<Option<Vec<String>>, Usage> {
        match (self.all, self.ids.is_empty()) {
            (true, _) => Ok(None),
            (false, true) => {
                let text =
                    "give at least one ID as `list` shows it, or --all (nothing was changed)";
                Err(Usage(text.to_owned()))
            }
            (false, false) => {
                let ids: BTreeSet<_> = self.ids.iter().cloned().collect();
                Ok(Some(ids.into_iter().collect()))
            }
        }
    }

    /// Whether it names neither ids nor --all.
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.ids.is_empty()
    }
}
