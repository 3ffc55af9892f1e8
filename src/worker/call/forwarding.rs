//! Who called: fields of the request that say so are believed or removed, and services are told.

use std::io::Write as _;
use std::net::IpAddr;

use crate::config::{ForwardCert, Forwarding};
use crate::http2::{Head, Name};
use crate::policy::{caller, client_cert};
use crate::random::Random;
use crate::worker::downstream::client::Client;

/// Settles who called, and makes the head say it. The head holds what the client sent.
pub(super) fn settle(head: &mut Head, client: &Client, random: &mut Random) -> Option<IpAddr> {
    let settings = &client.settings().forwarding;
    let peer = client.ip();
    let is_trusted = settings.trusted_cidrs.holds(peer);
    let how = settings.forward_client_cert_details;
    let cert_passes = client_cert::passes(how, is_trusted, &client.identity());
    head.retain(|field| match field.name_bytes == client_cert::NAME {
        true => cert_passes,
        false => is_trusted || !caller::is_of_proxies(field.name_bytes),
    });
    let caller = match peer {
        Some(peer) if is_trusted => Some(named(head, settings, peer)),
        other => other,
    };
    if matches!(how, ForwardCert::AppendForward | ForwardCert::SanitizeSet) {
        tell_cert(head, client);
    }
    if settings.use_remote_address {
        tell(head, client, settings);
    }
    if settings.generate_request_id && !(is_trusted && head.get(Name::X_REQUEST_ID).is_some()) {
        head.remove(Name::X_REQUEST_ID);
        head.push_sensitive(Name::X_REQUEST_ID, &request_id(random));
    }
    caller
}

/// The caller that a trusted peer names.
fn named(head: &Head, settings: &Forwarding, peer: IpAddr) -> IpAddr {
    if head.get(Name::X_FORWARDED_FOR).is_some() || !settings.forwarded {
        return caller::of_forwarded_for(settings, peer, head.get_all(Name::X_FORWARDED_FOR));
    }
    caller::of_forwarded(settings, peer, head.get_all(Name::FORWARDED))
}

/// Tells services who called.
fn tell(head: &mut Head, client: &Client, settings: &Forwarding) {
    let (peer, proto) = (client.peer_text(), client.scheme());
    if let Some(peer) = peer {
        head.append_value(Name::X_FORWARDED_FOR, peer.as_bytes());
    }
    let mut host = [0; HOST_MAX];
    let authority = head.authority().filter(|authority| authority.len() <= HOST_MAX).unwrap_or_default();
    let host = &mut host[..authority.len()];
    host.copy_from_slice(authority);
    if settings.forwarded {
        let mut element = [0; ELEMENT_MAX];
        head.append_value(Name::FORWARDED, element_of(&mut element, peer, proto, host));
    }
    if head.get(Name::X_FORWARDED_PROTO).is_none() {
        head.push(Name::X_FORWARDED_PROTO, proto.as_bytes());
    }
    if head.get(Name::X_FORWARDED_HOST).is_none() && !host.is_empty() {
        head.push(Name::X_FORWARDED_HOST, host);
    }
}

/// Tells of the certificate, behind what a peer has told, if that passes.
fn tell_cert(head: &mut Head, client: &Client) {
    let Some(element) = client.cert_element() else { return };
    let before: Vec<u8> = {
        let values =
            head.iter().filter(|field| field.name_bytes == client_cert::NAME).map(|field| field.value);
        values.flat_map(|value| [value, b","].concat()).collect()
    };
    if before.is_empty() {
        return head.push_named_sensitive(client_cert::NAME, element.as_bytes());
    }
    head.remove_named(client_cert::NAME);
    head.push_named_sensitive(client_cert::NAME, &[&before, element.as_bytes()].concat());
}

/// The longest host that services are told: RFC 1035 allows no longer name, and a port is 5 digits.
const HOST_MAX: usize = 261;
const ELEMENT_MAX: usize = HOST_MAX + 96;

/// An element of `forwarded`. What has a colon stands in quotes, and who has no address is `unknown` (RFC 7239 sections 4
/// and 6.2).
fn element_of<'b>(
    buffer: &'b mut [u8; ELEMENT_MAX],
    peer: Option<&str>,
    proto: &str,
    host: &[u8],
) -> &'b [u8] {
    let mut rest = &mut buffer[..];
    // A quote in a host would end the value early; no host name has one.
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\".contains(byte);
    let _ = match peer {
        Some(peer) if peer.contains(':') => write!(rest, "for=\"[{peer}]\""),
        peer => write!(rest, "for={}", peer.unwrap_or("unknown")),
    };
    if !host.is_empty() && host.iter().all(is_plain) {
        let _ = rest.write_all(b";host=\"");
        let _ = rest.write_all(host);
        let _ = rest.write_all(b"\"");
    }
    // The buffer has room for the longest of each.
    let _ = write!(rest, ";proto={proto}");
    let left = rest.len();
    &buffer[..ELEMENT_MAX - left]
}

/// A random UUID (RFC 9562 section 5.4) as text.
fn request_id(random: &mut Random) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let high = random.bits() & !0xf000 | 0x4000;
    let low = random.bits() & !(3 << 62) | 2 << 62;
    let bits = u128::from(high) << 64 | u128::from(low);
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|place| !matches!(place, 8 | 13 | 18 | 23));
    for (digit, place) in places.enumerate() {
        text[place] = DIGITS[(bits >> (124 - 4 * digit)) as usize & 0xf];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_random_uuid() {
        let mut random = Random::seeded(7);
        let ids: Vec<String> =
            (0..100).map(|_| String::from_utf8(request_id(&mut random).into()).expect("ASCII")).collect();
        for id in &ids {
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(&id[14..15], "4", "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
            assert!(id.bytes().all(|byte| byte == b'-' || matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        }
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn an_element_is_quoted_where_it_has_to_be() {
        for (peer, host, wanted) in [
            (Some("6.6.6.6"), "api.example.com", "for=6.6.6.6;host=\"api.example.com\";proto=http"),
            (Some("2001:db8::7"), "h:80", "for=\"[2001:db8::7]\";host=\"h:80\";proto=http"),
            (Some("6.6.6.6"), "", "for=6.6.6.6;proto=http"),
            (Some("6.6.6.6"), "a\"b", "for=6.6.6.6;proto=http"),
            (None, "h", "for=unknown;host=\"h\";proto=http"),
        ] {
            let mut buffer = [0; ELEMENT_MAX];
            assert_eq!(element_of(&mut buffer, peer, "http", host.as_bytes()), wanted.as_bytes());
        }
        let (longest, mut buffer) = ("x".repeat(HOST_MAX), [0; ELEMENT_MAX]);
        let peer = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";
        let whole = element_of(&mut buffer, Some(peer), "https", longest.as_bytes());
        assert!(whole.ends_with(b"\";proto=https"));
    }
}
