//! The demo's settings, which it also writes into `demo.env`, so that every command works beside it.
//!
//! On a restart the demo reads its ports and its admin token from there.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::ExposeSecret;
use url::Url;
use uuid::Uuid;

use super::{CALLS_PER_MINUTE, KEY};
use crate::config::{Api, Config, Database, Env, Http};

/// The usual address of the status page.
const PAGE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The settings that outlive a restart.
pub(super) struct Kept {
    pub admin_token: String,
    pub page: SocketAddr,
    pub simulator: SocketAddr,
    /// The port of the private PostgreSQL.
    pub postgres: Option<u16>,
}

pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("demo.env")
}

impl Kept {
    /// As in the file of the last start in this folder, as far as the ports are free.
    pub(super) fn read(folder: &Path) -> Self {
        let env = Env::default().with_file(&file(folder)).unwrap_or_default();
        let http = Http::load(&env).ok();
        let token = http.as_ref().and_then(|http| http.admin_token.as_ref());
        let token = token.map(|token| token.expose_secret().to_owned());
        let page = http.and_then(|http| http.addr);
        let simulator = Api::load(&env)
            .ok()
            .and_then(|api| port(api.base_url.as_str()));
        let postgres = Database::load(&env).ok();
        let postgres = postgres.and_then(|it| port(it.given.expose_secret()));
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            admin_token: token.unwrap_or_else(|| Uuid::new_v4().simple().to_string()),
            page: free(page.filter(|page| page.port() > 0).unwrap_or(PAGE)),
            simulator: free(local(simulator.unwrap_or(0))),
            postgres: postgres.filter(|port| free(local(*port)).port() > 0),
        }
    }
}

fn port(url: &str) -> Option<u16> {
    Url::parse(url).ok()?.port()
}

/// This address, or a free port if it is taken.
fn free(addr: SocketAddr) -> SocketAddr {
    match TcpListener::bind(addr) {
        Ok(_) => addr,
        Err(_) => SocketAddr::new(addr.ip(), 0),
    }
}

/// The settings of a partner, but with a schedule on which you can watch changes arrive.
pub(super) fn env(
    kept: &Kept,
    base_url: &str,
    database_url: &str,
    page: SocketAddr,
) -> Vec<(&'static str, String)> {
    vec![
        ("CVSYNC_API_BASE_URL", base_url.to_owned()),
        ("CVSYNC_API_KEY", KEY.to_owned()),
        ("CVSYNC_API_RATE_PER_MINUTE", CALLS_PER_MINUTE.to_string()),
        ("CVSYNC_DATABASE_URL", database_url.to_owned()),
        ("CVSYNC_SYNC_FROM", "2026-01-01T00:00:00Z".to_owned()),
        ("CVSYNC_SCHEDULE", "*/5 * * * * *".to_owned()),
        ("CVSYNC_SETTLE_LAG", "2s".to_owned()),
        ("CVSYNC_WINDOW_OVERLAP", "1m".to_owned()),
        ("CVSYNC_HTTP_ADDR", page.to_string()),
        ("CVSYNC_ADMIN_TOKEN", kept.admin_token.clone()),
    ]
}

pub(super) fn config(env: &[(&'static str, String)]) -> anyhow::Result<Config> {
    let pairs = env.iter().map(|(name, value)| (*name, value.as_str()));
    Ok(Config::load(&Env::new(pairs))?)
}

/// Writes the file for `--env-file` and for shells, readable only by its owner.
pub(super) fn write(folder: &Path, env: &[(&'static str, String)]) -> anyhow::Result<()> {
    let path = file(folder);
    let cannot = || format!("cannot write {}", path.display());
    let partial = folder.join(".demo.env.partial");
    let _ = fs::remove_file(&partial);
    let mut text =
        "# The settings of the running demo, as `cvsync demo` writes them at each start.\n"
            .to_owned();
    for (name, value) in env {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let value = value.replace('$', "\\$").replace('`', "\\`");
        text.extend([*name, "=\"", &value, "\"\n"]);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .with_context(cannot)?;
    file.write_all(text.as_bytes()).with_context(cannot)?;
    fs::rename(&partial, &path).with_context(cannot)
}
