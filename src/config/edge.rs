//! Text to checked types: who called, and who may connect.

use super::EndpointAddress;
use super::addresses::Addresses;
use super::callers::{Admission, CertDetails, ForwardCert, Forwarding, ProxyProtocol};
use super::forms;
use super::reader::Table;

pub(super) fn forwarding(listener: &Table<'_>) -> Forwarding {
    let forwarding = Forwarding {
        trusted_cidrs: addresses(listener, "trusted_cidrs"),
        xff_num_trusted_hops: listener.count("xff_num_trusted_hops"),
        use_remote_address: listener.flag("use_remote_address"),
        forwarded: listener.flag("forwarded"),
        generate_request_id: listener.flag("generate_request_id"),
        forward_client_cert_details: match listener.word("forward_client_cert_details") {
            "forward_only" => ForwardCert::ForwardOnly,
            "append_forward" => ForwardCert::AppendForward,
            "sanitize_set" => ForwardCert::SanitizeSet,
            "always_forward_only" => ForwardCert::AlwaysForwardOnly,
            _ => ForwardCert::Sanitize,
        },
        set_current_client_cert_details: cert_details(listener),
    };
    if forwarding.xff_num_trusted_hops > 0
        && forwarding.trusted_cidrs.is_empty()
        && let Some(value) = listener.value("xff_num_trusted_hops")
    {
        value.refuse(
            "needs trusted_cidrs",
            Some("hops are counted only where the peer is trusted".to_owned()),
        );
    }
    if forwarding.forwarded
        && !forwarding.use_remote_address
        && let Some(value) = listener.value("forwarded")
    {
        value.refuse("needs use_remote_address = true", None);
    }
    forwarding
}

fn cert_details(listener: &Table<'_>) -> CertDetails {
    let mut details = CertDetails::default();
    let part = |text: &str| match text {
        "subject" | "uri" | "dns" | "cert" => Ok(text.to_owned()),
        _ => Err(None),
    };
    for (part, _) in listener.list("set_current_client_cert_details", part) {
        match part.as_str() {
            "subject" => details.subject = true,
            "uri" => details.uri = true,
            "dns" => details.dns = true,
            _ => details.cert = true,
        }
    }
    details
}

pub(super) fn proxy_protocol(listener: &Table<'_>) -> Option<ProxyProtocol> {
    let table = listener.table_if_set("proxy_protocol")?;
    Some(ProxyProtocol {
        trusted_cidrs: addresses(&table, "trusted_cidrs"),
        allow_requests_without_proxy_protocol: table.flag("allow_requests_without_proxy_protocol"),
        timeout: table.time("timeout"),
    })
}

/// The permissions of a listener's file. TCP has none, and its `reuse_port` is not for Unix sockets.
pub(super) fn mode(listener: &Table<'_>, address: Option<EndpointAddress>) -> Option<u32> {
    let is_unix = matches!(address, Some(EndpointAddress::Unix(_)));
    if is_unix
        && listener.flag("reuse_port")
        && let Some(value) = listener.value("reuse_port")
    {
        let hint = "two gateways cannot share the path of a Unix socket".to_owned();
        value.refuse("is for TCP, and the listener's address is a Unix socket", Some(hint));
    }
    let (mode, value) = listener.text("mode", forms::mode)?;
    if address.is_some() && !is_unix {
        value.refuse("is for Unix sockets, and the listener's address is of TCP", None);
    }
    Some(mode)
}

/// The port that plain HTTP is sent to. With TLS there would be no end to it.
pub(super) fn https_redirect_port(listener: &Table<'_>) -> u16 {
    let port = listener.count("https_redirect_port");
    if port > 0
        && listener.value("tls").is_some()
        && let Some(value) = listener.value("https_redirect_port")
    {
        let hint = "it is for a listener in plaintext, beside the one with TLS".to_owned();
        value.refuse("the listener has [listeners.tls]", Some(hint));
    }
    u16::try_from(port).expect("the table of keys bounds it")
}

pub(super) fn admission(listener: &Table<'_>) -> Admission {
    Admission {
        allow_cidrs: addresses(listener, "allow_cidrs"),
        deny_cidrs: addresses(listener, "deny_cidrs"),
        max_connections_per_address: listener.count("max_connections_per_address"),
        max_handshakes_per_address: listener.count("max_handshakes_per_address"),
    }
}

/// The addresses of a list of blocks.
pub(super) fn addresses(table: &Table<'_>, name: &str) -> Addresses {
    Addresses::new(table.list(name, forms::cidr).into_iter().map(|(cidr, _)| cidr))
}
