//! Who called: the address of the caller, where proxies stand between it and the gateway.
//!
//! A peer is believed if its address is in `trusted_cidrs`, and never because of what it says. Addresses at the end of
//! `x-forwarded-for` were written by the proxies nearest to the gateway, so it is read from its end: either a fixed
//! number of hops, or as far as the addresses are trusted, too.

use std::net::{IpAddr, SocketAddr};

use crate::config::Forwarding;

/// Addresses that are read of one request; of more, those at the beginning are left out.
const HOPS_MAX: usize = 32;

/// The last addresses of a list of hops, oldest first; `None` for something that is no address.
struct Hops {
    all: [Option<IpAddr>; HOPS_MAX],
    count: usize,
}

impl Hops {
    fn of(hops: impl Iterator<Item = Option<IpAddr>>) -> Hops {
        let mut read = Hops { all: [None; HOPS_MAX], count: 0 };
        for hop in hops {
            read.all[read.count % HOPS_MAX] = hop;
            read.count += 1;
        }
        read
    }

    /// The hop at this place from the end, from 1.
    fn at_end(&self, place: usize) -> Option<Option<IpAddr>> {
        let is_there = (1..=self.count.min(HOPS_MAX)).contains(&place);
        is_there.then(|| self.all[(self.count - place) % HOPS_MAX])
    }
}

/// The caller's address, as a trusted peer at `peer` says in the values of `x-forwarded-for`.
pub fn of_forwarded_for<'a>(
    settings: &Forwarding,
    peer: IpAddr,
    values: impl Iterator<Item = &'a [u8]>,
) -> IpAddr {
    let hops = values.flat_map(|value| value.split(|byte| *byte == b',')).map(address);
    of_hops(settings, peer, &Hops::of(hops))
}

/// The caller's address, as a trusted peer at `peer` says in the values of `forwarded` (RFC 7239).
pub fn of_forwarded<'a>(
    settings: &Forwarding,
    peer: IpAddr,
    values: impl Iterator<Item = &'a [u8]>,
) -> IpAddr {
    of_hops(settings, peer, &Hops::of(values.flat_map(elements).map(for_of)))
}

fn of_hops(settings: &Forwarding, peer: IpAddr, hops: &Hops) -> IpAddr {
    let trusted_hops = settings.xff_num_trusted_hops as usize;
    if trusted_hops > 0 {
        // A proxy is missing, or has written something else: then nothing before it can be believed.
        return hops.at_end(trusted_hops).flatten().unwrap_or(peer);
    }
    let mut caller = peer;
    for place in 1.. {
        let Some(Some(hop)) = hops.at_end(place) else { break };
        caller = hop;
        if !settings.trusted_cidrs.contains(hop) {
            break;
        }
    }
    caller
}

/// An address as it stands in these fields: alone, with a port, in brackets, in quotes.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address| address.to_canonical())
}

/// The elements of a value of `forwarded`: commas in quotes separate nothing.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_unquoted(value, b',')
}

fn split_unquoted(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    value.split(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == separator && !is_quoted
    })
}

/// The `for` of an element.
fn for_of(element: &[u8]) -> Option<IpAddr> {
    split_unquoted(element, b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then(|| address(value))?
    })
}

