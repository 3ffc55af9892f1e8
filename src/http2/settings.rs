//! SETTINGS (RFC 9113 section 6.5): what we announce and hold peers to, and what a peer has announced.

use super::frame::{DEFAULT_MAX_FRAME_SIZE, ErrorCode, FrameHead, kind};
use super::guard::Budgets;

/// The largest window (RFC 9113 section 6.9.1).
pub const MAX_WINDOW: u32 = 0x7fff_ffff;

/// Each window before anything was announced.
pub const DEFAULT_WINDOW: u32 = 65_535;

/// Bytes of a service's compressed head, at least.
const SERVICE_BLOCK_MAX: usize = 1024 * 1024;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// Bounds of one connection that are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Streams that a client may have open at once.
    pub max_concurrent_streams: u32,
    /// Bytes that a peer may send on a stream before some are taken.
    pub stream_window: u32,
    /// Bytes that a stream's window grows to for a peer that fills it although all is taken at once.
    pub max_stream_window: u32,
    /// Bytes that a peer may send on all streams together before some are taken, and so the most that a connection
    /// holds of what it received.
    pub connection_window: u32,
    /// Bytes of the largest frame that is taken.
    pub max_frame_size: u32,
    /// Bytes of a head's fields, counted as RFC 9113 section 6.5.2 counts them.
    pub max_header_list_size: u32,
    /// Fields of a head, without pseudo-fields.
    pub max_headers_count: u32,
    /// CONTINUATION frames of one head.
    pub max_continuations: u32,
    /// Bytes that are staged at most for a peer that does not read. A quarter of it is kept for frames without payload.
    pub max_send_buffer_size: u32,
    /// Bytes a second that a peer has to take of waiting ones; a peer that takes less is as one that takes nothing.
    pub min_send_rate: u32,
    /// Budgets of frames that cost much and carry nothing.
    pub budgets: Budgets,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            max_concurrent_streams: 250,
            stream_window: 256 * 1024,
            max_stream_window: 4 * 1024 * 1024,
            connection_window: 16 * 1024 * 1024,
            max_frame_size: DEFAULT_MAX_FRAME_SIZE,
            max_header_list_size: 16 * 1024,
            max_headers_count: 100,
            max_continuations: 32,
            max_send_buffer_size: 256 * 1024,
            min_send_rate: 256,
            budgets: Budgets::default(),
        }
    }
}

impl Bounds {
    /// Bytes of a compressed head, over all of its frames. A field takes at least one byte there and 32 in the list, so
    /// a head within the other bounds is within this one unless its sender pads it with what carries nothing.
    ///
    /// A service may send more: strangers use its connection, which goes on only if a head is read to its end.
    pub(super) fn max_block(&self, is_client: bool) -> usize {
        let usual = self.max_header_list_size as usize * 2 + self.max_frame_size as usize;
        if is_client { usual.max(SERVICE_BLOCK_MAX) } else { usual }
    }

    /// Bytes that are staged at most before payload waits. Answers to a peer's frames go beyond.
    pub(super) fn max_payload(&self) -> usize {
        self.max_send_buffer_size as usize / 4 * 3
    }

