//! `/openapi.json` and `/openapi`: what can be called with JSON, for programs and for people.

use std::net::IpAddr;

use http::StatusCode;
use serde_json::{Value, json};

use super::request::{AdminError, AdminRequest};
use super::response::{self, AdminResponse};
use crate::config::Listener;

/// The page: it asks nobody but this address.
pub(super) const PAGE: &str = include_str!("openapi.html");

/// The page to click through.
pub(super) fn page(_: &AdminRequest) -> Result<AdminResponse, AdminError> {
    Ok(response::page(PAGE))
}

/// The document, with the addresses at which the API is served.
pub(super) fn document(asked: &AdminRequest) -> Result<AdminResponse, AdminError> {
    let none = "no descriptors are configured in [transcoding]";
    let text = asked.source().openapi().ok_or(AdminError(StatusCode::NOT_FOUND, none.to_owned()))?;
    let view = asked.source().view();
    let text = match serde_json::from_str(&text) {
        Ok(Value::Object(mut document)) => {
            let urls = view.config.listeners.iter().filter_map(|listener| url(listener, asked.host()));
            document.insert("servers".to_owned(), urls.map(|url| json!({ "url": url })).collect());
            Value::Object(document).to_string()
        }
        // The text is of our own making.
        _ => text.to_string(),
    };
    Ok(AdminResponse::of("application/json", text))
}

/// Where a listener is reached: under the host by which the admin address was asked, if it listens on all of them. `None`
/// of a Unix socket, which has no URL.
fn url(listener: &Listener, host: Option<&str>) -> Option<String> {
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    let address = listener.address.tcp()?;
    let port = address.port();
    if !address.ip().is_unspecified() {
        return Some(format!("{scheme}://{address}"));
    }
    let name = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    let name = name.map_or_else(|| "localhost".to_owned(), |authority| authority.host().to_owned());
    let is_address = name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
    Some(if is_address { format!("{scheme}://[{name}]:{port}") } else { format!("{scheme}://{name}:{port}") })
}
