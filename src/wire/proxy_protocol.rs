//! The PROXY protocol: a header before all else on a connection that says who is behind the proxy that made it.
//!
//! Version 1 is a line of text, version 2 is binary. Both are read as HAProxy's `proxy-protocol.txt` has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The first bytes of version 1.
const LINE: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end.
const LINE_MAX: usize = 107;
/// The first part of version 2: signature, version and command, family, length.
const FIXED: usize = 16;
/// The longest header that is read: TLVs of version 2 may be long, but these are the peer's certificate at most.
pub const HEADER_MAX: usize = FIXED + 4096;

/// A header of version 2 that says that the connection is the proxy's own, and speaks for nobody.
pub const LOCAL: [u8; FIXED] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// The kinds of first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// The beginning of a header.
    Part,
    /// A whole header.
    Header {
        /// Its bytes.
        length: usize,
        /// Who is behind the proxy; `None` if the proxy speaks for nobody, or for something without an IP address.
        source: Option<SocketAddr>,
    },
    /// Something else.
    Other,
    /// The beginning of a header, but not the rest.
    Bad,
}

/// Reads the first bytes of a connection.
pub fn read(bytes: &[u8]) -> Preface {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] == SIGNATURE[..known] {
        return if bytes.len() < FIXED { Preface::Part } else { binary(bytes) };
    }
    let known = bytes.len().min(LINE.len());
    if bytes[..known] == LINE[..known] {
        return if known < LINE.len() { Preface::Part } else { line(bytes) };
    }
    Preface::Other
}

fn line(bytes: &[u8]) -> Preface {
    let looked_at = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = looked_at.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LINE_MAX { Preface::Part } else { Preface::Bad };
    };
    let length = end + 2;
    match source_of_line(&bytes[LINE.len()..end]) {
        Some(source) => Preface::Header { length, source },
        None => Preface::Bad,
    }
}

/// The source of a line; `None` if the line is malformed.
fn source_of_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let mut address = || words.next()?.parse::<IpAddr>().ok();
    let (source, destination) = (address()?, address()?);
    let mut port = || {
        let word = words.next()?;
        let is_plain =
            word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        word.parse::<u16>().ok().filter(|_| is_plain)
    };
    let (source_port, _) = (port()?, port()?);
    let is_right = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (is_right && words.next().is_none()).then(|| Some(SocketAddr::new(source.to_canonical(), source_port)))
}

fn binary(bytes: &[u8]) -> Preface {
    let (version, command, family) = (bytes[12] >> 4, bytes[12] & 0xf, bytes[13]);
    let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let length = FIXED + rest;
    if version != 2 || command > 1 || length > HEADER_MAX {
        return Preface::Bad;
    }
    let Some(addresses) = bytes.get(FIXED..length) else { return Preface::Part };
    if command == 0 {
        return Preface::Header { length, source: None };
    }
    let source = match family {
        // Stream over IPv4: two addresses, two ports.
        0x11 => addresses.get(..12).map(|it| {
            let [a, b, c, d] = [it[0], it[1], it[2], it[3]];
            SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([it[8], it[9]]))
        }),
        // Stream over IPv6.
        0x21 => addresses.get(..36).and_then(|it| {
            let address = <[u8; 16]>::try_from(&it[..16]).ok()?;
            let port = u16::from_be_bytes([it[32], it[33]]);
            Some(SocketAddr::new(IpAddr::from(Ipv6Addr::from(address)).to_canonical(), port))
        }),
        // No family, datagrams, Unix sockets: there is no IP address to be known by.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Preface::Header { length, source: None },
        _ => None,
    };
    match source {
        Some(source) => Preface::Header { length, source: Some(source) },
        None => Preface::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(addresses.len()).expect("short").to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    fn v4(more: &[u8]) -> Vec<u8> {
        let addresses = [&[6, 6, 6, 6, 10, 0, 0, 1, 0x12, 0x67, 0, 80][..], more].concat();
        v2(0x21, 0x11, &addresses)
    }

    fn v6() -> Vec<u8> {
        let mut addresses = [0; 36];
        addresses[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        addresses[15] = 7;
        addresses[32..34].copy_from_slice(&4711_u16.to_be_bytes());
        v2(0x21, 0x21, &addresses)
    }

    fn header(length: usize, source: Option<&str>) -> Preface {
        Preface::Header { length, source: source.map(|source| source.parse().expect(source)) }
    }

    #[test]
    fn headers_are_read_and_cut_at_every_byte_they_wait() {
        for (bytes, source) in [
            (b"PROXY TCP4 6.6.6.6 10.0.0.1 4711 80\r\n".to_vec(), Some("6.6.6.6:4711")),
            (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(), Some("[2001:db8::7]:4711")),
            (b"PROXY TCP6 ::ffff:6.6.6.6 ::1 1 2\r\n".to_vec(), Some("6.6.6.6:1")),
            (
                b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(),
                Some("255.255.255.255:65535"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            (v4(b""), Some("6.6.6.6:4711")),
            (v4(b"\x03\0\x04abcd\x20\0\x02xy"), Some("6.6.6.6:4711")),
            (v6(), Some("[2001:db8::7]:4711")),
            (v2(0x20, 0, b""), None),
            (LOCAL.to_vec(), None),
            (v2(0x20, 0x11, &[1; 12]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
            (v2(0x21, 0, b"\x04\0\0"), None),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Preface::Part, "{cut} of {bytes:?}");
            }
            let whole = header(bytes.len(), source);
            assert_eq!(read(&bytes), whole, "{bytes:?}");
            assert_eq!(read(&[&bytes[..], b"PRI * HTTP/2.0"].concat()), whole, "{bytes:?}");
        }
    }

    #[test]
    fn what_only_begins_like_one_is_bad() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for bytes in [
            &b"PROXY TCP4 6.6.6.6 10.0.0.1 4711\r\n"[..],
            b"PROXY TCP4 6.6.6.6 10.0.0.1 4711 80 1\r\n",
            b"PROXY TCP4 6.6.6.6 10.0.0.1 4711 65536\r\n",
            b"PROXY TCP4 6.6.6.6 10.0.0.1 04711 80\r\n",
            b"PROXY TCP4 6.6.6.6 10.0.0.1 +1 80\r\n",
            b"PROXY TCP4 6.6.6.6 ::1 4711 80\r\n",
            b"PROXY TCP6 6.6.6.6 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4  6.6.6.6 10.0.0.1 4711 80\r\n",
            b"PROXY UDP4 6.6.6.6 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 6.6.6 10.0.0.1 4711 80\r\n",
            b"PROXY \xff\r\n",
            b"PROXY \r\n",
            long.as_bytes(),
            &v2(0x11, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 35]),
            &v2(0x21, 0x41, &[0; 36]),
            &v2(0x20, 0, &[0; HEADER_MAX - FIXED + 1])[..FIXED],
        ] {
            assert_eq!(read(bytes), Preface::Bad, "{bytes:?}");
        }
        for bytes in
            [&b"PRI * HTTP/2.0"[..], b"GET / HTTP/1.1", b"P ", b"\r\n\r\nx", b"\x16\x03\x01", b"PROXy "]
        {
            assert_eq!(read(bytes), Preface::Other, "{bytes:?}");
        }
    }
}
