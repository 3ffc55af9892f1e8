//! Endpoints that are the gateway itself: a call there comes back until its time is over.

use std::net::IpAddr;

use super::{Config, Endpoint, EndpointAddress};

/// A warning for each endpoint that is a listener of this configuration. A host name counts only if it is `localhost`.
pub fn loops(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    for cluster in &config.clusters {
        for endpoint in &cluster.endpoints {
            let mut listeners = config.listeners.iter().map(|listener| listener.address);
            if let Some(listener) = listeners.find(|listener| leads_to(endpoint, *listener)) {
                let endpoint = match endpoint {
                    Endpoint::Tcp { host, port } => format!("{host}:{port}"),
                    Endpoint::Unix(path) => path.to_string(),
                };
                found.push(format!(
                    "clusters {:?}: the endpoint {endpoint} is this gateway's own listener {listener}: calls go in a circle",
                    cluster.name
                ));
            }
        }
    }
    found
}

fn leads_to(endpoint: &Endpoint, listener: EndpointAddress) -> bool {
    let (host, port, listener) = match (endpoint, listener) {
        (Endpoint::Unix(path), EndpointAddress::Unix(listener)) => return *path == listener,
        (Endpoint::Tcp { host, port }, EndpointAddress::Ip(listener)) => (host, *port, listener),
        _ => return false,
    };
    let is_here = match host.parse::<IpAddr>() {
        Ok(ip) => ip == listener.ip() || (listener.ip().is_unspecified() && ip.is_loopback()),
        Err(_) => host == "localhost" && (listener.ip().is_unspecified() || listener.ip().is_loopback()),
    };
    port == listener.port() && is_here
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;
    use super::*;

    #[test]
    fn an_endpoint_at_a_listener_is_a_loop() {
        for (listener, endpoint, is_loop) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "localhost:8080", true),
            ("0.0.0.0:8080", "127.0.0.1:8080", true),
            ("[::]:8080", "[::1]:8080", true),
            ("unix:///run/a.sock", "unix:///run/a.sock", true),
            ("127.0.0.1:8080", "127.0.0.1:8081", false),
            ("127.0.0.1:8080", "127.0.0.2:8080", false),
            ("0.0.0.0:8080", "10.0.0.7:8080", false),
            ("0.0.0.0:8080", "echo.internal:8080", false),
            ("unix:///run/a.sock", "unix:///run/b.sock", false),
            ("unix:///run/a.sock", "127.0.0.1:8080", false),
        ] {
            let text = format!(
                "[[listeners]]\naddress = {listener:?}\n[[routes]]\ncluster = \"c\"\n[[clusters]]\nname = \"c\"\n\
                 endpoints = [{endpoint:?}]\n"
            );
            let config = parse(&text, Path::new("r.toml")).expect("it is good");
            let found = loops(&config);
            assert_eq!(found.len(), usize::from(is_loop), "{listener} {endpoint}: {found:?}");
        }
    }
}
