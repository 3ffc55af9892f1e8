//! The Connect protocol: RPCs over plain HTTP, for callers that do not speak gRPC.
//!
//! A unary call is a POST whose body is the message itself. A stream is made of gRPC's frames, and a last frame that
//! holds status and trailers in JSON. Source: the Connect protocol reference, <https://connectrpc.com/docs/protocol>.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::content;

/// The form of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One message each way, without frames.
    Unary,
    /// Messages in frames.
    Stream,
}

/// The field in which callers name the version that they speak, and that version.
pub const VERSION: (&[u8], &[u8]) = (b"connect-protocol-version", b"1");

/// The field for the time that a call may take.
pub const TIMEOUT: &[u8] = b"connect-timeout-ms";

/// The prefix of the names of trailers in the head of a unary response.
pub const TRAILER_PREFIX: &[u8] = b"trailer-";

/// The flag of the frame that ends a stream.
const END: u8 = 0x02;

const APPLICATION: &[u8] = b"application/";
const STREAM: &[u8] = b"connect+";

impl Kind {
    /// The form that a content type means; `None` if it is not Connect's. `is_said`: the request names a version of
    /// Connect. Types that other callers use, too, mean a call only then.
    pub fn of(content_type: &[u8], is_said: bool) -> Option<Kind> {
        let subtype = subtype(content_type)?;
        let is_stream = strip(subtype, STREAM).is_some_and(|codec| !codec.is_empty());
        let is_unary = !subtype.is_empty() && (is_said || subtype.eq_ignore_ascii_case(b"proto"));
        if is_stream { Some(Kind::Stream) } else { is_unary.then_some(Kind::Unary) }
    }

    /// The fields for the encoding of messages, and for those that the sender takes.
    pub fn encodings(self) -> [&'static [u8]; 2] {
        match self {
            Kind::Unary => [b"content-encoding", b"accept-encoding"],
            Kind::Stream => [b"connect-content-encoding", b"connect-accept-encoding"],
        }
    }

    /// The content type of messages in this codec.
    pub fn content_type(self, codec: &[u8]) -> Cow<'static, [u8]> {
        match (self, codec) {
            (Kind::Unary, b"proto") => Cow::Borrowed(b"application/proto"),
            (Kind::Unary, b"json") => Cow::Borrowed(b"application/json"),
            (Kind::Stream, b"proto") => Cow::Borrowed(b"application/connect+proto"),
            (Kind::Stream, b"json") => Cow::Borrowed(b"application/connect+json"),
            (Kind::Unary, other) => Cow::Owned([APPLICATION, other].concat()),
            (Kind::Stream, other) => Cow::Owned([APPLICATION, STREAM, other].concat()),
        }
    }
}

/// The codec of messages that a content type of Connect or gRPC names: `proto` if none.
pub fn codec(content_type: &[u8]) -> &[u8] {
    if content::is_like_grpc(content_type) {
        return content::format(content_type).unwrap_or(b"proto");
    }
    let subtype = subtype(content_type).unwrap_or_default();
    strip(subtype, STREAM).unwrap_or(subtype)
}

/// The part after `application/`, without parameters.
fn subtype(content_type: &[u8]) -> Option<&[u8]> {
    strip(content::media(content_type), APPLICATION)
}

/// The part after `prefix`, whatever its case.
fn strip<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (begin, rest) = text.split_at_checked(prefix.len())?;
    begin.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Parses a `connect-timeout-ms`: at most ten digits.
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || value.len() > 10 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis = value.iter().fold(0, |millis, digit| millis * 10 + u64::from(digit - b'0'));
    Some(Duration::from_millis(millis))
}

/// The parameters of a unary call by GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// The codec of the message.
    pub codec: Vec<u8>,
    /// The message's encoding.
    pub compression: Option<Vec<u8>>,
    /// The message.
    pub message: Vec<u8>,
}

impl Get {
    /// Whether a query is that of a call.
    pub fn is_meant(query: &str) -> bool {
        query.split('&').any(|parameter| parameter == "connect=v1")
    }

