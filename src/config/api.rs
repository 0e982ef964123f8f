//! The source: the URL of VDAB's API, the credentials and the quota.

use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::reader::Reader;
use super::{Env, Problems, Proxies, dialect, file, load, rules, urls};
use crate::model::{Dialect, StatusWords};

#[derive(Clone, Debug)]
pub struct Api {
    /// `https://`, or `http://` on loopback.
    pub base_url: Url,
    /// Sent as `X-IBM-Client-Id`.
    pub key: SecretString,
    /// The file of the key, if it came from one. It is read again after VDAB refuses the key.
    pub key_file: Option<SecretFile>,
    /// An extra root certificate, in PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Calls per minute to each endpoint.
    pub rate_per_minute: NonZeroU32,
    /// The timeout of one request, from connect to the last byte.
    pub timeout: Duration,
    pub statuses: StatusWords,
    /// Credentials for a Bearer token, which is sent with the key.
    pub oauth: Option<OAuth>,
    pub dialect: Dialect,
    /// The proxies of all outgoing HTTP.
    pub proxies: Proxies,
}

#[derive(Clone, Debug)]
pub struct OAuth {
    pub token_url: Url,
    pub client_id: String,
    pub client_secret: SecretString,
}

/// A file with a secret, which may change while the process runs.
#[derive(Clone, Debug)]
pub struct SecretFile(String);

impl SecretFile {
    /// The current secret; `None` if the file cannot be read.
    #[must_use]
    pub fn read(&self) -> Option<SecretString> {
        file::secret(&self.0).ok().map(Into::into)
    }
}

impl Api {
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let key = reader.required("CVSYNC_API_KEY", rules::header);
        let key_file = reader.file("CVSYNC_API_KEY").map(SecretFile);
        let base_url = reader.required("CVSYNC_API_BASE_URL", urls::http);
        let ca_pem = reader.optional("CVSYNC_API_CA_FILE", certificates);
        let rate_per_minute =
            reader.required("CVSYNC_API_RATE_PER_MINUTE", rules::whole(1..=1_000_000));
        let timeout = reader.required(
            "CVSYNC_API_TIMEOUT",
            rules::duration(Duration::from_secs(1)..=Duration::from_mins(10)),
        );
        let statuses = read_statuses(reader);
        let oauth = OAuth::read(reader);
        let dialect = dialect::read(reader);
        let proxies = reader.proxies();
        Some(Self {
            base_url: base_url?,
            key: key?.into(),
            key_file,
            ca_pem: ca_pem?,
            rate_per_minute: rate_per_minute.and_then(NonZeroU32::new)?,
            timeout: timeout?,
            statuses: statuses?,
            oauth: oauth?,
            dialect: dialect?,
            proxies: proxies?,
        })
    }
}

impl OAuth {
    /// All three or none: with only some of them, requests would silently have no token.
    #[expect(
        clippy::option_option,
        reason = "refused, absent and there are three things"
    )]
    fn read(reader: &mut Reader) -> Option<Option<Self>> {
        const TOKEN_URL: &str = "CVSYNC_OAUTH_TOKEN_URL";
        const CLIENT_ID: &str = "CVSYNC_OAUTH_CLIENT_ID";
        const CLIENT_SECRET: &str = "CVSYNC_OAUTH_CLIENT_SECRET";
        let all = [TOKEN_URL, CLIENT_ID, CLIENT_SECRET];
        let Some(given) = all.into_iter().find(|name| reader.is_given(name)) else {
            return Some(None);
        };
        for name in all {
            if !reader.is_given(name) {
                reader.refuse(
                    name,
                    format!("must be set, because {given} is; OAuth needs all three variables"),
                );
            }
        }
        let token_url = reader.optional(TOKEN_URL, urls::http);
        let client_id = reader.optional(CLIENT_ID, rules::text);
        let client_secret = reader.optional(CLIENT_SECRET, rules::text);
        Some(Some(Self {
            token_url: token_url??,
            client_id: client_id??,
            client_secret: client_secret??.into(),
        }))
    }
}

fn certificates(path: &str) -> Result<Vec<u8>, String> {
    file::certificates(path).map_err(|what| {
        format!("must be the path of a PEM file with certificates; the file {what}")
    })
}

fn read_statuses(reader: &mut Reader) -> Option<StatusWords> {
    const GONE: &str = "CVSYNC_API_GONE_STATUSES";
    let live = reader.required("CVSYNC_API_LIVE_STATUSES", rules::list(rules::word));
    let gone = reader.required(GONE, rules::list(rules::word));
    let (live, gone) = (live?, gone?);
    let both = gone
        .iter()
        .find(|word| live.iter().any(|other| other.eq_ignore_ascii_case(word)));
    if let Some(word) = both {
        reader.refuse(
            GONE,
            format!(
                "must not contain {word:?}, which CVSYNC_API_LIVE_STATUSES contains too; a CV is either live or gone"
            ),
        );
        return None;
    }
    Some(StatusWords { live, gone })
}
