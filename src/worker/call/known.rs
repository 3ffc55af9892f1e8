//! Findings of heads that come again unchanged. Most calls of a client have one head, which is read and routed once.
//!
//! A head's number stands for all that it says (see [`Head::number`]), and a configuration has findings of its own: so
//! nothing but these two decides what is found.

use std::cell::RefCell;

use super::headers::GatewayHeaders;
use crate::http2::Head;

/// Places for findings; a head has one, by its number.
const PLACES: usize = 1024;

/// The findings of the head of a gRPC call that may be sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Finding {
    /// The caller's requests to the gateway.
    pub(in crate::worker) headers: GatewayHeaders,
    /// The position of its route.
    pub(in crate::worker) route: usize,
    /// The head has the path already that the route asks for.
    pub(in crate::worker) is_rewritten: bool,
}

/// The findings of one configuration.
#[derive(Default)]
pub(in crate::worker) struct KnownHeads {
    /// Each with the number of its head, which is 0 where there is none. Empty until a head repeats.
    places: RefCell<Vec<(u64, Finding)>>,
}

impl KnownHeads {
    /// The findings of this head, if it has come before.
    #[inline]
    pub(in crate::worker) fn find(&self, head: &Head) -> Option<Finding> {
        let number = head.number()?.get();
        let places = self.places.borrow();
        let (known, finding) = places.get(place(number))?;
        (*known == number).then_some(*finding)
    }

    /// Keeps the findings of a head, if it has a number.
    pub(in crate::worker) fn keep(&self, head: &Head, finding: Finding) {
        let Some(number) = head.number() else { return };
        let mut places = self.places.borrow_mut();
        if places.is_empty() {
            places.resize(PLACES, (0, finding));
        }
        places[place(number.get())] = (number.get(), finding);
    }
}

fn place(number: u64) -> usize {
    (number % PLACES as u64) as usize
}
