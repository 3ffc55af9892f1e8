//! The streams of a connection, by the key that calls hold and by the number on the wire.

use std::collections::VecDeque;

use super::flow::ReceiveWindow;
use super::ids::Ids;
use super::state::{Keeping, StreamState};
use crate::time::Moment;

/// Streams that we have reset are remembered this long: their peer may have sent more before it knew.
const RESETS_REMEMBERED: usize = 1024;

/// The last streams that ended in order, to tell one that is over from one that never was.
const ENDED_REMEMBERED: usize = 16;

/// All streams that are not over or that somebody holds, and the numbers of some others.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// A slot of the number 0 is free. Streams are opened and end in place, for their state is large.
    slots: Vec<StreamState>,
    free: Vec<u32>,
    /// Keys by numbers; from [`RESET`] on, a stream that we have reset, and how many heads have come on it since.
    ids: Ids,
    resets: VecDeque<u32>,
    ended: [u32; ENDED_REMEMBERED],
    ended_at: usize,
    /// Bytes that the peer may send at most on all streams together, if nothing of it is taken.
    promised: u64,
    /// Streams whose bodies are kept whole and that wait for their windows, by key and number; and how many have theirs.
    waiting_for_window: VecDeque<(u32, u32)>,
    granted: u32,
}

/// The least value of a number whose stream we have reset. No key is as large.
const RESET: u32 = 1 << 31;

/// A stream by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is here.
    Open(u32),
    /// We have reset it not long ago.
    Reset,
    /// It has ended not long ago.
    Ended,
    /// It is not here.
    Unknown,
}

impl Streams {
    /// Opens a stream with this number, which is not 0.
    pub(super) fn open(&mut self, id: u32, receive: ReceiveWindow, send: u32, now: Moment) -> u32 {
        self.promised += u64::from(receive.size());
        let key = match self.free.pop() {
            Some(key) => {
                self.slots[key as usize].reopen(id, receive, send, now);
                key
            }
            None => {
                if self.slots.is_empty() {
                    // Many connections never have more than the one.
                    self.slots.reserve_exact(1);
                }
                self.slots.push(StreamState::new(id, receive, send, now));
                u32::try_from(self.slots.len() - 1).expect("far fewer streams than 2^32")
            }
        };
        self.ids.insert(id, key);
        key
    }

    /// Streams that are not over, or that somebody holds.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    #[inline]
    pub(super) fn find(&self, id: u32) -> Found {
        match self.ids.get(id) {
            Some(RESET..) => Found::Reset,
            Some(key) => Found::Open(key),
            None if self.ended.contains(&id) => Found::Ended,
            None => Found::Unknown,
        }
    }

    /// The stream of a key.
    ///
    /// # Panics
    /// When there is none: keys are kept by those that hold a stream, until they let go of it.
    #[inline]
    pub(super) fn get(&self, key: u32) -> &StreamState {
        &self.slots[key as usize]
    }

    /// The stream of a key, to be changed. See [`Streams::get`].
    #[inline]
    pub(super) fn get_mut(&mut self, key: u32) -> &mut StreamState {
        &mut self.slots[key as usize]
    }

