//! A request as the simulator understands it, and the log of requests.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;
use url::form_urlencoded;
use uuid::Uuid;

use super::reference;

/// The operation of a request. Each has its own quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `GET /kandidaten/bulk`
    Bulk,
    /// `GET /kandidaten/{id}`
    Detail,
    /// `GET /kandidaten`
    Search,
    /// A reference list, by the name in its path, such as `rijbewijzen`.
    Reference(&'static str),
}

/// A request, without its headers.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: Operation,
    /// The id in the path of a detail call, as received.
    pub id: Option<String>,
    /// The parameters, decoded, in their order.
    pub query: Vec<(String, String)>,
}

impl Call {
    /// Parses path and query; `None` for an unknown path.
    pub(super) fn read(path: &str, query: &str) -> Option<Self> {
        // VDAB serves lists under another version too.
        if let Some(list) = path.strip_prefix("/v2/") {
            let operation = Operation::Reference(reference::named(list)?);
            return Some(Self::of(operation, None, query));
        }
        let path = path.strip_prefix("/v1/")?;
        let (operation, id) = match path.strip_prefix("kandidaten") {
            Some("") => (Operation::Search, None),
            Some("/bulk") => (Operation::Bulk, None),
            Some(rest) => (Operation::Detail, Some(rest.strip_prefix('/')?.to_owned())),
            None => (Operation::Reference(reference::named(path)?), None),
        };
        Some(Self::of(operation, id, query))
    }

    fn of(operation: Operation, id: Option<String>, query: &str) -> Self {
        let query = form_urlencoded::parse(query.as_bytes());
        Self {
            operation,
            id,
            query: query.into_owned().collect(),
        }
    }

    /// The values of a parameter, which may be repeated.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.query
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn value<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }
}

/// A call that was made, without content.
#[derive(Clone, Copy, Debug)]
pub struct CallRecord {
    pub at: Instant,
    pub operation: Operation,
    /// The requested CV, if the id is valid.
    pub id: Option<Uuid>,
    /// The status that was sent, even if the connection broke after it; `None` if nothing was sent.
    pub status: Option<u16>,
}

/// The latest calls, and the total number of calls.
#[derive(Default)]
pub(super) struct CallLog {
    latest: VecDeque<CallRecord>,
    counts: HashMap<Operation, u64>,
}

impl CallLog {
    const CAPACITY: usize = 100_000;

    pub(super) fn record(&mut self, call: CallRecord) {
        *self.counts.entry(call.operation).or_default() += 1;
        if self.latest.len() == Self::CAPACITY {
            self.latest.pop_front();
        }
        self.latest.push_back(call);
    }

    pub(super) fn count(&self, operation: Operation) -> u64 {
        self.counts.get(&operation).copied().unwrap_or(0)
    }

    pub(super) fn latest(&self) -> Vec<CallRecord> {
        self.latest.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_contract_names_them() {
        let operation = |path| Call::read(path, "").map(|call| (call.operation, call.id));
        assert_eq!(operation("/v1/kandidaten"), Some((Operation::Search, None)));
        assert_eq!(
            operation("/v1/kandidaten/bulk"),
            Some((Operation::Bulk, None))
        );
        assert_eq!(
            operation("/v1/kandidaten/x"),
            Some((Operation::Detail, Some("x".into())))
        );
        assert_eq!(
            operation("/v1/softskills"),
            Some((Operation::Reference("softskills"), None))
        );
        assert_eq!(operation("/v1/kandidatenlijst"), None);
        assert_eq!(operation("/kandidaten"), None);
        let call = Call::read("/v1/kandidaten", "studies=a%20b&studies=c&x=%2B").unwrap();
        assert_eq!(call.values("studies").collect::<Vec<_>>(), ["a b", "c"]);
        assert_eq!(call.value("x"), Some("+"));
    }
}
