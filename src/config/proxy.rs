//! The proxies of outgoing HTTP, from the usual variables, read as curl reads them.

use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::MASK;
use super::env::Env;
use super::problem::Problem;
use super::text::fault;
use super::urls::is_loopback;
use super::variables::{CGI, PROXIES};

const EXAMPLE: &str = "http://proxy.example:3128";
const DIRECT_EXAMPLE: &str = "localhost,10.0.0.0/8,.example.com";

/// Which requests go through which proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: Vec<Direct>,
}

/// A proxy, and the variable that names it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// With user name and password, if it has any.
    url: SecretString,
    /// Without user name and password.
    shown: String,
    variable: &'static str,
}

impl Proxy {
    /// The URL with credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// The variable that names the proxy, such as `HTTPS_PROXY`.
    #[must_use]
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Whether the connection to the proxy itself uses TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url().starts_with("https:")
    }
}

/// Such as `http://********@proxy.example:3128 (HTTPS_PROXY)`.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.shown, self.variable)
    }
}

impl Proxies {
    /// Reads the variables. Lower case takes precedence over upper case, and an empty variable counts as unset.
    pub(super) fn read(env: &Env) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut proxy = |names: [&'static str; 2]| {
            let (name, value) = names.into_iter().find_map(|name| given(env, name))?;
            let read = value.and_then(|value| parsed(name, &value));
            read.map_err(|what| problems.push(Problem::standard(name, what, EXAMPLE)))
                .ok()
        };
        let (http, https) = (
            proxy(["http_proxy", "all_proxy"]),
            proxy(["https_proxy", "all_proxy"]),
        );
        // NO_PROXY is only read if there is a proxy.
        let no_proxy = given(env, "no_proxy").filter(|_| http.is_some() || https.is_some());
        let direct = no_proxy.map(|(name, value)| {
            let read = value.and_then(|value| direct(&value));
            read.map_err(|what| problems.push(Problem::standard(name, what, DIRECT_EXAMPLE)))
        });
        let direct = direct.and_then(Result::ok).unwrap_or_default();
        problems.dedup();
        if problems.is_empty() {
            Ok(Self {
                http,
                https,
                direct,
            })
        } else {
            Err(problems)
        }
    }

    /// The proxy for requests to `url`; `None` for direct requests, which include all to this machine.
    #[must_use]
    pub fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref()?,
            "https" => self.https.as_ref()?,
            _ => return None,
        };
        let port = url.port_or_known_default();
        let is_direct = is_local(url)
            || self
                .direct
                .iter()
                .any(|direct| direct.holds(url.host().as_ref(), port));
        (!is_direct).then_some(proxy)
    }

    /// Whether no request uses a proxy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }
}

fn is_local(url: &Url) -> bool {
    let name = url.domain().unwrap_or_default().trim_end_matches('.');
    is_loopback(url) || name == "localhost" || name.ends_with(".localhost")
}

/// The effective variable and its value.
pub(super) fn given(env: &Env, name: &str) -> Option<(&'static str, Result<String, String>)> {
    let (small, capitals) = PROXIES.into_iter().find(|(small, _)| *small == name)?;
    let is_forged = name == "http_proxy" && env.sets(CGI);
    let names = [Some(small), (!is_forged).then_some(capitals)];
    names.into_iter().flatten().find_map(|name| {
        let value = env.get(name).map_err(|_| "must be Unicode text".to_owned());
        let value = value.transpose()?;
        let whole = |value: String| fault(&value, small == "no_proxy").map_or(Ok(value), Err);
        Some((name, value.and_then(whole)))
    })
}

/// The URL of a proxy without its credentials; fully masked if it is invalid.
pub(super) fn masked(text: &str) -> String {
    parsed("", text).map_or(MASK.to_owned(), |proxy| proxy.shown)
}

/// Parses the URL of a proxy, whose default scheme is `http://`. An error reads on from the name and does not show the value.
fn parsed(variable: &'static str, text: &str) -> Result<Proxy, String> {
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let scheme = text.split("://").next().unwrap_or_default();
    if scheme
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("socks"))
    {
        return Err(
            "names a SOCKS proxy, which cvsync does not support; name an HTTP proxy".to_owned(),
        );
    }
    let malformed = "must be the URL of an HTTP proxy; in a user name or password write %2F for /, %3F for ?, %23 for # and %40 for @";
    let url = Url::parse(&text).map_err(|_| malformed)?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if !is_plain || url.host().is_none() {
        return Err(malformed.to_owned());
    }
    let mut shown = url.clone();
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    let masked =
        !has_credentials || shown.set_password(None).is_ok() && shown.set_username(MASK).is_ok();
    Ok(Proxy {
        shown: if masked {
            shown.as_str().trim_end_matches('/')
        } else {
            MASK
        }
        .to_owned(),
        url: String::from(url).into(),
        variable,
    })
}

