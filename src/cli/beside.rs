//! HTTP requests to the daemon on the same machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use secrecy::ExposeSecret;

use crate::config::{Env, Http, Proxies};
use crate::outbound;

/// Its response to this path, if its status is 2xx. Sends the admin token, if there is one.
pub(super) async fn ask(
    env: &Env,
    path: &str,
    limit: Duration,
) -> anyhow::Result<reqwest::Response> {
    let Http {
        addr, admin_token, ..
    } = Http::load(env)?;
    let Some(addr) = addr else {
        bail!(
            "CVSYNC_HTTP_ADDR is off, so the daemon cannot be asked; set it to the address of the daemon"
        );
    };
    // No proxy stands between a daemon and the commands beside it.
    let client = outbound::client(&Proxies::default())
        .timeout(limit)
        .build()?;
    let get = async |addr| {
        let mut request = client.get(format!("http://{addr}{path}"));
        if let Some(token) = &admin_token {
            request = request.bearer_auth(token.expose_secret());
        }
        request.send().await
    };
    let answer = match (get(reachable(addr)).await, over_ipv4(addr)) {
        (Err(error), Some(addr)) if error.is_connect() => get(addr).await,
        (answer, _) => answer,
    }
    .with_context(|| format!("no response from {addr} (CVSYNC_HTTP_ADDR); does the daemon run?"))?;
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

/// `[::]` also accepts IPv4. Where IPv6 is off, `::1` does not exist.
fn over_ipv4(addr: SocketAddr) -> Option<SocketAddr> {
    let all = addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    all.then(|| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), addr.port()))
}