    /// Reads the query of a call.
    ///
    /// # Errors
    /// The parameter that is missing or unreadable.
    pub fn parse(query: &str) -> Result<Get, &'static str> {
        let (mut codec, mut compression, mut message, mut is_base64) = (None, None, None, false);
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "encoding" => codec = Some(unescape(value)?),
                "compression" => compression = Some(unescape(value)?).filter(|name| name != b"identity"),
                "message" => message = Some(unescape(value)?),
                "base64" => is_base64 = value == "1",
                _ => {}
            }
        }
        let codec = codec.filter(|codec| !codec.is_empty()).ok_or("the query names no `encoding`")?;
        let message = message.ok_or("the query has no `message`")?;
        let message = if is_base64 { from_base64(&message)? } else { message };
        Ok(Get { codec, compression, message })
    }
}

/// Base64 with the alphabet for URLs, padded or not.
fn from_base64(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    URL_SAFE_NO_PAD.decode(&text[..end]).map_err(|_| "the `message` is not base64 for URLs")
}

fn unescape(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let value = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                let value = value.and_then(|value| u8::try_from(value).ok());
                value.ok_or("a percent sign in the query that two hexadecimal digits do not follow")?
            }
            other => other,
        });
    }
    Ok(out)
}

/// Puts the JSON of status and trailers into the frame that ends a stream.
pub fn end_frame(json: &[u8]) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(5 + json.len());
    frame.push(END);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(json);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_the_form_and_the_codec() {
        for (content_type, is_said, kind, codec_name) in [
            ("application/proto", false, Some(Kind::Unary), "proto"),
            ("application/proto", true, Some(Kind::Unary), "proto"),
            ("application/json", false, None, "json"),
            ("Application/JSON; charset=utf-8", true, Some(Kind::Unary), "JSON"),
            ("application/connect+json", false, Some(Kind::Stream), "json"),
            ("application/Connect+proto", true, Some(Kind::Stream), "proto"),
            ("application/connect+", false, None, ""),
            ("application/", true, None, ""),
            ("text/plain", true, None, ""),
            ("", true, None, ""),
        ] {
            assert_eq!(Kind::of(content_type.as_bytes(), is_said), kind, "{content_type} {is_said}");
            assert_eq!(codec(content_type.as_bytes()), codec_name.as_bytes(), "{content_type}");
        }
        assert_eq!(codec(b"application/grpc"), b"proto");
        assert_eq!(codec(b"application/grpc+thrift"), b"thrift");
        for kind in [Kind::Unary, Kind::Stream] {
            for name in ["proto", "json", "thrift"] {
                let content_type = kind.content_type(name.as_bytes());
                assert_eq!(Kind::of(&content_type, true), Some(kind), "{name}");
                assert_eq!(codec(&content_type), name.as_bytes());
            }
        }
    }

    #[test]
    fn a_get_has_its_message_in_the_query() {
        let get = |codec: &str, compression: Option<&str>, message: &[u8]| Get {
            codec: codec.into(),
            compression: compression.map(|name| name.into()),
            message: message.to_vec(),
        };
        for (query, wanted) in [
            ("connect=v1&encoding=json&message=%7B%7D", Ok(get("json", None, b"{}"))),
            ("message=CAE&base64=1&encoding=proto&connect=v1", Ok(get("proto", None, b"\x08\x01"))),
            ("message=_-8%3D&base64=1&encoding=proto", Ok(get("proto", None, b"\xff\xef"))),
            ("encoding=json&message=a+b&compression=gzip", Ok(get("json", Some("gzip"), b"a b"))),
            ("encoding=proto&message=", Ok(get("proto", None, b""))),
            ("encoding=proto&message=&compression=identity", Ok(get("proto", None, b""))),
            ("message=x", Err("the query names no `encoding`")),
            ("encoding=json", Err("the query has no `message`")),
            ("encoding=json&message=*&base64=1", Err("the `message` is not base64 for URLs")),
            (
                "encoding=json&message=%7",
                Err("a percent sign in the query that two hexadecimal digits do not follow"),
            ),
        ] {
            assert_eq!(Get::parse(query), wanted, "{query}");
        }
        for (query, wanted) in [("a=1&connect=v1", true), ("connect=v2", false), ("", false)] {
            assert_eq!(Get::is_meant(query), wanted, "{query}");
        }
    }

    #[test]
    fn timeouts_are_up_to_ten_digits() {
        for (value, wanted) in [
            ("0", Some(0)),
            ("250", Some(250)),
            ("9999999999", Some(9_999_999_999)),
            ("10000000000", None),
            ("", None),
            ("-1", None),
            ("1s", None),
            ("1.5", None),
        ] {
            assert_eq!(parse_timeout(value.as_bytes()), wanted.map(Duration::from_millis), "{value}");
        }
    }
}
