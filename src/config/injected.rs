//! Variables that container platforms set because a container or service is called `cvsync` or `cvsync-db`.

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Whether a container platform has set the variable `name`: Kubernetes for a service, Docker for a link.
///
/// A link to `cvsync` sets `CVSYNC_NAME`, and for each port and variable of that container `CVSYNC_PORT`,
/// `CVSYNC_PORT_8080_TCP_ADDR`, `CVSYNC_ENV_PATH` and the like. A bare `CVSYNC_PORT` could be a typing mistake. So there must
/// be a variable of the same service whose form or value is unambiguous.
pub(super) fn is_injected<'a>(
    name: &str,
    mut all: impl Iterator<Item = (&'a str, &'a str)>,
) -> bool {
    all.any(|(other, value)| {
        let rest = service(other, value).and_then(|service| name.strip_prefix(service));
        rest.is_some_and(|rest| {
            let starts = ["_PORT_", "_SERVICE_", "_ENV_"];
            rest == "_PORT" || rest == "_NAME" || starts.iter().any(|start| rest.starts_with(start))
        })
    })
}

/// The service of a variable, if its form and value are unambiguous.
fn service<'a>(name: &'a str, value: &str) -> Option<&'a str> {
    let is_address = PROTOCOLS.iter().any(|protocol| {
        let scheme = value.get(..protocol.len());
        let rest = value.get(protocol.len()..);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(protocol))
            && rest.is_some_and(|rest| rest.starts_with("://"))
    });
    let of_port = name
        .match_indices("_PORT_")
        .find(|(at, separator)| is_port(&name[at + separator.len()..]))
        .map(|(at, _)| &name[..at]);
    of_port
        .or_else(|| name.strip_suffix("_SERVICE_HOST"))
        .or_else(|| name.strip_suffix("_PORT").filter(|_| is_address))
        .or_else(|| {
            name.strip_suffix("_NAME")
                .filter(|_| value.starts_with('/'))
        })
}

/// Such as `8080_TCP` or `8080_TCP_ADDR`.
fn is_port(text: &str) -> bool {
    let mut parts = text.splitn(3, '_');
    let number = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
    number && parts.next().is_some_and(|part| PROTOCOLS.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injected(name: &str, all: &[(&str, &str)]) -> bool {
        is_injected(name, all.iter().copied())
    }

    #[test]
    fn variables_of_a_docker_link_are_recognised_for_any_alias() {
        for alias in ["CVSYNC", "CVSYNC_DB", "CVSYNC_CVSYNC_1"] {
            let name = |rest: &str| format!("{alias}{rest}");
            let all = [
                (name("_NAME"), "/web/cvsync"),
                (name("_PORT"), "tcp://172.17.0.5:8080"),
                (name("_PORT_8080_TCP"), "tcp://172.17.0.5:8080"),
                (name("_PORT_8080_TCP_ADDR"), "172.17.0.5"),
                (name("_PORT_8080_TCP_PORT"), "8080"),
                (name("_PORT_8080_TCP_PROTO"), "tcp"),
                (name("_PORT_9000_UDP_START"), "udp://172.17.0.5:9000"),
                (name("_ENV_PATH"), "/bin"),
            ];
            let all: Vec<_> = all.iter().map(|(name, value)| (&**name, *value)).collect();
            for (name, _) in &all {
                assert!(injected(name, &all), "{name}");
            }
            // Each by itself, except those that could be a mistake.
            for (name, value) in &all[..7] {
                assert!(injected(name, &[(name, value)]), "{name}");
            }
            let (name, value) = all[7];
            assert!(!injected(name, &[(name, value)]));
        }
    }

    #[test]
    fn variables_of_a_kubernetes_service_are_recognised() {
        let all = [("CVSYNC_SERVICE_HOST", "10.0.0.1")];
        for name in [
            "CVSYNC_SERVICE_HOST",
            "CVSYNC_SERVICE_PORT_HTTP",
            "CVSYNC_PORT",
            "CVSYNC_PORT_8080_TCP_PROTO",
        ] {
            assert!(injected(name, &all), "{name}");
        }
    }

    #[test]
    fn typing_mistake_is_not_taken_for_an_injected_variable() {
        for (name, value) in [
            ("CVSYNC_PORT", "8080"),
            ("CVSYNC_NAME", "cvsync"),
            ("CVSYNC_PORT_HTTP", "8080"),
            ("CVSYNC_PORT_8080", "8080"),
            ("CVSYNC_PORT_8080_HTTP", "8080"),
            ("CVSYNC_PORT_99999_TCP", "8080"),
            ("CVSYNC_ENV_API_KEY", "key"),
            ("CVSYNC_API_NAMES_", "/x"),
        ] {
            assert!(!injected(name, &[(name, value)]), "{name}");
        }
        let link = [("CVSYNC_NAME", "/web/cvsync")];
        for name in ["CVSYNC_WORKRES", "CVSYNC_PORTS", "CVSYNC_API_KYE"] {
            assert!(!injected(name, &link), "{name}");
        }
    }
}
