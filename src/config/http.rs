//! What this daemon serves: health, metrics, status; and whom it tells that it lives.

use std::net::SocketAddr;

use secrecy::SecretString;

use super::reader::Reader;
use super::{Env, Problems, load, rules, urls};

/// Where to listen, and what opens the doors that not everybody may use.
#[derive(Clone, Debug)]
pub struct Http {
    /// `None` where nothing is to be served.
    pub addr: Option<SocketAddr>,
    /// Needed for whatever changes or shows personal data; without one none of that is served.
    pub admin_token: Option<SecretString>,
    /// Asked for after each sync that came to its end; may hold a token.
    pub ping_url: Option<SecretString>,
}

impl Http {
    /// Reads this part alone.
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let addr = reader.required("CVSYNC_HTTP_ADDR", rules::unless_off(address));
        let admin_token = reader.optional("CVSYNC_ADMIN_TOKEN", rules::header);
        let ping_url = reader.optional("CVSYNC_PING_URL", urls::anywhere);
        if let (Some(addr), Some(Some(token))) = (&addr, &admin_token) {
            token_length(reader, *addr, token.len());
        }
        Some(Self {
            addr: addr?,
            admin_token: admin_token?.map(Into::into),
            ping_url: ping_url?.map(|url| String::from(url).into()),
        })
    }
}

/// The fewest characters of a token that nobody guesses.
const LONG_ENOUGH: usize = 20;

/// A short token can be guessed by whoever reaches the address: off loopback that is anybody.
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

/// An address and a port. `:8080` is refused: whether everybody may connect is a thing to say, not to leave out.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.replacen("localhost:", "127.0.0.1:", 1)
        .parse()
        .map_err(|_| {
            "is no address with a port; 0.0.0.0 is every interface of this machine".to_owned()
        })
}
