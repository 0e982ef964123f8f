//! The webhook: its URL and its key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{SecretSlice, SecretString};

use super::reader::Reader;
use super::urls;

/// The prefix of a key in Standard Webhooks.
const PREFIX: &str = "whsec_";

#[derive(Clone, Debug)]
pub struct Webhook {
    /// May contain a token.
    pub url: SecretString,
    /// The signing key: 24 to 64 bytes, as in Standard Webhooks.
    pub key: SecretSlice<u8>,
}

impl Webhook {
    /// Both or none: a receiver cannot tell an unsigned request from a forged one.
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
                    format!("must be set, because {given} is; a webhook needs both variables"),
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
            "must be `whsec_` followed by 24 to 64 bytes in base64; make one with: echo \"whsec_$(openssl rand -base64 32)\""
                .to_owned()
        })
}
