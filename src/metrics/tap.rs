//! Where calls go that somebody watches live: a ring for each worker, which is there once somebody has watched.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::Waker;

use super::record::Ring;

/// Records of one worker that wait to be watched.
const RECORDS: usize = 512;

/// One worker's side of the tap.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tap {
    is_open: AtomicBool,
    /// Somebody has the right to watch: of the first worker's side, for all of them.
    is_claimed: AtomicBool,
    /// The bits of the share of calls that are wanted, an `f64`.
    sample: AtomicU64,
    ring: OnceLock<Ring>,
}

impl Tap {
    /// Whether somebody watches. A load is all that this costs.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    /// Where a worker's records go while somebody watches, and the share of its calls that is wanted.
    pub fn sink(&self) -> Option<(&Ring, f64)> {
        let ring = self.ring.get().filter(|_| self.is_open())?;
        Some((ring, f64::from_bits(self.sample.load(Relaxed))))
    }

    /// Takes the right to watch; false while somebody else has it.
    pub fn claim(&self) -> bool {
        !self.is_claimed.swap(true, AcqRel)
    }

    /// Gives the right to watch back.
    pub fn give_back(&self) {
        self.is_claimed.store(false, Release);
    }

    /// Lets this share of the worker's calls be watched.
    pub fn open(&self, sample: f64) {
        self.ring.get_or_init(|| Ring::new(RECORDS, Waker::noop().clone()));
        self.sample.store(sample.to_bits(), Relaxed);
        self.is_open.store(true, Relaxed);
    }

    /// Ends the watching.
    pub fn close(&self) {
        self.is_open.store(false, Relaxed);
    }

    /// The ring, for the only thread that takes records out of it.
    pub fn ring(&self) -> Option<&Ring> {
        self.ring.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::record::Record;

    #[test]
    fn records_go_where_somebody_watches() {
        let tap = Tap::default();
        assert!(tap.claim() && !tap.claim());
        tap.give_back();
        assert!(tap.claim());
        assert!(!tap.is_open() && tap.sink().is_none() && tap.ring().is_none());
        tap.open(0.5);
        let (ring, sample) = tap.sink().unwrap();
        assert!(ring.put(&Record { took_us: 7, ..Record::default() }));
        assert_eq!(sample, 0.5);
        tap.close();
        assert!(tap.sink().is_none());
        assert_eq!(tap.ring().unwrap().take().map(|record| record.took_us), Some(7));
    }
}
