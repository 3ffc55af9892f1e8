//! Flow control (RFC 9113 section 5.2): how much may be sent, and how much a peer may send.

use super::settings::MAX_WINDOW;

/// Bytes that may be sent. Less than none after a peer has made its windows smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i32);

/// A window above 2^31 - 1 (RFC 9113 section 6.9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl SendWindow {
    /// A window of so many bytes, at most 2^31 - 1.
    #[inline]
    pub(super) fn new(bytes: u32) -> SendWindow {
        SendWindow(i32::try_from(bytes.min(MAX_WINDOW)).unwrap_or(i32::MAX))
    }

    /// Bytes that may be sent now.
    #[inline]
    pub(super) fn available(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Counts sent bytes.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.available());
        self.0 -= bytes as i32;
    }

    /// Adds the peer's increment.
    ///
    /// # Errors
    /// When that is more than a window can be.
    #[inline]
    pub(super) fn add(&mut self, increment: u32) -> Result<(), Overflow> {
        let sum = i64::from(self.0) + i64::from(increment);
        self.0 = i32::try_from(sum).map_err(|_| Overflow)?;
        Ok(())
    }

    /// Applies a change of the initial size of all windows.
    ///
    /// # Errors
    /// When this window becomes larger than a window can be.
    #[inline]
    pub(super) fn shift(&mut self, from: u32, to: u32) -> Result<(), Overflow> {
        let sum = i64::from(self.0) + i64::from(to) - i64::from(from);
        self.0 = i32::try_from(sum).map_err(|_| Overflow)?;
        Ok(())
    }
}

/// Bytes that a peer may send, and those that it sent and that were not taken yet.
///
/// The window and the held bytes never exceed `size` together, or the peer's first belief. So a peer whose bytes are
/// not read pins no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    /// Bytes that the peer may still send.
    window: u32,
    /// Bytes that came and were not taken.
    held: u32,
    /// Bytes that were taken, and that no WINDOW_UPDATE has told the peer of yet.
    taken: u32,
    size: u32,
}

impl ReceiveWindow {
    /// A window of `size`, which the peer may believe to be `known`. If `known` is smaller, the peer gets an update. If
    /// it is larger, the peer may use that.
    #[inline]
    pub(super) fn new(known: u32, size: u32) -> ReceiveWindow {
        ReceiveWindow { window: known, held: 0, taken: size.saturating_sub(known), size }
    }

    /// Bytes that came and were not taken.
    #[inline]
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// Whether the peer may send so many bytes.
    #[inline]
    pub(super) fn allows(&self, bytes: u32) -> bool {
        bytes <= self.window
    }

    /// Counts received bytes, which the window allows.
    #[inline]
    pub(super) fn receive(&mut self, bytes: u32) {
        debug_assert!(self.allows(bytes));
        self.window = self.window.saturating_sub(bytes);
        self.held += bytes;
    }

    /// Counts bytes that were taken.
    #[inline]
    pub(super) fn release(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.held);
        self.held -= bytes.min(self.held);
        self.taken += bytes;
    }

    /// The increment for the peer, once it is worth a frame, or is more than the peer has left.
    #[inline]
    pub(super) fn update(&mut self) -> Option<u32> {
        if self.taken == 0 || self.taken < (self.size / 4).min(self.window) {
            return None;
        }
        self.window += self.taken;
        Some(std::mem::take(&mut self.taken))
    }

    /// Enlarges the window, up to `max`, if the peer fills it although its bytes are taken as they come. Then the
    /// window is smaller than bandwidth times delay, and holds the peer up.
    #[inline]
    pub(super) fn tune(&mut self, max: u32) {
        if self.held == 0 && self.window < self.size / 8 && self.size < max {
            let size = self.size.saturating_mul(2).min(max);
            self.taken += size - self.size;
            self.size = size;
        }
    }

    /// Makes the window `size` bytes large if it is smaller, whatever is held of it.
    pub(super) fn widen(&mut self, size: u32) {
        let more = size.saturating_sub(self.size);
        self.taken += more;
        self.size += more;
    }

    /// Whether the peer has used half of the window, and been given nothing back.
    #[inline]
    pub(super) fn is_half_used(&self) -> bool {
        self.window + self.taken <= self.size / 2
    }

    /// Holds at any time.
    #[cfg(test)]
    #[inline]
    pub(super) fn check(&self) {
        let all = u64::from(self.window) + u64::from(self.held) + u64::from(self.taken);
        let size = u64::from(self.size);
        assert!(all == size || (all > size && all <= super::settings::DEFAULT_WINDOW.into()), "{self:?}");
    }

    /// Bytes that the window and what is held come to.
    #[inline]
    pub(super) fn size(&self) -> u32 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_to_the_largest_and_no_further() {
        let mut window = SendWindow::new(10);
        window.take(10);
        assert_eq!((window.available(), window.add(MAX_WINDOW)), (0, Ok(())));
        assert_eq!((window.available(), window.add(1)), (MAX_WINDOW as usize, Err(Overflow)));
    }

    #[test]
    fn smaller_windows_may_leave_less_than_nothing() {
        let mut window = SendWindow::new(100);
        window.take(80);
        window.shift(100, 10).expect("it shrinks");
        assert_eq!(window.available(), 0);
        window.add(69).expect("it is small");
        assert_eq!(window.available(), 0);
        window.add(2).expect("it is small");
        assert_eq!(window.available(), 1);
        assert_eq!(window.shift(0, MAX_WINDOW), Err(Overflow));
    }

    #[test]
    fn a_peer_is_told_of_what_was_taken_and_never_of_more() {
        let mut window = ReceiveWindow::new(100, 100);
        window.receive(60);
        assert_eq!(window.update(), None);
        window.release(20);
        assert_eq!(window.update(), None);
        window.release(10);
        assert_eq!((window.update(), window.update()), (Some(30), None));
        assert!(!window.allows(71) && window.allows(70));
        window.receive(70);
        assert_eq!(window.held(), 100);
    }

    #[test]
    fn only_a_window_that_holds_its_peer_up_grows() {
        // Bytes that come, bytes of them that are taken, and the size after that.
        for (come, taken, size) in [(900, 900, 1500), (800, 800, 1000), (1000, 999, 1000)] {
            let mut window = ReceiveWindow::new(1000, 1000);
            window.receive(come);
            window.release(taken);
            window.tune(1500);
            assert_eq!(window.size(), size, "{come} {taken}");
        }
    }

    #[test]
    fn a_window_that_the_peer_does_not_know_yet_is_told_first() {
        let mut window = ReceiveWindow::new(65_535, 1 << 20);
        assert_eq!(window.update(), Some((1 << 20) - 65_535));
        window.receive(1 << 20);
        window.release(1 << 20);
        window.tune(3 << 20);
        assert_eq!((window.update(), window.size()), (Some(2 << 20), 2 << 20));
    }
}
