//! The streams of a connection, by the key that calls hold and by the number on the wire.

use std::collections::VecDeque;

use super::flow::ReceiveWindow;
use super::rare::Rare;
use super::state::{Keeping, StreamState};
use super::stream_table::{SpareTables, StreamTable};
use crate::time::Moment;

/// Streams that we have reset are remembered this long: their peer may have sent more before it knew.
const RESETS_REMEMBERED: usize = 1024;

/// The last streams that ended in order, to tell one that is over from one that never was.
const ENDED_REMEMBERED: usize = 16;

/// All streams that are not over or that somebody holds, and the numbers of some others.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// `None` while there are no streams, and none is remembered. A number's value is a key; from [`RESET`] on, it is a
    /// stream that we have reset, and how many heads have come on it since.
    table: Option<Box<StreamTable>>,
    resets: Rare<VecDeque<u32>>,
    ended: [u32; ENDED_REMEMBERED],
    ended_at: u8,
    /// Bytes that the peer may send at most on all streams together, if nothing of it is taken.
    promised: u64,
    /// Streams whose bodies are kept whole and that wait for their windows, by key and number; and how many have theirs.
    waiting_for_window: Rare<VecDeque<(u32, u32)>>,
    granted: u32,
}

/// Why a key without a stream is a fault of ours.
const NO_STREAM: &str = "a key is kept by those that hold a stream";

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
    pub(super) fn open(
        &mut self,
        spares: &SpareTables,
        id: u32,
        receive: ReceiveWindow,
        send: u32,
        now: Moment,
    ) -> u32 {
        self.promised += u64::from(receive.size());
        let StreamTable { slots, free, ids, .. } = &mut **self.table.get_or_insert_with(|| spares.take());
        let key = match free.pop() {
            Some(key) => {
                slots[key as usize].reopen(id, receive, send, now);
                key
            }
            None => {
                if slots.is_empty() {
                    // Many connections never have more than the one.
                    slots.reserve_exact(1);
                }
                slots.push(StreamState::new(id, receive, send, now));
                u32::try_from(slots.len() - 1).expect("far fewer streams than 2^32")
            }
        };
        ids.insert(id, key);
        key
    }

    /// Streams that are not over, or that somebody holds.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.as_ref().map_or(0, |table| table.len())
    }

    #[inline]
    pub(super) fn find(&self, id: u32) -> Found {
        match self.value(id) {
            Some(RESET..) => Found::Reset,
            Some(key) => Found::Open(key),
            None if self.ended.contains(&id) => Found::Ended,
            None => Found::Unknown,
        }
    }

    /// The value of a number.
    #[inline]
    fn value(&self, id: u32) -> Option<u32> {
        self.table.as_ref()?.ids.get(id)
    }

    #[inline]
    fn table(&mut self) -> &mut StreamTable {
        self.table.as_mut().expect(NO_STREAM)
    }

    /// The stream of a key.
    ///
    /// # Panics
    /// When there is none: keys are kept by those that hold a stream, until they let go of it.
    #[inline]
    pub(super) fn get(&self, key: u32) -> &StreamState {
        &self.table.as_ref().expect(NO_STREAM).slots[key as usize]
    }

    /// The stream of a key, to be changed. See [`Streams::get`].
    #[inline]
    pub(super) fn get_mut(&mut self, key: u32) -> &mut StreamState {
        &mut self.table().slots[key as usize]
    }

    /// The stream of a key, if it is still the one with this number.
    #[inline]
    pub(super) fn get_if(&mut self, key: u32, id: u32) -> Option<&mut StreamState> {
        self.table.as_mut()?.slots.get_mut(key as usize).filter(|stream| stream.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &StreamState)> {
        let slots = self.table.as_ref().map_or(&[][..], |table| &table.slots);
        (0..).zip(slots).filter(|(_, stream)| stream.id != 0)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut StreamState)> {
        let slots = self.table.as_mut().map_or(&mut [][..], |table| &mut table.slots);
        (0..).zip(slots).filter(|(_, stream)| stream.id != 0)
    }

    /// Streams of a client that nobody has accepted yet. There has to be a stream.
    #[inline]
    pub(super) fn accepted(&mut self) -> &mut VecDeque<u32> {
        &mut self.table().accepted
    }

    /// Takes the next stream off those.
    #[inline]
    pub(super) fn next_accepted(&mut self) -> Option<u32> {
        self.table.as_mut()?.accepted.pop_front()
    }

    /// Streams that wait for the connection's window, or for room. There has to be a stream.
    #[inline]
    pub(super) fn waiting(&mut self) -> &mut VecDeque<u32> {
        &mut self.table().waiting
    }

    /// Takes the next stream off those.
    #[inline]
    pub(super) fn next_waiting(&mut self) -> Option<u32> {
        self.table.as_mut()?.waiting.pop_front()
    }

    /// How many streams wait for the connection's window, or for room.
    #[inline]
    pub(super) fn waiting_len(&self) -> usize {
        self.table.as_ref().map_or(0, |table| table.waiting.len())
    }

    /// Forgets a stream that is over.
    pub(super) fn remove(&mut self, key: u32, spares: &SpareTables) {
        self.body_is_over(key);
        let StreamTable { slots, free, ids, .. } = self.table();
        let stream = &mut slots[key as usize];
        let (id, may_go_on) = (stream.id, stream.we_reset && !stream.peer_reset);
        stream.end();
        free.push(key);
        if may_go_on {
            return self.remember_reset(id);
        }
        ids.remove(id);
        let is_last = ids.is_empty();
        self.remember_ended(id);
        if is_last && let Some(table) = self.table.take() {
            spares.give(table);
        }
    }

    /// Makes a stream's window larger, up to `max`, if that is what holds its peer up, and if all windows together stay
    /// within `budget`: then no stream can take the connection's window away from the others.
    pub(super) fn tune(&mut self, key: u32, max: u32, budget: u32) {
        let left = u64::from(budget).saturating_sub(self.promised);
        let stream = self.get_mut(key);
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
        let stream = self.get_mut(key);
        if std::mem::replace(&mut stream.is_taken, true) {
            return;
        }
        let (size, was_granted) = (stream.receive_window.size(), stream.keeping == Keeping::Granted);
        self.promised -= u64::from(size);
        self.granted -= u32::from(was_granted);
    }

    /// The body of this stream is kept until it is whole, for which it needs a window of `size`. [`Streams::grant`] gives it.
    pub(super) fn keep_whole(&mut self, key: u32, size: u32) {
        let stream = self.get_mut(key);
        if stream.keeping == Keeping::No && size > stream.receive_window.size() {
            stream.keeping = Keeping::Waits(size);
            let waits = (key, stream.id);
            self.waiting_for_window.get_mut().push_back(waits);
        }
    }

    /// Makes the window of the next stream larger that waits for that, if all windows together stay within `budget`, or if
    /// no other has what it waited for: then each that has it can be received whole, whatever others hold.
    pub(super) fn grant(&mut self, budget: u32) -> Option<u32> {
        while let Some(&(key, id)) = self.waiting_for_window.get().and_then(VecDeque::front) {
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
                self.waiting_for_window.get_mut().pop_front();
                return Some(key);
            }
            self.waiting_for_window.get_mut().pop_front();
        }
        None
    }

    /// From now on frames for this stream are a fault.
    fn remember_ended(&mut self, id: u32) {
        let at = usize::from(self.ended_at) % ENDED_REMEMBERED;
        self.ended[at] = id;
        self.ended_at = self.ended_at.wrapping_add(1);
    }

    /// The peer has reset a stream that we have reset: nothing of it is on its way any more.
    pub(super) fn forget_reset(&mut self, id: u32, spares: &SpareTables) {
        let ids = &mut self.table().ids;
        ids.remove(id);
        let is_last = ids.is_empty();
        let resets = self.resets.get_mut();
        if let Some(at) = resets.iter().rposition(|reset| *reset == id) {
            resets.remove(at);
        }
        self.remember_ended(id);
        if is_last && let Some(table) = self.table.take() {
            spares.give(table);
        }
    }

    /// From now on frames for this stream are ignored.
    pub(super) fn remember_reset(&mut self, id: u32) {
        let ids = &mut self.table.get_or_insert_default().ids;
        if ids.insert(id, RESET).is_some_and(|before| before >= RESET) {
            return;
        }
        let resets = self.resets.get_mut();
        if resets.len() == RESETS_REMEMBERED
            && let Some(oldest) = resets.pop_front()
            && ids.get(oldest).is_some_and(|value| value >= RESET)
        {
            ids.remove(oldest);
        }
        resets.push_back(id);
    }

    /// A head has come on a stream that we have reset; how many that are.
    pub(super) fn late_head(&mut self, id: u32) -> u16 {
        let Some(value @ RESET..) = self.value(id) else { return 0 };
        let heads = u16::try_from(value - RESET).unwrap_or(u16::MAX).saturating_add(1);
        self.table().ids.insert(id, RESET + u32::from(heads));
        heads
    }

    /// Streams that nobody has accepted yet, and those that wait. There has to be a stream.
    #[cfg(test)]
    pub(super) fn lists(&self) -> [&VecDeque<u32>; 2] {
        let table = self.table.as_ref().expect(NO_STREAM);
        [&table.accepted, &table.waiting]
    }

    /// Holds at any time.
    #[cfg(test)]
    pub(super) fn check(&self) {
        for (key, stream) in self.iter() {
            assert_eq!(self.find(stream.id), Found::Open(key));
        }
        let Some(table) = &self.table else {
            return assert!(self.resets.get().is_none_or(VecDeque::is_empty));
        };
        let resets = table.ids.iter().filter(|(_, value)| *value >= RESET).count();
        let remembered = self.resets.get().map_or(0, VecDeque::len);
        assert_eq!((table.ids.len() - resets, resets), (self.len(), remembered));
        assert!(resets <= RESETS_REMEMBERED);
    }

    /// Gives back memory, while there are no streams.
    pub(super) fn shrink(&mut self) {
        if let Some(table) = &mut self.table
            && table.len() == 0
        {
            (table.slots, table.free) = (Vec::new(), Vec::new());
            (table.accepted, table.waiting) = (VecDeque::new(), VecDeque::new());
        }
        if self.len() == 0 {
            self.waiting_for_window.take();
        }
    }
}
