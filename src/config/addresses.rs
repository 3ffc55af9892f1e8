//! Sets of IP addresses, written as CIDR blocks.

use std::net::IpAddr;

/// A set of IP addresses. Blocks are merged into ranges, so a look-up takes as many steps as their number has digits in
/// base two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// First and last address of each range, in order; no two touch.
    ranges: Box<[(u128, u128)]>,
}

/// A CIDR block: its first and its last address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(u128, u128);

impl Cidr {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or an address alone. `None` if the text is none of these, or if the address
    /// has bits below its prefix.
    pub fn parse(text: &str) -> Option<Cidr> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?)
            }
            Some(_) => return None,
            None => {
                let address = text.parse::<IpAddr>().ok()?;
                (address, if address.is_ipv4() { 32 } else { 128 })
            }
        };
        let host_bits = if address.is_ipv4() { 32 } else { 128_u32 }.checked_sub(length)?;
        let below = if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 };
        let first = number(address);
        (first & below == 0).then_some(Cidr(first, first | below))
    }
}

impl Addresses {
    /// The addresses of all these blocks.
    pub fn new(blocks: impl IntoIterator<Item = Cidr>) -> Addresses {
        let mut blocks: Vec<Cidr> = blocks.into_iter().collect();
        blocks.sort_by_key(|block| block.0);
        let mut ranges: Vec<(u128, u128)> = Vec::new();
        for Cidr(first, last) in blocks {
            match ranges.last_mut() {
                Some(range) if first <= range.1.saturating_add(1) => range.1 = range.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Addresses { ranges: ranges.into() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether there is an address, and it is one of them.
    pub fn holds(&self, address: Option<IpAddr>) -> bool {
        address.is_some_and(|address| self.contains(address))
    }

    /// Whether the address is one of them. An IPv4 address is equal to its form in IPv6 (`::ffff:10.0.0.1`).
    pub fn contains(&self, address: IpAddr) -> bool {
        let wanted = number(address);
        let after = self.ranges.partition_point(|range| range.0 <= wanted);
        after > 0 && wanted <= self.ranges[after - 1].1
    }
}

/// An address as a number. Those of IPv4 are where IPv6 maps them to.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(blocks: &[&str]) -> Addresses {
        Addresses::new(blocks.iter().map(|text| Cidr::parse(text).expect(text)))
    }

    #[test]
    fn an_address_is_found_by_its_blocks() {
        let all = set(&["10.0.0.0/8", "10.1.0.0/16", "192.168.1.7", "2001:db8::/32", "11.0.0.0/8"]);
        assert_eq!(all.ranges.len(), 3, "blocks that overlap or touch are one range");
        for (address, wanted) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.255.255.255", true),
            ("12.0.0.0", false),
            ("9.255.255.255", false),
            ("::ffff:10.1.2.3", true),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
            ("::1", false),
        ] {
            assert_eq!(all.contains(address.parse().expect(address)), wanted, "{address}");
        }
        assert!(set(&["0.0.0.0/0"]).contains([1, 2, 3, 4].into()));
        assert!(!set(&["0.0.0.0/0"]).contains("::1".parse().expect("an address")));
        assert!(set(&["::/0"]).contains([1, 2, 3, 4].into()));
        assert!(!Addresses::default().contains([1, 2, 3, 4].into()));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::1/64",
            "a/8",
            "::/129",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
