//! Records of calls and attempts, on their way from workers to the access log's writer and the exporter of traces.
//! Each of these is a thread of its own.
//!
//! A worker never waits for these threads. It has a ring of records of fixed size for each; a record that does not fit
//! is left out and counted. One core puts in, one thread takes out, and both only move words.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::task::Waker;

use super::address;
use super::labels::PROTOCOLS;
use crate::config::EndpointAddress;

use super::texts::{INDEX_WORDS, TEXT_BYTES, TextField, Texts};

/// A stage of a call, for the times that it spent in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its head is read, or it waits: for a place on a connection, or to be sent once more.
    Queue,
    /// It waits for a connection that is being opened.
    Connect,
    /// Its body is received whole before an upstream is asked; only from callers of JSON.
    Receive,
    /// The upstream has it.
    Upstream,
    /// It is turned from JSON into a message, or back.
    Transcode,
    /// The client takes the response.
    Write,
}

/// The stages' names, in the order of [`Stage`].
pub const STAGE_NAMES: [&str; 6] = ["queue", "connect", "receive", "upstream", "transcode", "write"];

/// HTTP methods that have a name in records; gRPC's is first, to be found first, and the last stands for all others.
pub const METHOD_NAMES: [&str; 10] =
    ["POST", "GET", "HEAD", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "_OTHER"];

/// The subject of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// A call.
    #[default]
    Call,
    /// An attempt of a call.
    Attempt,
}

/// The record of one call or attempt. Moments are microseconds after its beginning; `None` where it did not get so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// A call, or one attempt of it. An attempt has its own path, times and status.
    pub subject: Subject,
    /// When its head arrived, in microseconds since 1970.
    pub began_unix_us: u64,
    /// Until its end.
    pub took_us: u64,
    /// When its route was found.
    pub routed_us: Option<u32>,
    /// When the last attempt had a connection.
    pub connected_us: Option<u32>,
    /// When the head of the response came.
    pub answered_us: Option<u32>,
    /// Microseconds spent in each [`Stage`].
    pub stages_us: [u32; STAGE_NAMES.len()],
    /// Whether the stages were timed.
    pub is_timed: bool,
    /// Its place in [`Layout::calls`](super::Layout::calls).
    pub series: u32,
    /// How often it was sent to an endpoint; of an attempt, how many there were before it.
    pub attempts: u8,
    /// The gRPC status it ended with.
    pub code: u8,
    /// Envoy's response flags, at most eight letters; zeros behind them, and only zeros if none.
    pub flags: [u8; 8],
    /// The caller's protocol: its place in [`PROTOCOLS`].
    pub protocol: u8,
    /// The request's HTTP method: its place in [`METHOD_NAMES`].
    pub method: u8,
    /// The client's HTTP version, times ten.
    pub version: u8,
    /// The HTTP status that the client got; zero if none.
    pub http_status: u16,
    /// Bytes of the body from the client.
    pub bytes_received: u64,
    /// Bytes of the body to the client.
    pub bytes_sent: u64,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// The endpoint of the last attempt.
    pub upstream: Option<EndpointAddress>,
    /// The trace it belongs to; zero if none.
    pub trace_id: u128,
    /// Its own span in that trace; zero if it is not recorded.
    pub span_id: u64,
    /// The span it belongs to; zero if none.
    pub parent_id: u64,
    /// The number of the list that names its chosen fields.
    pub headers: u32,
    /// Path, authority, chosen fields.
    pub texts: Texts,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            subject: Subject::Call,
            began_unix_us: 0,
            took_us: 0,
            routed_us: None,
            connected_us: None,
            answered_us: None,
            stages_us: [0; STAGE_NAMES.len()],
            is_timed: false,
            series: 0,
            attempts: 0,
            code: 0,
            flags: [0; 8],
            protocol: 0,
            method: 0,
            version: 0,
            http_status: 0,
            bytes_received: 0,
            bytes_sent: 0,
            client: None,
            upstream: None,
            trace_id: 0,
            span_id: 0,
            parent_id: 0,
            headers: 0,
            texts: Texts::default(),
        }
    }
}

