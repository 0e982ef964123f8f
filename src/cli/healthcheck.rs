//! `cvsync healthcheck`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::{Env, Http};

/// Ask the daemon in this container whether it is alive
///
/// For a container's HEALTHCHECK: the image has no shell and no curl. Asks /livez on CVSYNC_HTTP_ADDR.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(Args {}: Args, env: &Env) -> anyhow::Result<()> {
    ask(env, "/livez", Duration::from_secs(3)).await?;
    Ok(())
}

/// What the daemon on this machine answers to this path.
pub async fn ask(env: &Env, path: &str, limit: Duration) -> anyhow::Result<reqwest::Response> {
    let Some(addr) = Http::load(env)?.addr else {
        bail!("CVSYNC_HTTP_ADDR is off, so there is nothing to ask");
    };
    let addr = reachable(addr);
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(limit)
        .build()?;
    let answer = client
        .get(format!("http://{addr}{path}"))
        .send()
        .await
        .with_context(|| format!("no answer from {addr}"))?;
    if !answer.status().is_success() {
        bail!("{addr} answers {}", answer.status());
    }
    Ok(answer)
}

/// A daemon that listens on all addresses is asked on loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
