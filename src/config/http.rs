//! The daemon's HTTP server, and the URL that it requests after each sync.

use std::net::SocketAddr;

use secrecy::SecretString;

use super::reader::Reader;
use super::{Env, Problems, load, rules, urls};

#[derive(Clone, Debug)]
pub struct Http {
    /// `None` if nothing is served.
    pub addr: Option<SocketAddr>,
    /// Names in lower case under which the page, the status and actions answer, besides localhost and addresses.
    pub hosts: Vec<String>,
    /// Required for requests that change something or return personal data. Without a token, those are not served.
    pub admin_token: Option<SecretString>,
    /// Whether the admin token opens the mirror, besides clients' keys.
    pub token_opens_mirror: bool,
    /// Requested after each successful sync; may contain a token.
    pub ping_url: Option<SecretString>,
}

impl Http {
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let addr = reader.required("CVSYNC_HTTP_ADDR", rules::unless_off(address));
        let admin_token = reader.optional("CVSYNC_ADMIN_TOKEN", rules::header);
        let hosts = reader.optional("CVSYNC_HTTP_HOSTS", rules::list(host));
        let credentials = reader.required("CVSYNC_MIRROR_CREDENTIALS", credentials);
        let ping_url = reader.optional("CVSYNC_PING_URL", urls::anywhere);
        if let (Some(addr), Some(Some(token))) = (&addr, &admin_token) {
            token_length(reader, *addr, token.len());
        }
        Some(Self {
            addr: addr?,
            hosts: hosts?.unwrap_or_default(),
            admin_token: admin_token?.map(Into::into),
            token_opens_mirror: credentials?,
            ping_url: ping_url?.map(|url| String::from(url).into()),
        })
    }
}

/// The minimum length of a token that cannot be guessed.
const LONG_ENOUGH: usize = 20;

/// Anyone who reaches the address can guess a short token. Off loopback that is anyone on the network.
fn token_length(reader: &mut Reader, addr: Option<SocketAddr>, length: usize) {
    const TOKEN: &str = "CVSYNC_ADMIN_TOKEN";
    let too_short = |place: &str| {
        format!(
            "must have at least {LONG_ENOUGH} characters{place}, got {length}; make one with: openssl rand -hex 24"
        )
    };
    match addr {
        Some(addr) if length < LONG_ENOUGH && !addr.ip().to_canonical().is_loopback() => {
            let place = " where other machines can reach CVSYNC_HTTP_ADDR";
            reader.refuse(TOKEN, too_short(place));
        }
        Some(_) if length < LONG_ENOUGH => reader.warn(format!("{TOKEN} {}", too_short(""))),
        _ => {}
    }
}

/// An address and a port. `:8080` is refused, because opening the port to everyone must be explicit.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.replacen("localhost:", "127.0.0.1:", 1)
        .parse()
        .map_err(|_| {
            "must be an IP address or localhost with a port; 0.0.0.0 listens on all interfaces"
                .to_owned()
        })
}

/// A host name, as clients write it before the port.
fn host(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !part.is_empty() && part.len() <= 63 && part.chars().all(plain)
    };
    if name.split('.').all(is_part) && name.len() <= 253 {
        Ok(name)
    } else {
        Err(
            "must be a host name such as cvsync.example, without scheme, port or wildcard"
                .to_owned(),
        )
    }
}

/// The credentials that open the mirror: clients' keys, and the admin token if this is true.
fn credentials(text: &str) -> Result<bool, String> {
    let words = rules::items(text)?;
    let mut words: Vec<_> = words.iter().map(|word| word.trim()).collect();
    words.sort_unstable();
    match *words {
        ["key"] => Ok(false),
        ["key", "token"] => Ok(true),
        _ => Err("must be key or key,token".to_owned()),
    }
}
