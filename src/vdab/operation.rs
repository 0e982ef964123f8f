//! The operations of the API in one table. VDAB counts the calls of each operation separately.

use super::{bulk, detail, reference, search};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// The ids whose latest change lies in a window.
    Bulk,
    /// The document of one CV.
    Detail,
    /// CVs that match a filter.
    Search,
    Reference,
    /// The diplomas that match a keyword.
    Diplomas,
}

#[derive(Clone, Copy, Debug)]
pub struct Properties {
    /// In metrics, status and quota loans.
    pub name: &'static str,
    /// The path without ids, in metrics and traces.
    pub template: &'static str,
    pub content: Content,
    /// The largest response that is read, in bytes.
    pub limit: usize,
    /// Whether syncs depend on it: on its quota and its gate.
    pub for_syncs: bool,
}

/// The content of a good response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A page of ids, whole or in part.
    Page,
    /// A document, which is personal data throughout.
    Document,
    Codes,
}

impl Operation {
    pub const ALL: [Self; 5] = [
        Self::Bulk,
        Self::Detail,
        Self::Search,
        Self::Reference,
        Self::Diplomas,
    ];

    #[must_use]
    pub const fn properties(self) -> Properties {
        match self {
            Self::Bulk => Properties {
                name: "bulk",
                template: "/kandidaten/bulk",
                content: Content::Page,
                limit: bulk::LARGEST_PAGE,
                for_syncs: true,
            },
            Self::Detail => Properties {
                name: "detail",
                template: "/kandidaten/{id}",
                content: Content::Document,
                limit: detail::LARGEST_DOCUMENT,
                for_syncs: true,
            },
            Self::Search => Properties {
                name: "search",
                template: "/kandidaten",
                content: Content::Page,
                limit: search::LARGEST_RESULT,
                for_syncs: false,
            },
            Self::Reference => Properties {
                name: "reference",
                template: "/{referentielijst}",
                content: Content::Codes,
                limit: reference::LARGEST_LIST,
                for_syncs: false,
            },
            Self::Diplomas => Properties {
                name: "diplomas",
                template: "/diplomas",
                content: Content::Codes,
                limit: reference::LARGEST_LIST,
                for_syncs: false,
            },
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        self.properties().name
    }

    pub fn for_syncs() -> impl Iterator<Item = Self> {
        let all = Self::ALL.into_iter();
        all.filter(|operation| operation.properties().for_syncs)
    }

    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|operation| operation.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_its_index_and_its_name() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
            assert_eq!(Operation::of(operation.name()), Some(operation));
        }
        assert_eq!(Operation::of("dance"), None);
    }
}
