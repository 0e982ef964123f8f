//! Faults of requests: by share, by script or by rule.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;
use uuid::Uuid;

use super::answer::Answer;
use super::call::{Call, Operation};

/// A fault of one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// No fault, for scripts.
    Pass,
    /// 500 with the gateway's body.
    Http500,
    /// 503, with this `Retry-After` if any.
    Http503 {
        /// Seconds or an HTTP date, as sent.
        retry_after: Option<String>,
    },
    /// 429 whatever the quota, with this `Retry-After` if any.
    RateLimit {
        /// Seconds or an HTTP date, as sent.
        retry_after: Option<String>,
    },
    /// The connection is reset in the middle of the body.
    Reset,
    /// No response is ever sent.
    Stall,
    /// The connection ends in the middle of the body that `Content-Length` announced.
    CutOff,
    /// The second half of the body is missing, which only the content shows.
    CutShort,
    /// An HTML page with status 200.
    Html200,
    /// The bulk page has one more item, with an invalid id.
    GarbageId,
    /// The bulk page has an unknown status instead of `OPEN` for every second such item.
    UnknownStatus,
    /// 404, whether or not the CV exists.
    MissingDetail,
    /// The right response after a delay.
    Slow(Duration),
    Answer(Answer),
}

/// Random faults, as `--fault` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "explained at the variants of `Fault`")]
pub enum FaultKind {
    Http500,
    Http503,
    RateLimit,
    Reset,
    Stall,
    Truncate,
    Html200,
    GarbageId,
    UnknownStatus,
    MissingDetail,
}

impl FaultKind {
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Http500, "http-500"),
        (Self::Http503, "http-503"),
        (Self::RateLimit, "rate-limit"),
        (Self::Reset, "reset"),
        (Self::Stall, "stall"),
        (Self::Truncate, "truncate"),
        (Self::Html200, "html-200"),
        (Self::GarbageId, "garbage-id"),
        (Self::UnknownStatus, "unknown-status"),
        (Self::MissingDetail, "missing-detail"),
    ];

    fn strikes(self, operation: Operation) -> bool {
        match self {
            Self::GarbageId | Self::UnknownStatus => operation == Operation::Bulk,
            Self::MissingDetail => operation == Operation::Detail,
            _ => true,
        }
    }

    fn fault(self, rng: &mut Rng) -> Fault {
        match self {
            Self::Http500 => Fault::Http500,
            Self::Http503 => Fault::Http503 {
                retry_after: rng.bool().then(|| "1".to_owned()),
            },
            Self::RateLimit => Fault::RateLimit {
                retry_after: rng.bool().then(|| "1".to_owned()),
            },
            Self::Reset => Fault::Reset,
            Self::Stall => Fault::Stall,
            Self::Truncate if rng.bool() => Fault::CutOff,
            Self::Truncate => Fault::CutShort,
            Self::Html200 => Fault::Html200,
            Self::GarbageId => Fault::GarbageId,
            Self::UnknownStatus => Fault::UnknownStatus,
            Self::MissingDetail => Fault::MissingDetail,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL
            .iter()
            .find(|(kind, _)| kind == self)
            .map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

/// A kind of fault and its share of requests; written `http-500=0.1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultShare {
    pub kind: FaultKind,
    /// The share, from 0 to 1, of the requests that it can apply to.
    pub share: f64,
}

/// A text without a valid fault and share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultShareError {
    /// There is no `=`, or no number between 0 and 1 after it.
    #[error("must be KIND=SHARE with a share between 0 and 1, such as http-500=0.1")]
    Form,
    #[error("KIND must be one of {names}, got {0:?}", names = FaultKind::ALL.map(|(_, name)| name).join(", "))]
    Kind(String),
}

impl FromStr for FaultShare {
    type Err = FaultShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, share) = text.split_once('=').ok_or(FaultShareError::Form)?;
        let (kind, _) = FaultKind::ALL
            .into_iter()
            .find(|(_, known)| *known == name)
            .ok_or_else(|| FaultShareError::Kind(name.to_owned()))?;
        match share.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self { kind, share }),
            _ => Err(FaultShareError::Form),
        }
    }
}

