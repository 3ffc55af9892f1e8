//! Calls that an authorization service decides about: the question, and what its response changes.

use std::collections::HashMap;
use std::net::IpAddr;

use prost::Message as _;

use super::guards::CallerFacts;
use super::headers;
use crate::buffer::Slice;
use crate::config::{EndpointAddress, ExtAuthz, fields};
use crate::http2::{Head, Name};
use crate::wire::authz::{
    Address, AppendAction, Attributes, Change, CheckRequest, HttpRequest, Peer, Pipe, Request, SocketAddress,
};

/// The longest answer that is read.
pub(super) const RESPONSE_MAX: usize = 256 * 1024;

/// The address of the caller; `None` if it called by a Unix socket. The port is known only of the peer.
fn caller_address(caller_facts: &CallerFacts<'_>) -> Option<Address> {
    let caller = caller_facts.caller?;
    let peer = caller_facts.peer.filter(|peer| peer.ip() == caller);
    Some(socket_address(caller.to_canonical(), peer.map_or(0, |peer| peer.port())))
}

fn listener_address(listener: EndpointAddress) -> Address {
    match listener {
        EndpointAddress::Ip(address) => socket_address(address.ip(), address.port()),
        EndpointAddress::Unix(path) => {
            Address { socket_address: None, pipe: Some(Pipe { path: path.path().display().to_string() }) }
        }
    }
}

fn socket_address(ip: IpAddr, port: u16) -> Address {
    let socket_address = SocketAddress { address: ip.to_string(), port_value: u32::from(port) };
    Address { socket_address: Some(socket_address), pipe: None }
}

/// The question about a call, as a message in its frame. `protocol` is the version of HTTP.
pub(super) fn question(settings: &ExtAuthz, caller_facts: &CallerFacts<'_>, protocol: &str) -> Slice {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let head = caller_facts.head;
    let certificate = caller_facts.identity.certificate();
    let principal = certificate.map(|it| match (it.uris.first(), it.dns_names.first()) {
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => it.subject.clone(),
    });
    let pem = certificate.filter(|_| settings.include_peer_certificate).map(|it| url_encoded(&it.pem()));
    let source = Peer {
        address: caller_address(caller_facts),
        principal: principal.unwrap_or_default(),
        certificate: pem.unwrap_or_default(),
    };
    let destination = Peer { address: Some(listener_address(caller_facts.listener)), ..Peer::default() };
    let http = HttpRequest {
        id: text(head.get(Name::X_REQUEST_ID)),
        method: text(head.method()),
        headers: fields(head),
        path: headers::path_and_query(head).to_owned(),
        host: text(head.authority()),
        scheme: caller_facts.identity.scheme().to_owned(),
        size: -1,
        protocol: protocol.to_owned(),
    };
    let request = Some(Request { http: Some(http) });
    let attributes = Attributes { source: Some(source), destination: Some(destination), request };
    let message = CheckRequest { attributes: Some(attributes) };
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(5 + length);
    frame.push(0);
    // A head is far smaller than 4 GiB.
    frame.extend((length as u32).to_be_bytes());
    message.encode_raw(&mut frame);
    frame.into()
}

/// The fields of a head; values of one name are joined with commas.
fn fields(head: &Head) -> HashMap<String, String> {
    let mut fields: HashMap<String, String> = HashMap::with_capacity(head.len() + 4);
    let pseudo = [
        (Name::METHOD, head.method()),
        (Name::PATH, head.path()),
        (Name::AUTHORITY, head.authority()),
        (Name::SCHEME, head.scheme()),
    ];
    for (name, value) in pseudo {
        let Some(value) = value else { continue };
        fields.insert(name.as_str().to_owned(), String::from_utf8_lossy(value).into_owned());
    }
    for field in head.iter() {
        let value = String::from_utf8_lossy(field.value);
        let name = String::from_utf8_lossy(field.name_bytes).into_owned();
        let known = fields.entry(name).or_default();
        if !known.is_empty() {
            known.push(',');
        }
        known.push_str(&value);
    }
    fields
}

fn url_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Makes the changes that the service asks for. Fields that nobody may change stay as they are.
pub(super) fn change(head: &mut Head, set: &[Change], remove: &[String]) {
    for name in remove {
        let name = name.to_ascii_lowercase();
        if fields::may_change(&name) {
            head.remove_named(name.as_bytes());
        }
    }
    for Change { name, value, action } in set {
        if !fields::may_change(name) || !fields::is_value(value) {
            continue;
        }
        let name = name.as_bytes();
        let is_there = head.get_named(name).is_some();
        match action {
            AppendAction::AddIfAbsent if is_there => continue,
            AppendAction::OverwriteIfExists if !is_there => continue,
            AppendAction::OverwriteIfExists | AppendAction::OverwriteIfExistsOrAdd => {
                head.remove_named(name);
            }
            AppendAction::AddIfAbsent | AppendAction::AppendIfExistsOrAdd => {}
        }
        head.push_named_sensitive(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::Heads;

    #[test]
    fn changes_are_made_but_to_what_nobody_may_change() {
        let mut head = Heads::new().head();
        for (name, value) in [("x-a", "1"), ("x-b", "1"), ("x-gone", "1"), ("te", "trailers")] {
            head.push_named(name.as_bytes(), value.as_bytes());
        }
        let set = |name: &str, value: &[u8], action| Change {
            name: name.to_owned(),
            value: value.to_vec(),
            action,
        };
        let changes = [
            set("x-a", b"2", AppendAction::OverwriteIfExistsOrAdd),
            set("x-b", b"2", AppendAction::AppendIfExistsOrAdd),
            set("x-b", b"3", AppendAction::AddIfAbsent),
            set("x-c", b"2", AppendAction::OverwriteIfExists),
            set(":path", b"/admin", AppendAction::OverwriteIfExistsOrAdd),
            set("host", b"evil", AppendAction::OverwriteIfExistsOrAdd),
            set("connection", b"x-a", AppendAction::OverwriteIfExistsOrAdd),
            set("grpc-timeout", b"1n", AppendAction::OverwriteIfExistsOrAdd),
            set("x d", b"1", AppendAction::OverwriteIfExistsOrAdd),
            set("x-e", b"a\r\nx-f: b", AppendAction::OverwriteIfExistsOrAdd),
        ];
        change(&mut head, &changes, &["X-Gone".to_owned(), "te".to_owned(), ":path".to_owned()]);
        let fields: Vec<_> = head
            .iter()
            .map(|field| (String::from_utf8_lossy(field.name_bytes).into_owned(), field.value.to_vec()))
            .collect();
        let wanted = [("x-b", "1"), ("te", "trailers"), ("x-a", "2"), ("x-b", "2")];
        assert_eq!(fields, wanted.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
    }
}
