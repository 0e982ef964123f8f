//! HTTP requests to the daemon on the same machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::{Env, Http, Proxies};
use crate::outbound;

/// Its response to this path, if its status is 2xx.
pub(super) async fn ask(
    env: &Env,
    path: &str,
    limit: Duration,
) -> anyhow::Result<reqwest::Response> {
    let Some(addr) = Http::load(env)?.addr else {
        bail!(
            "CVSYNC_HTTP_ADDR is off, so the daemon cannot be asked; set it to the address of the daemon"
        );
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
        .with_context(|| {
            format!("no response from {addr} (CVSYNC_HTTP_ADDR); does the daemon run?")
        })?;
    if !answer.status().is_success() {
        bail!(
            "{addr} (CVSYNC_HTTP_ADDR) responds with status {}",
            answer.status()
        );
    }
    Ok(answer)
}

/// Loopback where the daemon listens on all addresses.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
