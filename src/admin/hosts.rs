//! Does a request mean this address? A page on the web can make a browser ask here under a name of the page's own (DNS
//! rebinding), and read the response. Such a name has a dot, and is no address.

use std::net::IpAddr;

/// Whether a request with this host, which may have a port, is served.
pub(super) fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || allowed.iter().any(|pattern| matches(pattern, &name))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) => end.is_empty() || (name.ends_with(end) && name.len() > end.len()),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_short_names_and_those_of_the_list_are_allowed() {
        let list = ["gateway.example.com".to_owned(), "*.cluster.local".to_owned()];
        for (host, expected) in [
            ("127.0.0.1:9901", true),
            ("10.1.2.3", true),
            ("[::1]:9901", true),
            ("[fe80::1]", true),
            ("localhost:9901", true),
            ("LOCALHOST", true),
            ("localhost.", true),
            ("ringway:9901", true),
            ("gateway.example.com:9901", true),
            ("Gateway.Example.Com.", true),
            ("ringway.ns.svc.cluster.local:9901", true),
            ("cluster.local", false),
            (".cluster.local", false),
            ("xcluster.local", false),
            ("evil.gateway.example.com", false),
            ("gateway.example.com.evil.example", false),
            ("rebind.evil.example:9901", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1.evil.example.:9901", false),
        ] {
            assert_eq!(is_allowed(host, &list), expected, "{host}");
        }
        assert!(is_allowed("any.example", &["*".to_owned()]));
        assert!(!is_allowed("any.example", &[]));
    }
}
