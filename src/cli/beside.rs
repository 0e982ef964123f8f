//! The daemon beside a command, on the same machine: what it answers over HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::{Env, Http, Proxies};
use crate::outbound;

/// Its answer to this path, if it is a good one.
pub(super) async fn ask(
    env: &Env,
    path: &str,
    limit: Duration,
) -> anyhow::Result<reqwest::Response> {
    let Some(addr) = Http::load(env)?.addr else {
        bail!("CVSYNC_HTTP_ADDR is off, so there is nothing to ask");
    };
    let addr = reachable(addr);
    // No proxy stands between a daemon and the commands beside it.
    let client = outbound::client(&Proxies::default())
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
