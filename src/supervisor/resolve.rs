//! Names to addresses, once, at start.

use std::net::{SocketAddr, ToSocketAddrs};

use super::StartError;
use crate::config::Config;

/// The addresses of every cluster's endpoints. A name with several addresses is several endpoints.
pub(super) fn endpoints(config: &Config) -> Result<Vec<Vec<SocketAddr>>, StartError> {
    let mut clusters = Vec::new();
    for cluster in &config.clusters {
        let mut addresses = Vec::new();
        for endpoint in &cluster.endpoints {
            let name = format!("{}:{}", endpoint.host, endpoint.port);
            let found = (endpoint.host.as_str(), endpoint.port).to_socket_addrs();
            let found = found.map_err(|error| StartError::Resolve(name, error))?;
            for address in found {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        clusters.push(addresses);
    }
    Ok(clusters)
}
