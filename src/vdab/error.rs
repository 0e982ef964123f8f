//! What can go wrong with one request to VDAB, and what to do about it; decided here and nowhere else.

use std::time::Duration;

use serde::Serialize;

use super::headers::LONGEST_WAIT;
use crate::model::ParkClass;
use crate::telemetry::ClosedBy;

/// A request that brought no usable answer. Holds no id, URL, header or body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No connection: refused, no such host, TLS failed.
    #[error("VDAB cannot be reached ({0})")]
    Unreachable(String),
    /// A connection, but no whole answer: time-out, reset, cut short.
    #[error("VDAB's answer did not arrive whole ({0})")]
    Incomplete(&'static str),
    /// The connection ended before the response began.
    #[error("VDAB closed the connection without a response")]
    Dropped,
    /// The server of OAuth tokens failed in this way, and the API was not asked.
    #[error("{}", of_token_server(.0))]
    Token(Box<ApiError>),
    /// 429; how long to wait, where the answer said so.
    #[error("VDAB's quota is used up (429)")]
    OverQuota {
        /// From `Retry-After` or `X-RateLimit-Reset`.
        wait: Option<Duration>,
    },
    /// 401 or 403.
    #[error(
        "VDAB refuses the key ({status}: {message}); check CVSYNC_API_KEY and the subscription of your key to the CV API"
    )]
    KeyRefused {
        /// 401 or 403.
        status: u16,
        /// The gateway's own words.
        message: String,
    },
    /// 5xx; how long to wait, where the answer said so.
    #[error("VDAB failed ({status})")]
    Server {
        /// 500 to 599.
        status: u16,
        /// From `Retry-After`.
        wait: Option<Duration>,
    },
    /// An answer that is not what it claims to be, such as an HTML page with status 200.
    #[error("VDAB's answer is none ({0})")]
    NotAnAnswer(&'static str),
    /// Another 4xx: this request will not be answered however often it is sent.
    #[error("VDAB refuses the request ({status}: {message})")]
    Refused {
        /// 400 to 499.
        status: u16,
        /// The gateway's own words.
        message: String,
    },
    /// VDAB calls the id malformed.
    #[error("VDAB calls the id malformed")]
    BadId,
    /// The body is larger than allowed.
    #[error("VDAB's response is larger than {} MiB", limit >> 20)]
    TooLarge {
        /// The most that is read of such an answer.
        limit: usize,
    },
    /// The document holds what `jsonb` cannot.
    #[error("the document holds a character or number that PostgreSQL cannot store")]
    Unstorable,
    /// VDAB answers for other CVs, but not for this one.
    #[error("VDAB answers for other CVs, but not for this one ({})", .0.class())]
    Alone(Box<ApiError>),
    /// The gate stayed closed for longer than the caller is ready to wait.
    #[error("{why}; gave up after {} s", waited.as_secs())]
    GaveUp {
        /// How long the gate has been closed.
        waited: Duration,
        /// What closed it.
        why: Box<ApiError>,
    },
}

fn of_token_server(why: &ApiError) -> String {
    let what = match why {
        ApiError::KeyRefused { status, message } => {
            return format!(
                "the OAuth token server refuses the client ({status}: {message}); check CVSYNC_OAUTH_CLIENT_ID, CVSYNC_OAUTH_CLIENT_SECRET and CVSYNC_OAUTH_TOKEN_URL"
            );
        }
        ApiError::Unreachable(why) => {
            return format!("the OAuth token server cannot be reached ({why})");
        }
        ApiError::OverQuota { .. } => "it asks for fewer requests (429)".to_owned(),
        ApiError::Server { status, .. } => format!("it answers {status}"),
        ApiError::Incomplete(why) | ApiError::NotAnAnswer(why) => (*why).to_owned(),
        ApiError::Dropped => "it closed the connection without a response".to_owned(),
        other => other.class().to_owned(),
    };
    format!("the OAuth token server gives no token ({what}); check CVSYNC_OAUTH_TOKEN_URL")
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Ask again once the gate is open; it is not this CV's fault.
    WaitForGate,
    /// Ask again after a pause; if this CV fails while others succeed, park it under this class.
    Retry(ParkClass),
    /// Asking again is useless: park it.
    Park(ParkClass),
    /// Tell the caller.
    Stop,
}