impl Record {
    /// Forgets what another call left here, but for what is set for each call.
    pub fn clear(&mut self) {
        (self.routed_us, self.connected_us, self.answered_us) = (None, None, None);
        (self.subject, self.attempts, self.upstream) = (Subject::Call, 0, None);
        self.texts.clear();
    }

    /// Keeps the path as the client sent it, or its beginning.
    pub fn set_path(&mut self, path: &[u8]) {
        self.texts.set(TextField::Path, path);
    }

    /// Keeps the letters of response flags.
    pub fn set_flags(&mut self, flags: &str) {
        self.flags = [0; 8];
        for (letter, flag) in self.flags.iter_mut().zip(flags.bytes()) {
            *letter = flag;
        }
    }

    /// The letters of response flags; empty if none.
    pub fn flags(&self) -> &str {
        let length = self.flags.iter().position(|&letter| letter == 0).unwrap_or(self.flags.len());
        std::str::from_utf8(&self.flags[..length]).unwrap_or_default()
    }

    /// The name of the caller's protocol.
    pub fn protocol_name(&self) -> &'static str {
        PROTOCOLS[usize::from(self.protocol).min(PROTOCOLS.len() - 1)]
    }

    /// Whether the caller speaks JSON.
    pub fn is_json(&self) -> bool {
        self.protocol_name() == "json"
    }

    /// The client's HTTP version.
    pub fn version_name(&self) -> &'static str {
        match self.version {
            20 => "2",
            10 => "1.0",
            _ => "1.1",
        }
    }

    /// The name of the request's HTTP method.
    pub fn method_name(&self) -> &'static str {
        METHOD_NAMES[usize::from(self.method).min(METHOD_NAMES.len() - 1)]
    }

    /// The bytes of the path that were kept.
    pub fn path(&self) -> &[u8] {
        self.texts.get(TextField::Path).unwrap_or_default()
    }

    /// The path of the gRPC method, as far as it is kept; empty if none is known.
    pub fn grpc_method(&self) -> &[u8] {
        let own = if self.protocol == 0 { self.texts.get(TextField::Path) } else { None };
        self.texts.get(TextField::GrpcMethod).or(own).unwrap_or_default()
    }

    fn pack(&self) -> [u64; HEAD_WORDS] {
        let mut words = [0; HEAD_WORDS];
        let moment = |moment: Option<u32>| u64::from(moment.unwrap_or(NEVER));
        let bytes = |high: u8, low: u8| u64::from(high) << 8 | u64::from(low);
        words[0] = self.began_unix_us;
        words[1] = self.took_us;
        words[2] = u64::from(self.series) << 32 | bytes(self.attempts, self.code);
        words[3] = u64::from_le_bytes(self.flags);
        words[4] = moment(self.routed_us) << 32 | moment(self.connected_us);
        words[5] = moment(self.answered_us) << 32 | u64::from(self.http_status);
        words[6] = self.bytes_received;
        words[7] = self.bytes_sent;
        words[8] = (self.trace_id >> 64) as u64;
        words[9] = self.trace_id as u64;
        words[10..13].copy_from_slice(&self.client.map_or([0; 3], address::pack));
        words[13..16].copy_from_slice(&self.upstream.map_or([0; 3], address::pack_endpoint));
        words[16] = self.span_id;
        words[17] = self.parent_id;
        for (word, [high, low]) in words[18..21].iter_mut().zip(self.stages_us.as_chunks().0) {
            *word = u64::from(*high) << 32 | u64::from(*low);
        }
        words[21] = u64::from(self.headers) << 32
            | bytes(u8::from(self.subject == Subject::Attempt) | u8::from(self.is_timed) << 1, self.protocol)
                << 16
            | bytes(self.method, self.version);
        words[FIXED_WORDS..].copy_from_slice(&self.texts.index());
        words
    }

    fn unpack(words: &[u64; HEAD_WORDS], text: impl Iterator<Item = u64>) -> Record {
        let half = |word: u64, shift: u32| (word >> shift) as u32;
        let moment = |moment: u32| (moment != NEVER).then_some(moment);
        let address = |at: usize| address::unpack([words[at], words[at + 1], words[at + 2]]);
        let bytes = |word: u64| [(word >> 8) as u8, word as u8];
        let ([attempts, code], [method, version]) = (bytes(words[2]), bytes(words[21]));
        let [marks, protocol] = bytes(words[21] >> 16);
        Record {
            subject: if marks & 1 == 0 { Subject::Call } else { Subject::Attempt },
            is_timed: marks & 2 != 0,
            began_unix_us: words[0],
            took_us: words[1],
            series: half(words[2], 32),
            attempts,
            code,
            flags: words[3].to_le_bytes(),
            protocol,
            method,
            version,
            http_status: words[5] as u16,
            routed_us: moment(half(words[4], 32)),
            connected_us: moment(half(words[4], 0)),
            answered_us: moment(half(words[5], 32)),
            stages_us: std::array::from_fn(|at| half(words[18 + at / 2], if at % 2 == 0 { 32 } else { 0 })),
            bytes_received: words[6],
            bytes_sent: words[7],
            trace_id: u128::from(words[8]) << 64 | u128::from(words[9]),
            span_id: words[16],
            parent_id: words[17],
            headers: half(words[21], 32),
            client: address(10),
            upstream: address::unpack_endpoint([words[13], words[14], words[15]]),
            texts: Texts::of(&words[FIXED_WORDS..], text),
        }
    }
}