/// Hosts that are reached directly.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Direct {
    hosts: Hosts,
    /// `None` for every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// A network: its address and the length of its prefix. IPv4 is mapped to IPv6.
    Network(u128, u32),
    /// A domain with all its subdomains.
    Domain(String),
    /// A pattern with `*`.
    Pattern(String),
}

impl Direct {
    fn holds(&self, host: Option<&Host<&str>>, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        let (name, address) = match host {
            None => return false,
            Some(Host::Domain(name)) => (name.trim_end_matches('.').to_ascii_lowercase(), None),
            Some(Host::Ipv4(ip)) => (ip.to_string(), Some(bits((*ip).into()))),
            Some(Host::Ipv6(ip)) => (ip.to_string(), Some(bits((*ip).into()))),
        };
        match &self.hosts {
            Hosts::All => true,
            Hosts::Network(network, length) => {
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                address.is_some_and(|address| address & mask == network & mask)
            }
            Hosts::Domain(domain) => {
                name.strip_suffix(domain.as_str())
                    .is_some_and(|before| before.is_empty() || before.ends_with('.'))
                    && address.is_none()
            }
            Hosts::Pattern(pattern) => matches(pattern, &name),
        }
    }
}

/// Parses items that commas or spaces separate. An error reads on from the name.
fn direct(text: &str) -> Result<Vec<Direct>, String> {
    let items = text.split(|c: char| c == ',' || c == ';' || c.is_whitespace());
    let items = items.filter(|item| !item.is_empty()).enumerate();
    items
        .map(|(at, item)| {
            item_of(&item.to_ascii_lowercase()).ok_or_else(|| {
                let at = at + 1;
                format!("has an invalid item {at}: it must be a host name, an IP address or a network such as 10.0.0.0/8, optionally with a port")
            })
        })
        .collect()
}

fn item_of(item: &str) -> Option<Direct> {
    let whole = |hosts| Some(Direct { hosts, port: None });
    if item == "*" {
        return whole(Hosts::All);
    }
    if let Some((address, length)) = item.split_once('/') {
        // Some systems write 169.254.0.0/16 as 169.254/16.
        let whole_address = unbracketed(address).parse::<IpAddr>().ok();
        let address = whole_address.or_else(|| Some(padded(address)?.0))?;
        let length: u32 = length.parse().ok()?;
        let (most, shift) = if address.is_ipv4() {
            (32, 96)
        } else {
            (128, 0)
        };
        return whole(Hosts::Network(
            bits(address),
            (length <= most).then_some(length + shift)?,
        ));
    }
    if let Ok(address) = unbracketed(item).parse::<IpAddr>() {
        return whole(Hosts::Network(bits(address), 128));
    }
    let (host, port) = match item.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (item, None),
    };
    if let Ok(address) = unbracketed(host).parse::<IpAddr>() {
        let hosts = Hosts::Network(bits(address), 128);
        return Some(Direct { hosts, port });
    }
    if host.chars().all(|c| c.is_ascii_digit() || c == '.') {
        // An address that was cut after a dot, such as `10.` or `192.168.`.
        let (address, length) = padded(host.strip_suffix('.')?)?;
        let hosts = Hosts::Network(bits(address), length);
        return Some(Direct { hosts, port });
    }
    let domain = host.strip_prefix("*.").unwrap_or(host).trim_matches('.');
    // URLs have names in ASCII alone.
    let domain = if domain.is_ascii() {
        domain.to_owned()
    } else {
        Host::parse(domain).ok()?.to_string()
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    if domain.is_empty() || !domain.chars().all(is_name) {
        return None;
    }
    let hosts = if domain == "*" {
        Hosts::All
    } else if domain.contains('*') {
        Hosts::Pattern(domain)
    } else {
        Hosts::Domain(domain)
    };
    Some(Direct { hosts, port })
}

