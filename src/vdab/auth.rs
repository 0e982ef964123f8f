//! Credentials for VDAB: the key on every request and, if configured, a cached OAuth token.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::answer::Raw;
use super::error::ApiError;
use super::json;
use super::request::{Http, TOKEN_SERVER};
use crate::config;

/// The largest response of the token server that is read, in bytes.
const LARGEST_TOKEN: usize = 64 << 10;

/// How long before its end a token is renewed.
const MARGIN: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Auth {
    key: RwLock<HeaderValue>,
    key_file: Option<config::SecretFile>,
    /// VDAB refused the credentials: they are read or requested anew before the next request.
    doubted: AtomicBool,
    oauth: Option<OAuth>,
}

#[derive(Debug)]
struct OAuth {
    settings: config::OAuth,
    token: Mutex<Option<Token>>,
}

#[derive(Debug)]
struct Token {
    value: SecretString,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    /// In seconds; some servers write it as text.
    #[serde(default)]
    expires_in: Value,
}

/// The life of a token in seconds if the response does not have it, and the longest one that is believed.
const DEFAULT_LIFE: u64 = 900;
const LONGEST_LIFE: u64 = 86_400;

impl Auth {
    /// `None` if the key holds a character that no HTTP header can carry.
    #[must_use]
    pub(super) fn new(api: &config::Api) -> Option<Self> {
        Some(Self {
            key: RwLock::new(header(&api.key)?),
            key_file: api.key_file.clone(),
            doubted: AtomicBool::new(false),
            oauth: api.oauth.clone().map(|settings| OAuth {
                settings,
                token: Mutex::new(None),
            }),
        })
    }

    /// Adds the headers (docs/contract.md, "Transport and authentication").
    ///
    /// # Errors
    /// [`ApiError::Token`] if the token server sends no token.
    pub(super) async fn sign(
        &self,
        http: &Http,
        request: RequestBuilder,
    ) -> Result<RequestBuilder, ApiError> {
        if self.doubted.swap(false, Ordering::Relaxed) {
            self.read_key_again();
            if let Some(oauth) = &self.oauth {
                *oauth.token.lock().await = None;
            }
        }
        let request = request.header("X-IBM-Client-Id", self.key());
        match &self.oauth {
            None => Ok(request),
            Some(oauth) => {
                let token = oauth.token(http).await;
                let token = token.map_err(|error| ApiError::Token(Box::new(error)))?;
                Ok(request.bearer_auth(token.expose_secret()))
            }
        }
    }

    /// Reads the key from its file again, and requests a new token, before the next request.
    pub(super) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    fn key(&self) -> HeaderValue {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        key.clone()
    }

    fn read_key_again(&self) {
        let Some(file) = &self.key_file else {
            return;
        };
        let renewed = file.read().as_ref().and_then(header);
        if renewed.is_none() {
            tracing::warn!(
                "CVSYNC_API_KEY_FILE must hold a key that an HTTP header can carry; still using the key that was read before"
            );
        }
        let mut key = self.key.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(renewed) = renewed.filter(|renewed| *renewed != *key) {
            tracing::info!("using the new key in CVSYNC_API_KEY_FILE");
            *key = renewed;
        }
    }
}

fn header(key: &SecretString) -> Option<HeaderValue> {
    let mut key = HeaderValue::from_str(key.expose_secret()).ok()?;
    key.set_sensitive(true);
    Some(key)
}

impl OAuth {
    /// The cached token, or a new one. One caller requests it, and the others wait.
    async fn token(&self, http: &Http) -> Result<SecretString, ApiError> {
        let mut cached = self.token.lock().await;
        if let Some(token) = cached
            .as_ref()
            .filter(|token| Instant::now() < token.renew_at)
        {
            return Ok(token.value.clone());
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.settings.client_id),
            ("client_secret", self.settings.client_secret.expose_secret()),
        ];
        let asked = Instant::now();
        let post = http.post(self.settings.token_url.clone()).form(&form);
        let answer = http
            .send(TOKEN_SERVER, post, LARGEST_TOKEN, async || true)
            .await;
        let answer = answer.map_err(|error| match error {
            // Perhaps a proxy's page. It says nothing about the CV for which the token is needed.
            ApiError::TooLarge { .. } => {
                ApiError::NotAnAnswer("the response is too large for a token")
            }
            error => error,
        })?;
        let (value, life) = read(&answer)?;
        let renew_at = asked + life.saturating_sub(MARGIN).max(life / 2);
        *cached = Some(Token {
            value: value.clone(),
            renew_at,
        });
        Ok(value)
    }
}

/// Reads the token and its life.
fn read(answer: &Raw) -> Result<(SecretString, Duration), ApiError> {
    let token: TokenAnswer = match answer.json() {
        Ok(body) => serde_json::from_slice(body)
            .map_err(|_| ApiError::NotAnAnswer("the response holds no access_token"))?,
        Err(ApiError::Refused { status, said }) => {
            return Err(ApiError::KeyRefused { status, said });
        }
        Err(error) => return Err(error),
    };
    let life = json::count(&token.expires_in).unwrap_or(DEFAULT_LIFE);
    let life = Duration::from_secs(life.min(LONGEST_LIFE));
    Ok((token.access_token, life))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_in_every_form_of_its_life() {
        for (life, seconds) in [
            ("900", 900),
            (r#""3600""#, 3_600),
            ("60.0", 60),
            ("null", DEFAULT_LIFE),
            ("-1", DEFAULT_LIFE),
            ("99999999999999", LONGEST_LIFE),
        ] {
            let body = format!("\u{feff}{{\"access_token\":\"t\",\"expires_in\":{life}}}");
            let answer = Raw::of(200, &[("content-type", "application/json")], &body);
            let (token, found) = read(&answer).unwrap();
            assert_eq!(token.expose_secret(), "t");
            assert_eq!(found, Duration::from_secs(seconds), "{life}");
        }
        for body in ["", "{}", r#"{"access_token":null}"#] {
            let answer = Raw::of(200, &[("content-type", "application/json")], body);
            assert_eq!(read(&answer).unwrap_err().class(), "not_an_answer");
        }
    }
}