/// Whether only proxies may send this field: it says who called, or steers a proxy.
pub fn is_of_proxies(name: &[u8]) -> bool {
    name.starts_with(b"x-forwarded-")
        || name.starts_with(b"x-envoy-")
        || matches!(name, b"forwarded" | b"x-real-ip")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Addresses, Cidr};

    fn settings(trusted: &[&str], hops: u32) -> Forwarding {
        let blocks = trusted.iter().map(|text| Cidr::parse(text).expect(text));
        Forwarding {
            trusted_cidrs: Addresses::new(blocks),
            xff_num_trusted_hops: hops,
            ..Forwarding::default()
        }
    }

    #[test]
    fn the_caller_is_the_last_hop_that_nobody_trusts() {
        let peer: IpAddr = [10, 0, 0, 1].into();
        let trusted = ["10.0.0.0/8", "fd00::/8"];
        for (values, hops, wanted) in [
            // As far as the addresses are trusted.
            (&[][..], 0, "10.0.0.1"),
            (&["6.6.6.6"], 0, "6.6.6.6"),
            (&["1.1.1.1, 6.6.6.6"], 0, "6.6.6.6"),
            (&["1.1.1.1, 6.6.6.6, 10.0.0.9"], 0, "6.6.6.6"),
            (&["1.1.1.1", "6.6.6.6", "10.0.0.9,10.0.0.8"], 0, "6.6.6.6"),
            (&["10.0.0.7, 10.0.0.9"], 0, "10.0.0.7"),
            (&["6.6.6.6, unknown, 10.0.0.9"], 0, "10.0.0.9"),
            (&["6.6.6.6, , 10.0.0.9"], 0, "10.0.0.9"),
            (&["6.6.6.6:4711, [fd00::1]:80"], 0, "6.6.6.6"),
            (&["2001:db8::7, fd00::1"], 0, "2001:db8::7"),
            (&["[2001:db8::7]"], 0, "2001:db8::7"),
            (&["::ffff:6.6.6.6"], 0, "6.6.6.6"),
            (&["6.6.6.6;7.7.7.7"], 0, "10.0.0.1"),
            (&["\u{ff11}.1.1.1"], 0, "10.0.0.1"),
            // A number of hops.
            (&["6.6.6.6"], 1, "6.6.6.6"),
            (&["1.1.1.1, 6.6.6.6"], 1, "6.6.6.6"),
            (&["1.1.1.1, 6.6.6.6, 10.0.0.9"], 2, "6.6.6.6"),
            (&["6.6.6.6"], 2, "10.0.0.1"),
            (&["1.1.1.1, unknown, 7.7.7.7"], 2, "10.0.0.1"),
        ] {
            let settings = settings(&trusted, hops);
            let found = of_forwarded_for(&settings, peer, values.iter().map(|value| value.as_bytes()));
            assert_eq!(found.to_string(), wanted, "{values:?} with {hops} hops");
        }
        let many = std::iter::repeat_n(&b"10.0.0.2"[..], 40);
        let found =
            of_forwarded_for(&settings(&trusted, 0), peer, std::iter::once(&b"6.6.6.6"[..]).chain(many));
        assert_eq!(found.to_string(), "10.0.0.2", "the beginning of a long list is not read");
    }

    #[test]
    fn rfc_7239_is_read_alike() {
        let peer: IpAddr = [10, 0, 0, 1].into();
        let settings = settings(&["10.0.0.0/8"], 0);
        for (value, wanted) in [
            ("for=6.6.6.6", "6.6.6.6"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=6.6.6.6;proto=http;by=10.0.0.7, for=10.0.0.9", "6.6.6.6"),
            ("proto=https; for=6.6.6.6", "6.6.6.6"),
            ("for=\"a,for=7.7.7.7\"", "10.0.0.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown, for=10.0.0.9", "10.0.0.9"),
            ("by=6.6.6.6", "10.0.0.1"),
            ("fo", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            let found = of_forwarded(&settings, peer, std::iter::once(value.as_bytes()));
            assert_eq!(found.to_string(), wanted, "{value}");
        }
    }

    #[test]
    fn fields_of_proxies_are_known_by_name() {
        for (name, wanted) in [
            ("x-forwarded-for", true),
            ("x-forwarded-client-cert", true),
            ("x-forwarded-prefix", true),
            ("x-envoy-original-path", true),
            ("x-envoy-", true),
            ("forwarded", true),
            ("x-real-ip", true),
            ("x-forwarded", false),
            ("x-request-id", false),
            ("forwarded-x", false),
        ] {
            assert_eq!(is_of_proxies(name.as_bytes()), wanted, "{name}");
        }
    }
}
