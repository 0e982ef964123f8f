//! The errors of one request to VDAB. Only this file decides what to do about each of them.

use std::time::Duration;

use serde::Serialize;

use super::failure::Said;
use super::headers::LONGEST_WAIT;
use crate::model::ParkClass;
use crate::telemetry::ClosedBy;

/// A request without a usable response. Shows no id, URL, header or body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No connection: refused, no such host, TLS failed.
    #[error("VDAB cannot be reached ({0})")]
    Unreachable(String),
    /// A connection, but no whole response: timeout, reset, cut short.
    #[error("incomplete response from VDAB: {0}")]
    Incomplete(&'static str),
    /// The connection ended before the response began.
    #[error("VDAB closed the connection without a response")]
    Dropped,
    /// The OAuth token server failed in this way, and no request was sent to the API.
    #[error("{}", of_token_server(.0))]
    Token(Box<ApiError>),
    #[error("VDAB's quota is used up (429)")]
    OverQuota {
        /// How long to wait, from `Retry-After` or `X-RateLimit-Reset`.
        wait: Option<Duration>,
    },
    #[error(
        "VDAB refuses the key ({status}: {said}); check CVSYNC_API_KEY and the subscription of your key to the CV API"
    )]
    KeyRefused { status: u16, said: Said },
    #[error("VDAB failed ({status})")]
    Server {
        status: u16,
        /// How long to wait, from `Retry-After`.
        wait: Option<Duration>,
    },
    /// A response that is not what it claims to be, such as an HTML page with status 200.
    #[error("unusable response from VDAB: {0}")]
    NotAnAnswer(&'static str),
    /// Another 4xx: sending the same request again does not help.
    #[error("VDAB refuses the request ({status}: {said})")]
    Refused { status: u16, said: Said },
    /// VDAB calls the id malformed.
    #[error("VDAB calls the id malformed")]
    BadId,
    /// The body is larger than allowed.
    #[error("VDAB's response is larger than {} MiB", limit >> 20)]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The document holds a value that `jsonb` cannot.
    #[error("the document holds a character or number that PostgreSQL cannot store")]
    Unstorable,
    #[error("VDAB answers for other CVs, but not for this one ({})", .0.class())]
    Alone(Box<ApiError>),
    /// The gate stays closed for longer than the caller waits.
    #[error("{why}; gave up after {} s", waited.as_secs())]
    GaveUp {
        /// How long the gate has been closed.
        waited: Duration,
        /// The failure that closed it.
        why: Box<ApiError>,
    },
}

fn of_token_server(why: &ApiError) -> String {
    let what = match why {
        ApiError::KeyRefused { status, said } => {
            return format!(
                "the OAuth token server refuses the client ({status}: {said}); check CVSYNC_OAUTH_CLIENT_ID, CVSYNC_OAUTH_CLIENT_SECRET and CVSYNC_OAUTH_TOKEN_URL"
            );
        }
        ApiError::Unreachable(why) => {
            return format!("the OAuth token server cannot be reached ({why})");
        }
        ApiError::OverQuota { .. } => "its rate limit is reached, status 429".to_owned(),
        ApiError::Server { status, .. } => format!("status {status}"),
        ApiError::Incomplete(why) | ApiError::NotAnAnswer(why) => (*why).to_owned(),
        ApiError::Dropped => "it closed the connection without a response".to_owned(),
        other => other.class().to_owned(),
    };
    format!("the OAuth token server gives no token ({what}); check CVSYNC_OAUTH_TOKEN_URL")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Retry once the gate is open. This CV is not the cause.
    WaitForGate,
    /// Retry after a pause. If this CV fails while others succeed, park it under this class.
    Retry(ParkClass),
    /// Park it, since a retry does not help.
    Park(ParkClass),
    /// End the run with this error.
    Stop,
}

/// Why a gate is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    RateLimit,
    Auth,
    /// The source is down, or every call fails.
    Outage,
}

impl Reason {
    /// The label in metrics and logs.
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

/// The state of the source as a whole, as one response shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceHealth {
    Up,
    /// It may be down, or it may be this one request.
    Suspect,
    /// No worker may ask for a while: why, and for how long if the response said so.
    Unusable(Reason, Option<Duration>),
}

impl ApiError {
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

    /// Whether VDAB or the token server refuses the credentials.
    #[must_use]
    pub fn is_of_credentials(&self) -> bool {
        match self {
            Self::KeyRefused { .. } => true,
            Self::Token(why) => why.is_of_credentials(),
            _ => false,
        }
    }

    /// The whole text of the response on one line, for the terminal of a person; `None` if the error shows all of it.
    #[must_use]
    pub(crate) fn in_full(&self) -> Option<String> {
        match self {
            Self::KeyRefused { said, .. } | Self::Refused { said, .. } => said.in_full(),
            Self::Token(why) | Self::Alone(why) | Self::GaveUp { why, .. } => why.in_full(),
            _ => None,
        }
    }

    /// If VDAB fails for this CV alone, how long its response asks to wait.
    #[must_use]
    pub fn wait_alone(&self) -> Option<Duration> {
        let Self::Alone(why) = self else {
            return None;
        };
        match why.source_health() {
            SourceHealth::Unusable(_, Some(asked)) => Some(asked.min(LONGEST_WAIT)),
            _ => Some(Duration::ZERO),
        }
    }

    #[must_use]
    pub(super) fn source_health(&self) -> SourceHealth {
        match self {
            Self::Unreachable(_) => SourceHealth::Unusable(Reason::Outage, None),
            Self::OverQuota { wait } => SourceHealth::Unusable(Reason::RateLimit, *wait),
            Self::KeyRefused { .. } => SourceHealth::Unusable(Reason::Auth, None),
            Self::Server {
                wait: Some(wait), ..
            } => SourceHealth::Unusable(Reason::Outage, Some(*wait)),
            Self::Server { .. } | Self::Incomplete(_) | Self::Dropped | Self::NotAnAnswer(_) => {
                SourceHealth::Suspect
            }
            Self::Token(why) => why.source_health(),
            Self::Refused { .. }
            | Self::BadId
            | Self::TooLarge { .. }
            | Self::Unstorable
            | Self::Alone(_)
            | Self::GaveUp { .. } => SourceHealth::Up,
        }
    }

    /// The label in logs and metrics.
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
