//! Socket addresses as plain words, for memory that several threads look at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{EndpointAddress, UnixPath};

/// Above the 16 bits of the port.
const V4: u64 = 4 << 16;
const V6: u64 = 6 << 16;
/// Of a Unix socket; the number of its path follows.
const UNIX: u64 = 1 << 16;

/// Family and port, then the address. The first word is never zero.
pub(super) fn pack(address: SocketAddr) -> [u64; 3] {
    let (family, bits) = match address.ip() {
        IpAddr::V4(ip) => (V4, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (V6, ip.to_bits()),
    };
    [family | u64::from(address.port()), (bits >> 64) as u64, bits as u64]
}

/// An endpoint's address: as [`pack`], or the number of its path.
pub(super) fn pack_endpoint(address: EndpointAddress) -> [u64; 3] {
    match address {
        EndpointAddress::Ip(address) => pack(address),
        EndpointAddress::Unix(path) => [UNIX, 0, u64::from(path.number())],
    }
}

/// The endpoint's address of such words; `None` if they are not any.
pub(super) fn unpack_endpoint(words: [u64; 3]) -> Option<EndpointAddress> {
    match words {
        [UNIX, 0, number] => UnixPath::numbered(u32::try_from(number).ok()?).map(EndpointAddress::Unix),
        _ => unpack(words).map(EndpointAddress::Ip),
    }
}

/// The address of such words; none if they are not any.
pub(super) fn unpack([tag, high, low]: [u64; 3]) -> Option<SocketAddr> {
    let bits = u128::from(high) << 64 | u128::from(low);
    let ip = match tag & !0xffff {
        V4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).ok()?)),
        V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::try_from(tag & 0xffff).ok()?))
}
