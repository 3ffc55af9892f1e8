//! Counts by client address, exact over all workers: connections, and handshakes that are under way.
//!
//! There is a lock. It is taken when a connection begins and ends, never by a call. The table has no more addresses than
//! there are connections, which are bounded by themselves.
#![allow(clippy::disallowed_types, reason = "no call asks it")]

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Counts by address.
#[derive(Debug, Default)]
pub struct AddressCounts(Mutex<FxHashMap<IpAddr, u32>>);

/// One of the counted, until this is dropped.
#[derive(Debug)]
pub struct AddressPlace {
    counts: Arc<AddressCounts>,
    key: IpAddr,
}

impl AddressCounts {
    /// Counts one more of this address; `None` if it has `max` already.
    pub fn enter(self: &Arc<Self>, address: IpAddr, max: u32) -> Option<AddressPlace> {
        let key = key(address);
        let mut counts = self.0.lock();
        let count = counts.entry(key).or_default();
        if *count >= max {
            if *count == 0 {
                counts.remove(&key);
            }
            return None;
        }
        *count += 1;
        Some(AddressPlace { counts: Arc::clone(self), key })
    }

    /// Addresses that are counted.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// The part of an address that tells clients apart: all of IPv4, and of IPv6 the network that one client gets.
fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_and_others_have_their_own() {
        let counts = Arc::new(AddressCounts::default());
        let one = counts.enter(address("192.0.2.1"), 2).expect("the first");
        let _two = counts.enter(address("::ffff:192.0.2.1"), 2).expect("the second of the same client");
        assert!(counts.enter(address("192.0.2.1"), 2).is_none());
        let _other = counts.enter(address("192.0.2.2"), 2).expect("another client");
        drop(one);
        assert!(counts.enter(address("192.0.2.1"), 2).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let counts = Arc::new(AddressCounts::default());
        let _one = counts.enter(address("2001:db8:1:2::1"), 1).expect("the first");
        assert!(counts.enter(address("2001:db8:1:2:ffff::9"), 1).is_none());
        assert!(counts.enter(address("2001:db8:1:3::1"), 1).is_some());
    }

    #[test]
    fn addresses_that_have_gone_are_forgotten() {
        let counts = Arc::new(AddressCounts::default());
        let places: Vec<_> = (0..=255).map(|end| counts.enter([10, 0, 0, end].into(), 1)).collect();
        assert_eq!((places.iter().flatten().count(), counts.len()), (256, 256));
        drop(places);
        assert!(counts.is_empty() && counts.enter([10, 0, 0, 1].into(), 0).is_none() && counts.is_empty());
    }
}
