//! The source: where VDAB's API is, who we are to it, and how fast we may ask.

use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::model::StatusWords;

/// How to reach VDAB.
#[derive(Clone, Debug)]
pub struct Api {
    /// `https://`, or `http://` on loopback.
    pub base_url: Url,
    /// Sent as `X-IBM-Client-Id`.
    pub key: SecretString,
    /// An extra root certificate, in PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// The quota of each endpoint.
    pub rate_per_minute: NonZeroU32,
    /// One request, from connect to the last byte.
    pub timeout: Duration,
    /// Words for CVs that are there, and that are gone.
    pub statuses: StatusWords,
    /// A Bearer token next to the key.
    pub oauth: Option<OAuth>,
}

/// OAuth 2 client credentials.
#[derive(Clone, Debug)]
pub struct OAuth {
    /// Where a token is asked for.
    pub token_url: Url,
    /// Who asks.
    pub client_id: String,
    /// And proves it.
    pub client_secret: SecretString,
}