    /// The stream of a key, if it is still the one with this number.
    #[inline]
    pub(super) fn get_if(&mut self, key: u32, id: u32) -> Option<&mut StreamState> {
        self.slots.get_mut(key as usize).filter(|stream| stream.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &StreamState)> {
        (0..).zip(&self.slots).filter(|(_, stream)| stream.id != 0)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut StreamState)> {
        (0..).zip(&mut self.slots).filter(|(_, stream)| stream.id != 0)
    }

    /// Forgets a stream that is over.
    pub(super) fn remove(&mut self, key: u32) {
        self.body_is_over(key);
        let stream = &mut self.slots[key as usize];
        let (id, we_reset) = (stream.id, stream.we_reset);
        stream.end();
        self.free.push(key);
        if we_reset {
            return self.remember_reset(id);
        }
        self.ids.remove(id);
        self.ended[self.ended_at] = id;
        self.ended_at = (self.ended_at + 1) % ENDED_REMEMBERED;
    }

    /// Makes a stream's window larger, up to `max`, if that is what holds its peer up, and if all windows together stay
    /// within `budget`: then no stream can take the connection's window away from the others.
    pub(super) fn tune(&mut self, key: u32, max: u32, budget: u32) {
        let left = u64::from(budget).saturating_sub(self.promised);
        let stream = &mut self.slots[key as usize];
        if stream.is_taken {
            return;
        }
        let window = &mut stream.receive_window;
        let before = window.size();
        window.tune(u64::from(max).min(u64::from(before) + left) as u32);
        self.promised += u64::from(window.size() - before);
    }

    /// All of a stream's body has come and was taken, or nobody takes more of it: its window is for others.
    pub(super) fn body_is_over(&mut self, key: u32) {
        let stream = &mut self.slots[key as usize];
        if std::mem::replace(&mut stream.is_taken, true) {
            return;
        }
        self.promised -= u64::from(stream.receive_window.size());
        self.granted -= u32::from(stream.keeping == Keeping::Granted);
    }

    /// The body of this stream is kept until it is whole, for which it needs a window of `size`. [`Streams::grant`] gives it.
    pub(super) fn keep_whole(&mut self, key: u32, size: u32) {
        let stream = &mut self.slots[key as usize];
        if stream.keeping == Keeping::No && size > stream.receive_window.size() {
            stream.keeping = Keeping::Waits(size);
            self.waiting_for_window.push_back((key, stream.id));
        }
    }

    /// Makes the window of the next stream larger that waits for that, if all windows together stay within `budget`, or if
    /// no other has what it waited for: then each that has it can be received whole, whatever others hold.
    pub(super) fn grant(&mut self, budget: u32) -> Option<u32> {
        while let Some(&(key, id)) = self.waiting_for_window.front() {
            let (promised, granted) = (self.promised, self.granted);
            let waits = self.get_if(key, id).filter(|stream| !stream.is_taken && !stream.is_reset);
            if let Some(stream) = waits
                && let Keeping::Waits(size) = stream.keeping
            {
                let more = u64::from(size.saturating_sub(stream.receive_window.size()));
                if granted > 0 && promised + more > u64::from(budget) {
                    return None;
                }
                stream.receive_window.widen(size);
                stream.keeping = Keeping::Granted;
                self.promised += more;
                self.granted += 1;
                self.waiting_for_window.pop_front();
                return Some(key);
            }
            self.waiting_for_window.pop_front();
        }
        None
    }

    /// From now on frames for this stream are ignored.
    pub(super) fn remember_reset(&mut self, id: u32) {
        if self.ids.insert(id, RESET).is_some_and(|before| before >= RESET) {
            return;
        }
        if self.resets.len() == RESETS_REMEMBERED
            && let Some(oldest) = self.resets.pop_front()
            && self.ids.get(oldest).is_some_and(|value| value >= RESET)
        {
            self.ids.remove(oldest);
        }
        self.resets.push_back(id);
    }

    /// A head has come on a stream that we have reset; how many that are.
    pub(super) fn late_head(&mut self, id: u32) -> u16 {
        let Some(value @ RESET..) = self.ids.get(id) else { return 0 };
        let heads = u16::try_from(value - RESET).unwrap_or(u16::MAX).saturating_add(1);
        self.ids.insert(id, RESET + u32::from(heads));
        heads
    }

    /// Holds at any time.
    #[cfg(test)]
    pub(super) fn check(&self) {
        for (key, stream) in self.iter() {
            assert_eq!(self.find(stream.id), Found::Open(key));
        }
        let resets = self.ids.iter().filter(|(_, value)| *value >= RESET).count();
        assert_eq!((self.ids.len() - resets, resets), (self.len(), self.resets.len()));
        assert!(resets <= RESETS_REMEMBERED);
    }

    /// Gives back memory, while there are no streams.
    pub(super) fn shrink(&mut self) {
        if self.len() == 0 {
            (self.slots, self.free) = (Vec::new(), Vec::new());
            self.ids.shrink();
            self.waiting_for_window = VecDeque::new();
            self.resets.shrink_to_fit();
        }
    }
}