/// No moment; 71 minutes, so a later one is told as this many microseconds less one.
const NEVER: u32 = u32::MAX;

/// Words of a record, of that before its texts, and of that before their index.
const WORDS: usize = HEAD_WORDS + TEXT_BYTES / 8;
const HEAD_WORDS: usize = FIXED_WORDS + INDEX_WORDS;
const FIXED_WORDS: usize = 22;

/// Bytes of a record in a ring.
pub const RECORD_BYTES: usize = WORDS * 8;

/// Records of one core that wait to be taken.
#[derive(Debug)]
pub struct Ring {
    slots: Box<[[AtomicU64; WORDS]]>,
    /// How many were ever taken out; only the reader writes it.
    taken: Place,
    /// Woken when the reader sleeps and there is something to take.
    reader: Waker,
    /// How many were ever put in; only the core writes it.
    put: Place,
}

/// On a pair of cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place {
    count: AtomicUsize,
    /// Of `taken`: its reader sleeps. Here because the core reads this line anyhow.
    sleeps: AtomicBool,
}

impl Ring {
    /// An empty ring with room for so many records, which must be a power of two. `reader` wakes the thread that takes
    /// them out.
    ///
    /// # Panics
    /// When it is not.
    pub fn new(records: usize, reader: Waker) -> Ring {
        assert!(records.is_power_of_two(), "positions are found with a mask");
        let slots = (0..records).map(|_| [const { AtomicU64::new(0) }; WORDS]).collect();
        Ring { slots, taken: Place::default(), reader, put: Place::default() }
    }

    /// Records that it has room for.
    pub fn room(&self) -> usize {
        self.slots.len()
    }

    /// Puts a record in; false if there is no room. Only the owning core may call this.
    pub fn put(&self, record: &Record) -> bool {
        let put = self.put.count.load(Relaxed);
        if put.wrapping_sub(self.taken.count.load(Acquire)) == self.slots.len() {
            return false;
        }
        let slot = &self.slots[put & (self.slots.len() - 1)];
        for (word, new) in slot.iter().zip(record.pack().into_iter().chain(record.texts.words())) {
            word.store(new, Relaxed);
        }
        self.put.count.store(put.wrapping_add(1), Release);
        // Without a fence, as that would cost each call more than the rest of this: in the same moment the reader may miss
        // this record and this its sleep. The next record wakes it then, or the end of its sleep.
        if self.taken.sleeps.load(Relaxed) && self.taken.sleeps.swap(false, AcqRel) {
            self.reader.wake_by_ref();
        }
        true
    }

    /// The reader is about to sleep: the next record wakes it. False if there is one already.
    pub fn sleep(&self) -> bool {
        self.taken.sleeps.store(true, SeqCst);
        let is_empty = self.put.count.load(SeqCst) == self.taken.count.load(Relaxed);
        if !is_empty {
            self.taken.sleeps.store(false, Relaxed);
        }
        is_empty
    }

