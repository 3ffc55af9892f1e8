//! Invariants of a connection, which tests check after every step.

use std::collections::VecDeque;

use super::connection::Connection;
use super::frame::ErrorCode;
use super::resets::Resets;
use super::session::Stream;
use super::state::StreamState;

impl Connection {
    /// Panics if the parts of a connection contradict each other.
    pub(crate) fn check(&self) {
        self.streams.check();
        self.receive_window.check();
        let held: u64 = self.streams.iter().map(|(_, stream)| u64::from(stream.receive_window.held())).sum();
        assert_eq!(held, u64::from(self.receive_window.held()), "streams hold what the connection holds");
        for (key, stream) in self.streams.iter() {
            stream.check();
            let times = |list: &VecDeque<u32>| list.iter().filter(|at| **at == key).count();
            let [accepted, waiting] = self.streams.lists();
            assert_eq!(times(waiting), usize::from(stream.is_waiting), "{stream:?}");
            assert_eq!(times(accepted), usize::from(stream.is_new), "{stream:?}");
            let is_woken_by_window = stream.send_window.available() == 0;
            assert!(
                stream.tail.is_none() || stream.is_waiting || is_woken_by_window,
                "nobody sends the tail"
            );
            assert!(!self.is_over || (stream.is_reset && stream.is_held()), "{stream:?}");
        }
        if self.streams.len() > 0 {
            let are_streams = |list: &VecDeque<u32>| {
                list.iter().all(|key| self.streams.iter().any(|(stream, _)| stream == *key))
            };
            assert!(self.streams.lists().into_iter().all(are_streams));
        }
        self.resets.get().into_iter().for_each(Resets::check);
    }
}

/// For scripts that do what the gateway does not.
impl Stream {
    /// Its number on the wire.
    pub(crate) fn number(&self) -> u32 {
        self.session().ask(|http2| http2.streams.get(self.key()).id)
    }

    /// Resets it, however young it is.
    pub(crate) fn reset_at_once(&self, code: ErrorCode) {
        self.session().with(|http2, out, _| http2.reset(self.key(), code, out));
    }
}

impl StreamState {
    fn check(&self) {
        self.receive_window.check();
        assert_eq!(self.is_reset, self.error.is_some() || self.is_reset, "{self:?}");
        assert!(self.tail.is_none() || !(self.sent_end || self.is_reset), "{self:?}");
        assert!(self.tail.is_none() || self.stalled_since.is_some(), "{self:?}");
        assert!(!self.is_new || self.holders == 1, "{self:?}");
        if !self.is_held() {
            assert!(!self.is_closed() && self.tail.is_some(), "nothing keeps it: {self:?}");
            assert!(self.receive_window.held() == 0 && self.received.data.is_empty(), "{self:?}");
        }
    }
}
