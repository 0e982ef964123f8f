//! What this daemon serves: health, metrics, status.

use std::net::SocketAddr;

use secrecy::SecretString;

/// Where to listen, and what opens the doors that not everybody may use.
#[derive(Clone, Debug)]
pub struct Http {
    /// `None` where nothing is to be served.
    pub addr: Option<SocketAddr>,
    /// Needed for whatever changes or shows personal data; without one none of that is served.
    pub admin_token: Option<SecretString>,
}
