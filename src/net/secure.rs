//! TLS between a socket and its protocol: opens what has come, and seals what the protocol has staged.
//!
//! Bytes are opened where they were received, and what they carry is copied into another buffer of the worker. A record
//! that has come in part waits in lent memory, which is given back when it is whole. A stage is sealed as a whole, once
//! a turn, so that calls of one turn share records.
//!
//! The library is asked only by the connection's own task, but for sealing, which the end of the turn does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;

use super::buffers::Buffers;
use super::read_buffer::ReadBuffer;
use super::write_buffer::End;
use crate::buffer::{Draft, Output, Slice};
use crate::metrics::TlsError;
use crate::tls::{Facts, Progress, RECORD_OVERHEAD, RECORD_PAYLOAD, Session, SessionError};

/// The most bytes that wait for the rest of a record, or of a message of a handshake. The library takes messages of
/// 64 KiB; their records have heads.
const WAITING_MAX: usize = 96 * 1024;

/// The longest record that there may be.
const RECORD_MAX: usize = 5 + RECORD_PAYLOAD + 2048;

/// The TLS side of one connection.
pub(super) struct Secure {
    session: Session,
    phase: Phase,
    /// Received bytes that were not looked at. Handshakes have none: theirs wait below.
    received: VecDeque<Slice>,
    /// Bytes of the peer that the session could not take yet.
    waiting: Output,
    /// Bytes to be sent as they are: handshakes, alerts, answers to key updates.
    replies: Vec<u8>,
    closing: Closing,
    /// The protocol is done, and nothing is opened any more. What is staged may still have to go.
    is_deaf: bool,
    /// The reason why records come or go no more.
    error: Option<SessionError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The handshake is under way.
    Shaking,
    /// Records of the protocol come and go.
    Open,
    /// Nothing but an alert is sent any more.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// The peer is to be told after what is staged.
    Wanted,
    Told,
}

impl Secure {
    /// Sends bytes as they are before the handshake, which has not begun.
    pub(super) fn say_first(&mut self, bytes: &[u8]) {
        debug_assert!(self.replies.is_empty(), "nothing was said yet");
        self.replies.extend_from_slice(bytes);
    }

    pub(super) fn new(session: Session) -> Secure {
        Secure {
            session,
            phase: Phase::Shaking,
            received: VecDeque::new(),
            waiting: Output::default(),
            replies: Vec::new(),
            closing: Closing::No,
            is_deaf: false,
            error: None,
        }
    }

