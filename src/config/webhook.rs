//! Who is told of changes, and with what key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{SecretSlice, SecretString};

use super::reader::Reader;
use super::urls;

/// What a key begins with, as Standard Webhooks writes it.
const PREFIX: &str = "whsec_";

/// The receiver of changes.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where to; may hold a token.
    pub url: SecretString,
    /// The key of the signatures: 24 to 64 bytes, as Standard Webhooks has it.
    pub key: SecretSlice<u8>,
}

impl Webhook {
    /// Both, or none: nobody could tell an unsigned request from a forged one.
    #[expect(
        clippy::option_option,
        reason = "refused, absent and there are three things"
    )]
    pub(super) fn read(reader: &mut Reader) -> Option<Option<Self>> {
        const URL: &str = "CVSYNC_WEBHOOK_URL";
        const SECRET: &str = "CVSYNC_WEBHOOK_SECRET";
        for (given, missing) in [(URL, SECRET), (SECRET, URL)] {
            if reader.is_given(given) && !reader.is_given(missing) {
                reader.refuse(
                    missing,
                    format!("is missing, while {given} is there; a webhook needs both"),
                );
            }
        }
        let url = reader.optional(URL, urls::encrypted);
        let key = reader.optional(SECRET, key);
        match (url?, key?) {
            (Some(url), Some(key)) => Some(Some(Self {
                url: String::from(url).into(),
                key,
            })),
            _ => Some(None),
        }
    }
}

fn key(text: &str) -> Result<SecretSlice<u8>, String> {
    text.strip_prefix(PREFIX)
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .filter(|key| (24..=64).contains(&key.len()))
        .map(SecretSlice::from)
        .ok_or_else(|| {
            "is not `whsec_` and 24 to 64 bytes in base64; make one with: echo \"whsec_$(openssl rand -base64 32)\""
                .to_owned()
        })
}