/// The IPv4 address that starts with these numbers, and the length of this prefix in an IPv6 address.
fn padded(start: &str) -> Option<(IpAddr, u32)> {
    let octets = start.split('.').map(|octet| octet.parse().ok());
    let octets: Vec<u8> = octets.collect::<Option<_>>()?;
    let mut address = [0; 4];
    address.get_mut(..octets.len())?.copy_from_slice(&octets);
    let length = 8 * u32::try_from(octets.len()).ok()?;
    Some((address.into(), 96 + length))
}

fn unbracketed(text: &str) -> &str {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    inner.unwrap_or(text)
}

/// The bits of an address; IPv4 is mapped to IPv6.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Whether `text` matches `pattern`, in which `*` matches any characters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| matches(rest, &text[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Proxies, Vec<Problem>> {
        Proxies::read(&Env::new(pairs.iter().copied()))
    }

    fn through(pairs: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = read(pairs).unwrap();
        let url = Url::parse(url).unwrap();
        proxies.of(&url).map(ToString::to_string)
    }

    const API: &str = "https://api.vdab.be/v1";

    #[test]
    fn each_scheme_has_its_proxy_in_small_letters_or_capitals() {
        let proxy = "http://p:3128";
        for (name, plain, tls) in [
            ("HTTP_PROXY", true, false),
            ("http_proxy", true, false),
            ("HTTPS_PROXY", false, true),
            ("https_proxy", false, true),
            ("ALL_PROXY", true, true),
            ("all_proxy", true, true),
            ("Https_Proxy", false, false),
        ] {
            let shown = |used: bool| used.then(|| format!("http://p:3128 ({name})"));
            assert_eq!(through(&[(name, proxy)], API), shown(tls), "{name}");
            assert_eq!(
                through(&[(name, proxy)], "http://x.be"),
                shown(plain),
                "{name}"
            );
        }
    }

    #[test]
    fn a_placeholder_is_refused_and_no_proxy_is_read_only_beside_a_proxy() {
        for name in ["HTTPS_PROXY", "http_proxy"] {
            assert!(read(&[(name, "http://${PROXY_HOST}:3128")]).is_err());
            assert!(read(&[(name, "{{ .proxy }}")]).is_err());
        }
        let odd = ("NO_PROXY", "*.local,<local>");
        assert!(read(&[odd]).unwrap().is_empty());
        assert!(read(&[odd, ("HTTPS_PROXY", "http://p")]).is_err());
    }

    #[test]
    fn small_letters_go_first_and_an_empty_variable_counts_as_unset() {
        let used = |pairs: &[_]| through(pairs, API).unwrap();
        let both = [("HTTPS_PROXY", "http://a"), ("https_proxy", "http://b")];
        assert_eq!(used(&both), "http://b (https_proxy)");
        let empty = [("HTTPS_PROXY", "http://a"), ("https_proxy", " ")];
        assert_eq!(used(&empty), "http://a (HTTPS_PROXY)");
        let own = [("ALL_PROXY", "http://a"), ("HTTPS_PROXY", "http://b")];
        assert_eq!(used(&own), "http://b (HTTPS_PROXY)");
        assert_eq!(through(&[("HTTPS_PROXY", "")], API), None);
    }

    #[test]
    fn http_proxy_in_capitals_is_ignored_under_cgi() {
        let cgi = ("REQUEST_METHOD", "GET");
        assert_eq!(
            through(&[cgi, ("HTTP_PROXY", "http://p")], "http://x.be"),
            None
        );
        assert!(through(&[cgi, ("http_proxy", "http://p")], "http://x.be").is_some());
        assert!(through(&[cgi, ("HTTPS_PROXY", "http://p")], API).is_some());
    }

    #[test]
    fn proxy_url_is_taken_in_the_forms_that_curl_takes() {
        for (value, shown) in [
            ("p:3128", "http://p:3128"),
            ("10.0.0.1:3128", "http://10.0.0.1:3128"),
            ("http://p:3128/", "http://p:3128"),
            ("HTTP://P:3128", "http://p:3128"),
            ("https://p", "https://p"),
            ("http://[::1]:3128", "http://[::1]:3128"),
            ("http://me:pw@p:3128", "http://********@p:3128"),
            ("me:pw@p:3128", "http://********@p:3128"),
            ("http://token@p", "http://********@p"),
            ("http://me:p%40w%2F@p", "http://********@p"),
        ] {
            let expected = Some(format!("{shown} (HTTPS_PROXY)"));
            assert_eq!(through(&[("HTTPS_PROXY", value)], API), expected, "{value}");
        }
    }

    #[test]
    fn proxy_url_that_cannot_be_used_is_refused_by_name_and_not_shown() {
        for value in [
            "socks5://me:canary@p:1080",
            "SOCKS5H://canary",
            "socks4a://canary",
            "ftp://canary",
            "http://",
            "http://me:canary/x@p",
            "http://me:1/canary@p",
            "http://me:1#canary@p",
            "http://me:1?canary@p",
            "http://p:canary",
            "http://p:99999",
            "http://p/canary.pac",
            "http://p canary",
            "://canary",
        ] {
            for name in ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"] {
                let problems = read(&[(name, value)]).unwrap_err();
                assert_eq!(problems.len(), 1, "{value}: {problems:?}");
                let text = problems[0].to_string();
                assert!(text.starts_with(&format!("{name} ")), "{text}");
                assert!(!text.contains("canary"), "{text}");
            }
        }
        // It is not used, so it does not matter.
        let both = [("HTTP_PROXY", "http://p"), ("HTTPS_PROXY", "http://p")];
        assert!(read(&[both[0], both[1], ("ALL_PROXY", "socks://p")]).is_ok());
    }

    #[test]
    fn this_machine_is_always_asked_directly() {
        for url in [
            "http://localhost:4318",
            "http://LOCALHOST.",
            "http://x.localhost",
            "http://127.0.0.1:8080",
            "http://127.8.0.1",
            "http://[::1]:80",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert_eq!(through(&[("ALL_PROXY", "http://p")], url), None, "{url}");
        }
        let other = "http://localhost.example.com";
        assert!(through(&[("ALL_PROXY", "http://p")], other).is_some());
    }

    #[test]
    fn no_proxy_names_hosts_networks_patterns_and_ports() {
        let direct = |list: &str, url: &str| {
            through(&[("ALL_PROXY", "http://p"), ("NO_PROXY", list)], url).is_none()
        };
        for (list, url) in [
            ("*", API),
            ("vdab.be", API),
            (".vdab.be", API),
            ("*.vdab.be", API),
            (".vdab.be", "https://vdab.be"),
            ("VDAB.BE.", API),
            ("a.be, vdab.be ,b.be", API),
            ("a.be vdab.be", API),
            ("a.be,,vdab.be,", API),
            ("api.vdab.be:443", API),
            ("vdab.be:8443", "https://api.vdab.be:8443"),
            ("api.*.be", API),
            ("10.0.0.0/8", "http://10.1.2.3:4318"),
            ("10.1.2.3", "http://10.1.2.3"),
            ("10.1.2.3:80", "http://10.1.2.3"),
            ("10.1.*", "http://10.1.2.3"),
            ("10.", "http://10.1.2.3"),
            ("10.1.:80", "http://10.1.2.3"),
            ("169.254/16", "http://169.254.1.2"),
            ("müller.be", "https://cv.müller.be"),
            ("*.MÜLLER.be", "https://cv.xn--mller-kva.be"),
            ("0.0.0.0/0", "http://10.1.2.3"),
            ("fd00::/8", "http://[fd00::7]:4318"),
            ("fd00::7", "http://[fd00::7]"),
            ("[fd00::7]", "http://[fd00::7]"),
            ("[fd00::7]:4318", "http://[fd00::7]:4318"),
            ("10.1.2.3", "http://[::ffff:10.1.2.3]"),
        ] {
            assert!(direct(list, url), "{list}: {url}");
        }
        for (list, url) in [
            ("dab.be", API),
            ("vdab.be", "https://vdab.be.example"),
            ("api.vdab.be:8443", API),
            ("10.0.0.0/8", "http://11.0.0.1"),
            ("10.0.0.0/8", "http://[a00::1]"),
            ("10.0.0.1", "http://10.0.0.10"),
            ("10.", "http://11.0.0.1"),
            ("192.168.", "http://192.169.0.1"),
            ("fd00::/8", "http://[fe00::7]"),
            ("[fd00::7]:80", "http://[fd00::7]:4318"),
        ] {
            assert!(!direct(list, url), "{list}: {url}");
        }
        for list in [
            "10.0.0.0/33",
            "a b/c",
            "http://x",
            "fd00::/129",
            "x:port",
            "0.1",
            "169.254",
            "1.2.3.4.5.",
            "300.",
        ] {
            let used = ("https_proxy", "http://p");
            let problems = read(&[("no_proxy", list), used]).unwrap_err();
            assert!(
                problems[0]
                    .to_string()
                    .starts_with("no_proxy has an invalid item")
            );
        }
    }
}
