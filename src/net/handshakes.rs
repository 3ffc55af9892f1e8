//! Handshakes of TLS: one for each connection, and few in one turn of the loop.
//!
//! A handshake costs as much time as some ten calls. So a worker goes on with a bounded number of them in a turn, and the
//! others wait for the next, oldest first: calls of other connections have theirs in between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use super::buffered_conn::BufferedConn;
use super::write_buffer::End;
use crate::metrics::TlsError;
use crate::tls::{Facts, Session, SessionError};

/// The handshakes of one worker that wait for a turn.
#[derive(Default)]
pub struct Handshakes {
    /// Whether turns are counted: a loop says so that ends them.
    is_paced: Cell<bool>,
    /// Steps in this turn.
    steps: Cell<u32>,
    max: Cell<u32>,
    /// The numbers of those that wait, in order.
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    next: Cell<u64>,
    /// Those with lower numbers may go on.
    called: Cell<u64>,
}

impl Handshakes {
    /// Counts turns from now on.
    pub(super) fn begin_turns(&self) {
        self.is_paced.set(true);
    }

    /// Ends a turn, and wakes those that may go on in the next.
    pub(super) fn end_turn(&self) {
        if self.steps.replace(0) == 0 {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        while self.steps.get() < self.max.get()
            && let Some((number, waker)) = waiting.pop_front()
        {
            self.steps.set(self.steps.get() + 1);
            self.called.set(number + 1);
            waker.wake();
        }
    }

    /// Waits for the right to one step. `place` is the number of the one who waits.
    fn poll_step(&self, place: &mut Option<u64>, max: u32, cx: &Context<'_>) -> Poll<()> {
        if !self.is_paced.get() || place.is_some_and(|number| number < self.called.get()) {
            *place = None;
            return Poll::Ready(());
        }
        self.max.set(max);
        let mut waiting = self.waiting.borrow_mut();
        if place.is_none() {
            if waiting.is_empty() && self.steps.get() < max {
                self.steps.set(self.steps.get() + 1);
                return Poll::Ready(());
            }
            let number = self.next.replace(self.next.get() + 1);
            *place = Some(number);
            waiting.push_back((number, cx.waker().clone()));
        }
        Poll::Pending
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").field("waiting", &self.waiting.borrow().len()).finish_non_exhaustive()
    }
}

/// The answer to a request of HTTP/1 that comes without TLS.
const PLAINTEXT: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 34\r\n\
    connection: close\r\n\r\nThis port takes TLS: use https://.";

/// The first byte of a record that begins a handshake.
const HANDSHAKE: u8 = 22;

impl BufferedConn {
    /// Lets TLS stand between the socket and the protocol, from the bytes on that were not taken yet. Nothing may have
    /// been sent.
    pub fn secure(&self, session: Session) {
        let mut secure = super::secure::Secure::new(session);
        let mut read_buffer = self.read_buffer.borrow_mut();
        while let Some(slice) = read_buffer.next() {
            secure.arrived(slice, &self.buffers);
        }
        let is_first = self.secure.set(Box::new(secure.into())).is_ok();
        debug_assert!(is_first, "a connection has one session");
    }

    /// Sends bytes as they are before anything else, TLS included.
    pub fn say_first(&self, bytes: &[u8]) {
        match self.secure.get() {
            Some(secure) => secure.borrow_mut().say_first(bytes),
            None => self.write_buf().bytes().extend_from_slice(bytes),
        }
    }

    /// Shakes hands. `max` handshakes go on in one turn of the loop.
    ///
    /// # Errors
    /// The reason why the connection has to end. What is to be sent then leaves before it is closed.
    pub async fn handshake(&self, handshakes: &Handshakes, max: u32) -> Result<Facts, SessionError> {
        let (mut place, mut has_begun) = (None, false);
        poll_fn(|cx| self.poll_handshake(handshakes, max, &mut place, &mut has_begun, cx)).await
    }

    fn poll_handshake(
        &self,
        handshakes: &Handshakes,
        max: u32,
        place: &mut Option<u64>,
        has_begun: &mut bool,
        cx: &Context<'_>,
    ) -> Poll<Result<Facts, SessionError>> {
        let Some(secure) = self.secure.get() else { return Poll::Ready(Err(closed())) };
        let secure = &mut *secure.borrow_mut();
        let is_server = secure.is_server();
        if (is_server || *has_begun) && !secure.has_record() {
            return match self.read_end() {
                None => Poll::Pending,
                Some(End::Closed | End::Failed(_)) => Poll::Ready(Err(closed())),
            };
        }
        if is_server && !*has_begun && secure.waiting().first() != Some(&HANDSHAKE) {
            let is_http1 = secure.waiting()[0].is_ascii_uppercase() && !secure.waiting().starts_with(b"PRI ");
            secure.refuse(if is_http1 { PLAINTEXT } else { b"" });
            self.flush();
            return Poll::Ready(Err(SessionError::new(TlsError::Plaintext, "the client does not speak TLS")));
        }
        if handshakes.poll_step(place, max, cx).is_pending() {
            return Poll::Pending;
        }
        *has_begun = true;
        let done = secure.shake(&mut self.read_buffer.borrow_mut(), &self.buffers);
        self.flush();
        match done {
            Ok(None) if self.read_end().is_some() => Poll::Ready(Err(closed())),
            Ok(None) => Poll::Pending,
            Ok(Some(facts)) => Poll::Ready(Ok(facts)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Opens what has come over TLS. The connection's task calls it before it asks the protocol.
    pub(super) fn open_received(&self) {
        let Some(secure) = self.secure.get() else { return };
        let secure = &mut *secure.borrow_mut();
        if secure.has_received() {
            secure.open(&mut self.read_buffer.borrow_mut(), &self.buffers);
            if secure.has_replies() {
                self.flush();
            }
        }
    }

    /// Takes the reason why TLS has ended the connection, if it has.
    pub fn take_tls_error(&self) -> Option<SessionError> {
        self.secure.get()?.borrow_mut().take_error()
    }
}

fn closed() -> SessionError {
    SessionError::new(TlsError::Closed, "the connection ended during the handshake")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_so_many_steps_and_the_oldest_goes_first() {
        let handshakes = Handshakes::default();
        let cx = Context::from_waker(Waker::noop());
        let mut places = [None; 7];
        let mut step = |at: usize| handshakes.poll_step(&mut places[at], 3, &cx).is_ready();
        assert!((0..7).all(&mut step), "nobody counts turns");
        handshakes.begin_turns();
        assert_eq!((0..7).filter(|at| step(*at)).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!((3..7).filter(|at| step(*at)).count(), 0);
        handshakes.end_turn();
        // The next step of the first waits behind those that came before.
        assert_eq!([0, 6, 5, 4, 3].map(&mut step), [false, false, true, true, true]);
        handshakes.end_turn();
        assert_eq!([6, 0].map(&mut step), [true, true]);
        handshakes.end_turn();
        handshakes.end_turn();
        assert!(step(1) && handshakes.waiting.borrow().is_empty());
    }
}
