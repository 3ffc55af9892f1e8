//! gRPC-Web: gRPC for those who cannot see HTTP trailers. The trailers come as a last message, and the text form is all
//! of it in base64.
//!
//! Source: `doc/PROTOCOL-WEB.md`: a frame whose first byte has its high bit set holds the trailers as HTTP/1 fields with
//! names in lower case; `-text` bodies are base64, of which each piece may be padded on its own.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::content;

/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

/// Which form of gRPC-Web a content type names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebEncoding {
    /// `application/grpc-web`, with or without a `+format`.
    Binary,
    /// `application/grpc-web-text`, with or without a `+format`.
    Text,
}

impl WebEncoding {
    /// Reads one media type, parameters aside; `None` if it is not gRPC-Web.
    pub fn of(content_type: &[u8]) -> Option<WebEncoding> {
        let (base, rest) = content::media(content_type).split_at_checked(BASE.len())?;
        if !base.eq_ignore_ascii_case(BASE) {
            return None;
        }
        let form = rest.split(|byte| *byte == b'+').next().unwrap_or_default();
        match form {
            [] => Some(WebEncoding::Binary),
            _ if form.eq_ignore_ascii_case(b"-text") => Some(WebEncoding::Text),
            _ => None,
        }
    }

    /// The content type of a response in this form, with messages in `format`. A caller takes it for `proto` where none
    /// is named, and should not have to.
    pub fn content_type(self, format: Option<&[u8]>) -> Cow<'static, [u8]> {
        match (self, format.unwrap_or(b"proto")) {
            (WebEncoding::Binary, b"proto") => Cow::Borrowed(b"application/grpc-web+proto"),
            (WebEncoding::Text, b"proto") => Cow::Borrowed(b"application/grpc-web-text+proto"),
            (WebEncoding::Binary, other) => Cow::Owned([BASE, b"+", other].concat()),
            (WebEncoding::Text, other) => Cow::Owned([BASE, b"-text+", other].concat()),
        }
    }
}

const BASE: &[u8] = b"application/grpc-web";

/// Appends the frame that holds these trailers.
pub fn write_trailers<'a>(trailers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) {
    out.push(TRAILERS);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    for (name, value) in trailers {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(out.len() - length_at - 4).expect("trailers are far smaller than 4 GiB");
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}

/// The text form of these bytes, padded on its own.
pub fn to_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Turns a body in text form into bytes, whatever the pieces are that it comes in.
#[derive(Clone, Debug, Default)]
pub struct FromText {
    /// Characters that do not make a group of four yet.
    rest: [u8; 4],
    rest_count: usize,
}

/// A body that is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText;

impl FromText {
    /// Appends the bytes that this piece completes.
    ///
    /// # Errors
    /// When it is not base64. Padding may come in the middle: senders pad each piece on its own.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), NotText> {
        let mut piece = piece;
        if self.rest_count > 0 {
            let step = piece.len().min(4 - self.rest_count);
            self.rest[self.rest_count..self.rest_count + step].copy_from_slice(&piece[..step]);
            self.rest_count += step;
            piece = &piece[step..];
            if self.rest_count < 4 {
                return Ok(());
            }
            self.rest_count = 0;
            decode(&self.rest, out)?;
        }
        let whole = piece.len() - piece.len() % 4;
        decode(&piece[..whole], out)?;
        let rest = &piece[whole..];
        self.rest[..rest.len()].copy_from_slice(rest);
        self.rest_count = rest.len();
        Ok(())
    }

    /// Whether the body may end here.
    pub fn is_between(&self) -> bool {
        self.rest_count == 0
    }
}

/// Decodes groups of four, of which any may be padded.
fn decode(groups: &[u8], out: &mut Vec<u8>) -> Result<(), NotText> {
    let mut rest = groups;
    while !rest.is_empty() {
        let padding = rest.iter().position(|byte| *byte == b'=');
        let end = padding.map_or(rest.len(), |at| at - at % 4 + 4);
        STANDARD.decode_vec(&rest[..end], out).map_err(|_| NotText)?;
        rest = &rest[end..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn content_types_are_told_apart() {
        let table = [
            ("application/grpc-web", Some(WebEncoding::Binary)),
            ("application/grpc-web+proto", Some(WebEncoding::Binary)),
            ("Application/gRPC-Web+proto;charset=utf-8", Some(WebEncoding::Binary)),
            ("application/grpc-web-text", Some(WebEncoding::Text)),
            ("application/grpc-web-text+proto", Some(WebEncoding::Text)),
            ("application/grpc-web-text; a=b", Some(WebEncoding::Text)),
            ("application/grpc-web-text, */*", Some(WebEncoding::Text)),
            ("application/grpc-web+json", Some(WebEncoding::Binary)),
            ("application/grpc-web+", Some(WebEncoding::Binary)),
            ("application/grpc-web-Text+json", Some(WebEncoding::Text)),
            ("application/grpc-web-text+", Some(WebEncoding::Text)),
            ("application/grpc-webx", None),
            ("application/grpc-webx+json", None),
            ("application/grpc-web-textx", None),
            ("application/grpc", None),
            ("application/json", None),
            ("", None),
        ];
        for (content_type, wanted) in table {
            assert_eq!(WebEncoding::of(content_type.as_bytes()), wanted, "{content_type:?}");
        }
    }

    #[test]
    fn an_answer_says_its_form_and_the_format_of_its_messages() {
        for (form, format, wanted) in [
            (WebEncoding::Binary, None, "application/grpc-web+proto"),
            (WebEncoding::Binary, Some("proto"), "application/grpc-web+proto"),
            (WebEncoding::Binary, Some("json"), "application/grpc-web+json"),
            (WebEncoding::Text, None, "application/grpc-web-text+proto"),
            (WebEncoding::Text, Some("thrift"), "application/grpc-web-text+thrift"),
        ] {
            assert_eq!(&*form.content_type(format.map(str::as_bytes)), wanted.as_bytes());
        }
    }

    #[test]
    fn trailers_are_a_frame_of_fields() {
        let trailers: [(&[u8], &[u8]); 2] = [(b"grpc-status", b"5"), (b"grpc-message", b"no such%21")];
        let mut out = Vec::new();
        write_trailers(trailers, &mut out);
        assert_eq!(out[..5], [0x80, 0, 0, 0, 42]);
        assert_eq!(&out[5..], b"grpc-status: 5\r\ngrpc-message: no such%21\r\n");
    }

    #[test]
    fn text_comes_back_whatever_the_pieces() {
        let mut random = Random::seeded(7);
        for _ in 0..500 {
            let mut text = String::new();
            let mut wanted = Vec::new();
            for _ in 0..random.below(4) {
                let bytes: Vec<u8> =
                    (0..random.below(20)).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect();
                text += &to_text(&bytes);
                wanted.extend(bytes);
            }
            let (mut reader, mut out) = (FromText::default(), Vec::new());
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + random.below_u64(rest.len() as u64) as usize);
                reader.feed(piece, &mut out).expect("it is base64");
                rest = after;
            }
            assert!(reader.is_between());
            assert_eq!(out, wanted);
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["!!!!", "ab=c", "====", "abc\n"] {
            let mut out = Vec::new();
            assert_eq!(FromText::default().feed(text.as_bytes(), &mut out), Err(NotText), "{text:?}");
        }
        let mut cut = FromText::default();
        cut.feed(b"abc", &mut Vec::new()).expect("so far it is");
        assert!(!cut.is_between());
    }
}