/// Why a gate is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The quota is used up.
    RateLimit,
    /// The key is refused.
    Auth,
    /// The source is down, or fails on everything.
    Outage,
}

impl Reason {
    /// The word for it in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ClosedBy::from(self).as_str()
    }
}

impl From<Reason> for ClosedBy {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::RateLimit => Self::RateLimit,
            Reason::Auth => Self::Auth,
            Reason::Outage => Self::Outage,
        }
    }
}

/// What an answer says about the source as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers.
    Healthy,
    /// It may be down, or it may be this one request.
    Suspect,
    /// No worker is to ask for a while.
    Close(Reason, Option<Duration>),
}

impl ApiError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable(_) | Self::OverQuota { .. } | Self::KeyRefused { .. } => {
                Remedy::WaitForGate
            }
            Self::Server { wait: Some(_), .. } => Remedy::WaitForGate,
            Self::Server { wait: None, .. } => Remedy::Retry(ParkClass::ServerError),
            Self::Incomplete(_) | Self::Dropped => Remedy::Retry(ParkClass::Transport),
            Self::NotAnAnswer(_) => Remedy::Retry(ParkClass::Unreadable),
            Self::Refused { .. } => Remedy::Park(ParkClass::Refused),
            Self::BadId => Remedy::Park(ParkClass::BadId),
            Self::TooLarge { .. } => Remedy::Park(ParkClass::TooLarge),
            Self::Unstorable => Remedy::Park(ParkClass::Unstorable),
            Self::Token(why) => why.remedy(),
            Self::Alone(why) => Remedy::Retry(match &**why {
                Self::Unreachable(_) => ParkClass::Transport,
                Self::Server { .. } => ParkClass::ServerError,
                _ => ParkClass::Refused,
            }),
            Self::GaveUp { .. } => Remedy::Stop,
        }
    }

    /// Whether key, client id or client secret were refused.
    #[must_use]
    pub fn is_of_credentials(&self) -> bool {
        match self {
            Self::KeyRefused { .. } => true,
            Self::Token(why) => why.is_of_credentials(),
            _ => false,
        }
    }

    /// For how long an answer about one CV alone asks to wait for it, where the source answers for others.
    #[must_use]
    pub fn wait_alone(&self) -> Option<Duration> {
        let Self::Alone(why) = self else {
            return None;
        };
        match why.verdict() {
            Verdict::Close(_, Some(asked)) => Some(asked.min(LONGEST_WAIT)),
            _ => Some(Duration::ZERO),
        }
    }

    /// What it says about the source as a whole.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Unreachable(_) => Verdict::Close(Reason::Outage, None),
            Self::OverQuota { wait } => Verdict::Close(Reason::RateLimit, *wait),
            Self::KeyRefused { .. } => Verdict::Close(Reason::Auth, None),
            Self::Server {
                wait: Some(wait), ..
            } => Verdict::Close(Reason::Outage, Some(*wait)),
            Self::Server { .. } | Self::Incomplete(_) | Self::Dropped | Self::NotAnAnswer(_) => {
                Verdict::Suspect
            }
            Self::Token(why) => why.verdict(),
            Self::Refused { .. }
            | Self::BadId
            | Self::TooLarge { .. }
            | Self::Unstorable
            | Self::Alone(_)
            | Self::GaveUp { .. } => Verdict::Healthy,
        }
    }

    /// The word for it in logs and metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Incomplete(_) | Self::Dropped => "incomplete",
            Self::OverQuota { .. } => "over_quota",
            Self::KeyRefused { .. } => "key_refused",
            Self::Server { .. } => "server_error",
            Self::NotAnAnswer(_) => "not_an_answer",
            Self::Refused { .. } => "refused",
            Self::BadId => "bad_id",
            Self::TooLarge { .. } => "too_large",
            Self::Unstorable => "unstorable",
            Self::Alone(why) | Self::Token(why) => why.class(),
            Self::GaveUp { .. } => "gave_up",
        }
    }
}
