//! The source: where VDAB's API is, who we are to it, and how fast we may ask.

use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::reader::Reader;
use super::{Env, Problems, Proxies, dialect, file, load, rules, urls};
use crate::model::{Dialect, StatusWords};

/// How to reach VDAB.
#[derive(Clone, Debug)]
pub struct Api {
    /// `https://`, or `http://` on loopback.
    pub base_url: Url,
    /// Sent as `X-IBM-Client-Id`.
    pub key: SecretString,
    /// The file that holds it, if it came from one: read again once the key is refused.
    pub key_file: Option<SecretFile>,
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
    /// How it speaks where it differs from the contract.
    pub dialect: Dialect,
    /// The proxies of this and of all other outgoing HTTP.
    pub proxies: Proxies,
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

/// A file with a secret in it, which may be renewed while we run.
#[derive(Clone, Debug)]
pub struct SecretFile(String);

impl SecretFile {
    /// The secret as it is now; `None` if the file cannot be read.
    #[must_use]
    pub fn read(&self) -> Option<SecretString> {
        file::secret(&self.0).ok().map(Into::into)
    }
}

impl Api {
    /// Reads this part alone.
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let key = reader.required("CVSYNC_API_KEY", rules::header);
        let key_file = reader.file("CVSYNC_API_KEY").map(SecretFile);
        let base_url = reader.required("CVSYNC_API_BASE_URL", urls::http);
        let ca_pem = reader.optional("CVSYNC_API_CA_FILE", file::certificates);
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
    /// All three, or none: a part of them would leave the requests unsigned without a word.
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
                    format!("is missing, while {given} is there; OAuth needs all three"),
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
                "`{}` is in CVSYNC_API_LIVE_STATUSES as well, and a CV is either there or gone",
                word.escape_debug()
            ),
        );
        return None;
    }
    Some(StatusWords { live, gone })
}
