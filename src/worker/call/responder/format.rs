//! The forms of a JSON answer's body.

use crate::wire::frame::HEAD_BYTES;

/// The format in which the messages of a response stand in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Format {
    /// A single value: the method answers once.
    Value,
    /// A value a line.
    Lines,
    /// Server-sent events.
    Events,
    /// A JSON array.
    Array,
    /// A `{"result": ...}` on each line, and `{"error": ...}` where the call fails, also if it is the only line.
    Results,
    /// A frame each, as in a stream of Connect's.
    Frames,
}

impl Format {
    /// The first of the streaming formats that `accept` names; lines if it names none. If messages are to be wrapped,
    /// they are, but for events.
    pub(in crate::worker) fn of(accept: &str, is_stream: bool, wraps: bool) -> Format {
        if !is_stream {
            return Format::Value;
        }
        if wraps {
            let is_events = |media: &str| media.split(';').next().unwrap_or_default().trim() == EVENTS;
            return if accept.split(',').any(is_events) { Format::Events } else { Format::Results };
        }
        for media in accept.split(',') {
            let media = media.split(';').next().unwrap_or_default().trim();
            match media {
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => return Format::Lines,
                EVENTS => return Format::Events,
                "application/json" => return Format::Array,
                _ => {}
            }
        }
        Format::Lines
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Format::Value | Format::Array | Format::Results => "application/json",
            Format::Lines => "application/x-ndjson",
            Format::Events => EVENTS,
            Format::Frames => "application/connect+json",
        }
    }

    pub(super) const fn before(self, is_first: bool) -> &'static [u8] {
        match (self, is_first) {
            (Format::Value | Format::Lines, _) => b"",
            (Format::Frames, _) => &[0; HEAD_BYTES],
            (Format::Results, _) => b"{\"result\":",
            (Format::Events, _) => b"data: ",
            (Format::Array, true) => b"[",
            (Format::Array, false) => b",",
        }
    }

    pub(super) const fn after(self) -> &'static [u8] {
        match self {
            Format::Value | Format::Array | Format::Frames => b"",
            Format::Lines => b"\n",
            Format::Results => b"}\n",
            Format::Events => b"\n\n",
        }
    }

    /// The end of a body that succeeded.
    pub(super) const fn end(self, is_empty: bool) -> &'static [u8] {
        match (self, is_empty) {
            (Format::Array, true) => b"[]",
            (Format::Array, false) => b"]",
            (Format::Value | Format::Lines | Format::Events | Format::Results | Format::Frames, _) => b"",
        }
    }

    /// The bytes before the object that describes how a stream failed.
    pub(super) const fn before_error(self, is_first: bool) -> &'static [u8] {
        match self {
            Format::Events => b"event: error\ndata: ",
            Format::Results | Format::Frames => b"",
            Format::Value | Format::Lines | Format::Array => self.before(is_first),
        }
    }

    /// The bytes behind that object.
    pub(super) const fn after_error(self) -> &'static [u8] {
        match self {
            Format::Results => b"\n",
            _ => self.after(),
        }
    }
}

/// The media type of server-sent events.
const EVENTS: &str = "text/event-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_chooses_how_a_stream_is_written() {
        for (accept, wanted) in [
            ("", Format::Lines),
            ("*/*", Format::Lines),
            ("application/x-ndjson", Format::Lines),
            ("text/event-stream", Format::Events),
            ("application/json", Format::Array),
            ("text/html, application/json;q=0.9", Format::Array),
            ("text/event-stream, application/json", Format::Events),
        ] {
            assert_eq!(Format::of(accept, true, false), wanted, "{accept}");
            assert_eq!(Format::of(accept, false, true), Format::Value, "{accept}");
            let wrapped = if wanted == Format::Events { Format::Events } else { Format::Results };
            assert_eq!(Format::of(accept, true, true), wrapped, "{accept}");
        }
    }
}
