//! stub
use crate::model::StatusWords;
use secrecy::SecretString;
use std::{num::NonZeroU32, time::Duration};
use url::Url;
#[derive(Debug, Clone)]
pub struct Api {
    pub base_url: Url,
    pub key: SecretString,
    pub ca_pem: Option<Vec<u8>>,
    pub rate_per_minute: NonZeroU32,
    pub timeout: Duration,
    pub statuses: StatusWords,
    pub oauth: Option<OAuth>,
}
#[derive(Debug, Clone)]
pub struct OAuth {
    pub token_url: Url,
    pub client_id: String,
    pub client_secret: SecretString,
}
#[derive(Debug, Clone)]
pub struct Database {
    pub url: SecretString,
}
#[derive(Debug, Clone)]
pub struct Sync {
    pub from: chrono::DateTime<chrono::Utc>,
    pub window: Duration,
    pub window_overlap: Duration,
    pub settle_lag: Duration,
    pub page_size: u16,
    pub workers: usize,
    pub channel_capacity: usize,
    pub retry_max_elapsed: Duration,
    pub tombstone_retention: Duration,
}