    /// Writes our first SETTINGS.
    pub(super) fn announce(&self, is_client: bool, out: &mut Vec<u8>) {
        let role =
            if is_client { (ENABLE_PUSH, 0) } else { (MAX_CONCURRENT_STREAMS, self.max_concurrent_streams) };
        let settings = [
            role,
            (INITIAL_WINDOW_SIZE, self.stream_window),
            (MAX_FRAME_SIZE, self.max_frame_size),
            (MAX_HEADER_LIST_SIZE, self.max_header_list_size),
        ];
        FrameHead { length: settings.len() as u32 * 6, kind: kind::SETTINGS, flags: 0, stream: 0 }.write(out);
        for (id, value) in settings {
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Settings of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub header_table_size: u32,
    pub max_concurrent_streams: u32,
    pub initial_window_size: u32,
    pub max_frame_size: u32,
    pub max_header_list_size: u32,
}

impl Peer {
    /// Settings of a peer that has announced none. Until a server's arrive it is taken to allow as many streams as
    /// most do.
    pub(super) const fn before_settings() -> Peer {
        Peer {
            header_table_size: 4096,
            max_concurrent_streams: 100,
            initial_window_size: DEFAULT_WINDOW,
            max_frame_size: DEFAULT_MAX_FRAME_SIZE,
            max_header_list_size: u32::MAX,
        }
    }

    /// Takes over the payload of a SETTINGS frame. The smallest of the table sizes in it is returned, for the table has
    /// to shrink to that (RFC 7541 section 4.2).
    ///
    /// # Errors
    /// The connection error for a value that is not allowed.
    pub(super) fn apply(&mut self, payload: &[u8], is_first: bool) -> Result<Option<u32>, ErrorCode> {
        if !payload.len().is_multiple_of(6) {
            return Err(ErrorCode::FRAME_SIZE_ERROR);
        }
        if is_first {
            // A peer that announces no limit has none.
            self.max_concurrent_streams = u32::MAX;
        }
        let mut smallest_table = None;
        for setting in payload.as_chunks::<6>().0 {
            let [a, b, c, d, e, f] = *setting;
            let value = u32::from_be_bytes([c, d, e, f]);
            match u16::from_be_bytes([a, b]) {
                HEADER_TABLE_SIZE => {
                    self.header_table_size = value;
                    smallest_table = Some(smallest_table.map_or(value, |smallest: u32| smallest.min(value)));
                }
                ENABLE_PUSH if value > 1 => return Err(ErrorCode::PROTOCOL_ERROR),
                MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
                INITIAL_WINDOW_SIZE if value > MAX_WINDOW => return Err(ErrorCode::FLOW_CONTROL_ERROR),
                INITIAL_WINDOW_SIZE => self.initial_window_size = value,
                MAX_FRAME_SIZE if !(DEFAULT_MAX_FRAME_SIZE..=0xff_ffff).contains(&value) => {
                    return Err(ErrorCode::PROTOCOL_ERROR);
                }
                MAX_FRAME_SIZE => self.max_frame_size = value,
                MAX_HEADER_LIST_SIZE => self.max_header_list_size = value,
                // Unknown ones are ignored (RFC 9113 section 6.5.2).
                _ => {}
            }
        }
        Ok(smallest_table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(settings: &[(u16, u32)]) -> Result<Peer, ErrorCode> {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        let mut peer = Peer::before_settings();
        peer.apply(&payload, true).map(|_| peer)
    }

    #[test]
    fn values_are_taken_or_refused() {
        let none = Peer { max_concurrent_streams: u32::MAX, ..Peer::before_settings() };
        for (settings, expected) in [
            (&[][..], Ok(none.clone())),
            (&[(1, 0), (77, 5)], Ok(Peer { header_table_size: 0, ..none.clone() })),
            (&[(2, 1)], Ok(none.clone())),
            (&[(2, 2)], Err(ErrorCode::PROTOCOL_ERROR)),
            (&[(3, 7), (3, 8)], Ok(Peer { max_concurrent_streams: 8, ..none.clone() })),
            (&[(4, MAX_WINDOW)], Ok(Peer { initial_window_size: MAX_WINDOW, ..none.clone() })),
            (&[(4, MAX_WINDOW + 1)], Err(ErrorCode::FLOW_CONTROL_ERROR)),
            (&[(5, 16_383)], Err(ErrorCode::PROTOCOL_ERROR)),
            (&[(5, 16_777_215)], Ok(Peer { max_frame_size: 16_777_215, ..none.clone() })),
            (&[(5, 16_777_216)], Err(ErrorCode::PROTOCOL_ERROR)),
            (&[(6, 10)], Ok(Peer { max_header_list_size: 10, ..none })),
        ] {
            assert_eq!(applied(settings), expected, "{settings:?}");
        }
        assert_eq!(Peer::before_settings().apply(&[0; 5], true), Err(ErrorCode::FRAME_SIZE_ERROR));
    }

    #[test]
    fn an_announcement_is_understood() {
        let bounds = Bounds { max_concurrent_streams: 9, stream_window: 1 << 20, ..Bounds::default() };
        let mut out = Vec::new();
        bounds.announce(false, &mut out);
        let mut peer = Peer::before_settings();
        peer.apply(&out[super::super::frame::HEAD..], true).expect("ours are right");
        assert_eq!((peer.max_concurrent_streams, peer.initial_window_size), (9, 1 << 20));
    }
}