    /// Whether the peer begins the handshake.
    pub(super) fn is_server(&self) -> bool {
        self.session.is_server()
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Takes received bytes.
    pub(super) fn arrived(&mut self, slice: Slice, buffers: &Buffers) {
        match self.phase {
            // Buffers are for all connections, and a handshake may wait.
            Phase::Shaking => self.wait_for_more(&slice, buffers),
            Phase::Open if !self.is_deaf => self.received.push_back(slice),
            Phase::Open | Phase::Failed => {}
        }
    }

    fn wait_for_more(&mut self, bytes: &[u8], buffers: &Buffers) {
        if !self.waiting.has_memory() {
            self.waiting = buffers.lend(bytes.len());
        }
        self.waiting.bytes().extend_from_slice(bytes);
    }

    /// Whether more can be received.
    pub(super) fn wants_more(&self) -> bool {
        self.received.is_empty() && self.waiting.len() < WAITING_MAX
    }

    /// The bytes of the handshake that have come.
    pub(super) fn waiting(&self) -> &[u8] {
        self.waiting.own()
    }

    /// Whether a whole record has come, or something that is none: only then is a handshake worth a step.
    pub(super) fn has_record(&self) -> bool {
        match self.waiting() {
            [] => false,
            [20..=23, _, _, high, low, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                length > RECORD_MAX || length <= rest.len()
            }
            [20..=23, ..] => false,
            _ => true,
        }
    }

    /// Goes on with the handshake, with all that has come. `None` if it needs more.
    pub(super) fn shake(
        &mut self,
        read_buffer: &mut ReadBuffer,
        buffers: &Buffers,
    ) -> Result<Option<Facts>, SessionError> {
        let mut plain = Plain::new(read_buffer, buffers);
        let has_ended = self.advance_waiting(&mut plain);
        plain.end();
        let has_ended = has_ended?;
        if self.session.is_shaking() {
            return Ok(None);
        }
        let facts = self.session.facts().inspect_err(|_| self.phase = Phase::Failed)?;
        self.phase = Phase::Open;
        if has_ended {
            read_buffer.end = Some(End::Closed);
        }
        Ok(Some(facts))
    }

    /// Opens all received bytes.
    pub(super) fn open(&mut self, read_buffer: &mut ReadBuffer, buffers: &Buffers) {
        while let Some(slice) = self.received.pop_front() {
            let mut plain = Plain::new(read_buffer, buffers);
            let result = self.open_slice(slice, &mut plain);
            plain.end();
            match result {
                Ok(false) => {}
                Ok(true) => read_buffer.end = Some(End::Closed),
                Err(error) => {
                    self.error = Some(error);
                    read_buffer.end = Some(End::Closed);
                    self.discard(buffers);
                }
            }
        }
    }

    /// Opens received bytes. True if the peer sends nothing more.
    fn open_slice(&mut self, mut slice: Slice, plain: &mut Plain<'_>) -> Result<bool, SessionError> {
        let mut has_ended = false;
        // First the record, or the message of a handshake, that has come in part.
        while !self.waiting.is_empty() && !slice.is_empty() {
            let missing = missing(self.waiting.own()).min(slice.len());
            self.waiting.bytes().extend_from_slice(&slice[..missing]);
            slice.advance(missing);
            has_ended |= self.advance_waiting(plain)?;
        }
        if slice.is_empty() {
            return Ok(has_ended);
        }
        let Some(bytes) = slice.bytes_mut() else {
            self.wait_for_more(&slice, plain.buffers);
            return self.advance_waiting(plain);
        };
        let progress = advance(&mut self.session, bytes, plain, &mut self.replies);
        let progress = progress.inspect_err(|_| self.phase = Phase::Failed)?;
        slice.advance(progress.used);
        if !slice.is_empty() {
            self.wait_for_more(&slice, plain.buffers);
        }
        Ok(progress.has_ended)
    }

    /// Shows the session what waits. True if the peer sends nothing more.
    fn advance_waiting(&mut self, plain: &mut Plain<'_>) -> Result<bool, SessionError> {
        let progress = advance(&mut self.session, self.waiting.own_mut(), plain, &mut self.replies);
        let progress = progress.inspect_err(|_| self.phase = Phase::Failed)?;
        let waiting = self.waiting.bytes();
        waiting.drain(..progress.used);
        if waiting.is_empty() {
            plain.buffers.give(mem::take(&mut self.waiting));
        } else if waiting.len() >= WAITING_MAX {
            self.phase = Phase::Failed;
            return Err(SessionError::new(TlsError::Malformed, "a message is too large"));
        }
        Ok(progress.has_ended)
    }

    /// Whether there is anything to be sent, where so many bytes are staged.
    pub(super) fn has_output(&self, staged: usize) -> bool {
        !self.replies.is_empty() || (self.is_open() && (staged > 0 || self.closing == Closing::Wanted))
    }

    /// Bytes to be sent next: replies, and then the stage as records. `None` if the session can send no more.
    pub(super) fn seal(&mut self, stage: Option<&Output>, buffers: &Buffers) -> Option<Output> {
        let staged = stage.map_or(0, Output::len);
        let records = staged.div_ceil(RECORD_PAYLOAD) + 1;
        let mut sealed = buffers.lend(self.replies.len() + staged + records * RECORD_OVERHEAD);
        // They are rare, so they keep no memory.
        sealed.bytes().extend_from_slice(&mem::take(&mut self.replies));
        if let Err(error) = self.write(stage, sealed.bytes()) {
            self.error = Some(error);
            self.phase = Phase::Failed;
            buffers.give(sealed);
            return None;
        }
        Some(sealed)
    }

    fn write(&mut self, stage: Option<&Output>, out: &mut Vec<u8>) -> Result<(), SessionError> {
        let mut used = 0;
        if let Some(stage) = stage {
            used += seal_parts(&mut self.session, self.waiting.own_mut(), stage, out)?;
        }
        if self.is_open() && self.closing == Closing::Wanted {
            self.closing = Closing::Told;
            used += self.session.close(&mut self.waiting.own_mut()[used..], out)?;
        }
        if used > 0 {
            self.waiting.bytes().drain(..used);
        }
        Ok(())
    }

    /// The protocol is done: the peer is told that nothing more comes.
    pub(super) fn close(&mut self) {
        if self.closing == Closing::No {
            self.closing = Closing::Wanted;
        }
    }

    /// Ends a handshake. These bytes are all that is sent: they are no TLS, as the peer's.
    pub(super) fn refuse(&mut self, answer: &[u8]) {
        self.phase = Phase::Failed;
        self.replies = answer.to_vec();
    }

    /// Drops what has come and what will come. The part of a record that waits stays: without it the next bytes would be
    /// no record, and the session would fail before all is sent.
    pub(super) fn deafen(&mut self) {
        self.is_deaf = true;
        self.received.clear();
    }

    /// Drops what has come, as does the connection.
    pub(super) fn discard(&mut self, buffers: &Buffers) {
        self.received.clear();
        if self.waiting.has_memory() {
            buffers.give(mem::take(&mut self.waiting));
        }
    }

    /// Gives back the room for received slices, while there are none.
    pub(super) fn shrink(&mut self) {
        if self.received.is_empty() {
            self.received = VecDeque::new();
        }
    }

    /// Whether anything that was received is to be opened.
    pub(super) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Whether TLS itself has something to send.
    pub(super) fn has_replies(&self) -> bool {
        !self.replies.is_empty()
    }

    /// Takes the reason why records come or go no more.
    pub(super) fn take_error(&mut self) -> Option<SessionError> {
        self.error.take()
    }
}

/// Bytes that lack to the last record of these: at least one, for a message may go on in the next record.
fn missing(bytes: &[u8]) -> usize {
    const HEAD: usize = 5;
    let mut at = 0;
    loop {
        let Some(head) = bytes.get(at..at + HEAD) else { return at + HEAD - bytes.len() };
        at += HEAD + usize::from(u16::from_be_bytes([head[3], head[4]]));
        if at > bytes.len() {
            return at - bytes.len();
        }
    }
}

fn advance(
    session: &mut Session,
    bytes: &mut [u8],
    plain: &mut Plain<'_>,
    replies: &mut Vec<u8>,
) -> Result<Progress, SessionError> {
    session.advance(bytes, &mut |payload| plain.add(payload), replies)
}

thread_local! {
    /// Where small parts of a stage are put together to one record.
    static RECORD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Seals all parts in order, in records as large as they can be. Gives how many of the bytes that wait were taken.
fn seal_parts(
    session: &mut Session,
    waiting: &mut [u8],
    stage: &Output,
    out: &mut Vec<u8>,
) -> Result<usize, SessionError> {
    let mut used = 0;
    let mut seal = |plain: &[u8]| {
        used += session.seal(&mut waiting[used..], plain, out)?;
        Ok::<(), SessionError>(())
    };
    let mut parts = stage.parts(0);
    let (Some(first), second) = (parts.next(), parts.next()) else { return Ok(0) };
    let Some(second) = second else {
        seal(first)?;
        return Ok(used);
    };
    RECORD.with_borrow_mut(|record| {
        record.clear();
        for mut part in [first, second].into_iter().chain(parts) {
            while !part.is_empty() {
                if record.is_empty() && part.len() >= RECORD_PAYLOAD {
                    let (whole, rest) = part.split_at(RECORD_PAYLOAD);
                    seal(whole)?;
                    part = rest;
                    continue;
                }
                let (more, rest) = part.split_at(part.len().min(RECORD_PAYLOAD - record.len()));
                record.extend_from_slice(more);
                part = rest;
                if record.len() == RECORD_PAYLOAD {
                    seal(record)?;
                    record.clear();
                }
            }
        }
        if record.is_empty() { Ok(()) } else { seal(record) }
    })?;
    Ok(used)
}

/// Puts the content of records where the protocol finds it.
struct Plain<'a> {
    read_buffer: &'a mut ReadBuffer,
    buffers: &'a Buffers,
    draft: Option<Draft>,
    /// In place of a draft, while buffers are few.
    heap: Vec<u8>,
}

impl<'a> Plain<'a> {
    fn new(read_buffer: &'a mut ReadBuffer, buffers: &'a Buffers) -> Plain<'a> {
        Plain { read_buffer, buffers, draft: None, heap: Vec::new() }
    }

    fn add(&mut self, payload: &[u8]) {
        if payload.is_empty() || self.is_drafted(payload) {
            return;
        }
        if self.heap.is_empty() {
            self.end();
            self.draft = self.buffers.draft();
            if self.is_drafted(payload) {
                return;
            }
        }
        self.heap.extend_from_slice(payload);
    }

    fn is_drafted(&mut self, payload: &[u8]) -> bool {
        self.heap.is_empty() && self.draft.as_mut().is_some_and(|draft| draft.add(payload))
    }

    /// Hands it on.
    fn end(&mut self) {
        if let Some((owner, length)) = self.draft.take().and_then(Draft::finish) {
            self.read_buffer.arrived(Slice::of_buffer(owner, length));
        }
        if !self.heap.is_empty() {
            self.read_buffer.arrived(mem::take(&mut self.heap).into());
        }
    }
}