/// The requests that a script or a rule applies to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Operation(Operation),
    /// The detail calls of one id, as in the path.
    Id(String),
}

impl From<Operation> for Target {
    fn from(operation: Operation) -> Self {
        Self::Operation(operation)
    }
}

impl From<Uuid> for Target {
    fn from(id: Uuid) -> Self {
        Self::Id(id.to_string())
    }
}

/// Chooses the fault of each request. Scripts come before rules, rules before chance, an id before its operation.
pub(super) struct Faults {
    pub(super) shares: Vec<FaultShare>,
    pub(super) scripts: HashMap<Target, VecDeque<Fault>>,
    pub(super) rules: HashMap<Target, Fault>,
    rng: Rng,
}

impl Faults {
    pub(super) fn new(shares: Vec<FaultShare>, seed: u64) -> Self {
        Self {
            shares,
            scripts: HashMap::new(),
            rules: HashMap::new(),
            rng: Rng::with_seed(seed),
        }
    }

    /// The fault of this call.
    pub(super) fn next(&mut self, call: &Call) -> Fault {
        let id = call.id.clone().map(Target::Id);
        let targets: Vec<_> = id.into_iter().chain([call.operation.into()]).collect();
        let scripted = targets
            .iter()
            .find_map(|target| self.scripts.get_mut(target)?.pop_front());
        let ruled = || {
            targets
                .iter()
                .find_map(|target| self.rules.get(target).cloned())
        };
        scripted
            .or_else(ruled)
            .unwrap_or_else(|| self.chance(call.operation))
    }

    /// One draw for all kinds, so that each has exactly its share, if the shares add up to at most 1.
    fn chance(&mut self, operation: Operation) -> Fault {
        let mut roll = self.rng.f64();
        for FaultShare { kind, share } in &self.shares {
            if !kind.strikes(operation) {
                continue;
            }
            if roll < *share {
                return kind.fault(&mut self.rng);
            }
            roll -= share;
        }
        Fault::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk() -> Call {
        Call {
            operation: Operation::Bulk,
            id: None,
            query: vec![],
        }
    }

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for (kind, name) in FaultKind::ALL {
            assert_eq!(
                format!("{name}=0.25").parse(),
                Ok(FaultShare { kind, share: 0.25 })
            );
            assert_eq!(kind.to_string(), name);
        }
        for wrong in [
            "http-500",
            "http-500=",
            "http-500=1.1",
            "http-500=-1",
            "reset=NaN",
        ] {
            assert_eq!(
                wrong.parse::<FaultShare>(),
                Err(FaultShareError::Form),
                "{wrong}"
            );
        }
        assert_eq!(
            "fire=1".parse::<FaultShare>(),
            Err(FaultShareError::Kind("fire".into()))
        );
    }

    #[test]
    fn each_kind_strikes_its_share_of_the_requests_it_concerns() {
        let shares = ["http-500=0.2", "missing-detail=0.5", "garbage-id=0.1"]
            .map(|share| share.parse().unwrap());
        let mut faults = Faults::new(shares.to_vec(), 1);
        let drawn: Vec<_> = (0..10_000).map(|_| faults.next(&bulk())).collect();
        let count = |fault| drawn.iter().filter(|drawn| **drawn == fault).count();
        assert!((1_800..2_200).contains(&count(Fault::Http500)));
        assert!((850..1_150).contains(&count(Fault::GarbageId)));
        assert_eq!(count(Fault::MissingDetail), 0);
    }

    #[test]
    fn a_script_comes_before_a_rule_and_a_rule_before_chance() {
        let mut faults = Faults::new(vec!["reset=1".parse().unwrap()], 1);
        assert_eq!(faults.next(&bulk()), Fault::Reset);
        faults.rules.insert(Operation::Bulk.into(), Fault::Http500);
        faults
            .scripts
            .insert(Operation::Bulk.into(), [Fault::Pass, Fault::Html200].into());
        let drawn = [(); 3].map(|()| faults.next(&bulk()));
        assert_eq!(drawn, [Fault::Pass, Fault::Html200, Fault::Http500]);
    }
}