    /// Takes the oldest record out. Only one thread may call this.
    pub fn take(&self) -> Option<Record> {
        let taken = self.taken.count.load(Relaxed);
        if taken == self.put.count.load(Acquire) {
            return None;
        }
        let slot = &self.slots[taken & (self.slots.len() - 1)];
        let words = std::array::from_fn(|at| slot[at].load(Relaxed));
        let record = Record::unpack(&words, slot[HEAD_WORDS..].iter().map(|word| word.load(Relaxed)));
        self.taken.count.store(taken.wrapping_add(1), Release);
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn record(number: u64) -> Record {
        let mut record = Record {
            subject: if number.is_multiple_of(2) { Subject::Call } else { Subject::Attempt },
            began_unix_us: number,
            took_us: number.wrapping_mul(3),
            routed_us: Some(1),
            connected_us: None,
            answered_us: Some(u32::MAX - 1),
            stages_us: [1, 2, number as u32, u32::MAX, 5, 6],
            is_timed: number.is_multiple_of(2),
            series: u32::MAX,
            attempts: 200,
            code: 16,
            protocol: 2,
            method: 9,
            version: 11,
            http_status: 599,
            span_id: number,
            parent_id: u64::MAX,
            headers: number as u32,
            flags: *b"UPE\0\0\0\0\0",
            bytes_received: u64::MAX,
            bytes_sent: number,
            client: Some("[2001:db8::1]:65535".parse().unwrap()),
            upstream: Some(SocketAddr::from(([10, 0, 0, 7], 1)).into()),
            trace_id: u128::MAX - u128::from(number),
            ..Record::default()
        };
        record.set_path(format!("/a.B/{number}").as_bytes());
        record.texts.set(TextField::UserAgent, b"grpc-rust/1");
        record
    }

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        let ring = Ring::new(2, Waker::noop().clone());
        for record in [record(0), record(u64::MAX), Record::default()] {
            assert!(ring.put(&record));
            assert_eq!(ring.take(), Some(record));
        }
        assert_eq!(ring.take(), None);
    }

    #[test]
    fn a_full_ring_takes_no_more_until_there_is_room() {
        let ring = Ring::new(4, Waker::noop().clone());
        let put = (0..6).filter(|&number| ring.put(&record(number))).count();
        assert_eq!(put, 4);
        assert_eq!(ring.take(), Some(record(0)));
        assert!(ring.put(&record(9)) && !ring.put(&record(10)));
        let rest: Vec<u64> = std::iter::from_fn(|| ring.take()).map(|record| record.began_unix_us).collect();
        assert_eq!(rest, [1, 2, 3, 9]);
    }

    #[test]
    fn a_reader_that_sleeps_is_woken_once() {
        struct Count(AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let woken = std::sync::Arc::new(Count(AtomicUsize::new(0)));
        let ring = Ring::new(4, std::sync::Arc::clone(&woken).into());
        assert!(ring.put(&record(0)));
        assert!(!ring.sleep(), "there is something to take");
        assert!(ring.put(&record(1)) && woken.0.load(Relaxed) == 0, "it is awake");
        while ring.take().is_some() {}
        assert!(ring.sleep());
        assert!(ring.put(&record(2)) && ring.put(&record(3)));
        assert_eq!(woken.0.load(Relaxed), 1);
    }

    /// Method: one thread puts numbered records in as fast as it can, another takes them out; each comes out whole, in
    /// order, and those put in are those taken out.
    #[test]
    fn records_are_whole_whoever_is_faster() {
        const RECORDS: u64 = if cfg!(miri) { 100 } else { 50_000 };
        let ring = Ring::new(8, Waker::noop().clone());
        let taken = thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=RECORDS {
                    while !ring.put(&record(number)) {
                        thread::yield_now();
                    }
                }
            });
            let mut last = 0;
            while last < RECORDS {
                match ring.take() {
                    Some(taken) => {
                        last += 1;
                        assert_eq!(taken, record(last));
                    }
                    None => thread::yield_now(),
                }
            }
            last
        });
        assert_eq!((taken, ring.take()), (RECORDS, None));
    }
}
