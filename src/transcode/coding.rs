//! Content codings of JSON bodies (RFC 9110 section 8.4): what a caller sends compressed, and takes compressed.

use std::io::{self, Read, Write};

use crate::config::ContentCoding;

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It is not what it says.
    Malformed,
    /// It has more bytes than allowed.
    TooLarge,
}

/// A coding that is not known, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCoding;

/// The codings that are decoded, as a header field has them.
pub const ACCEPTED: &str = "gzip, br, zstd";

/// The name of a coding in a header field.
pub const fn name(coding: ContentCoding) -> &'static str {
    match coding {
        ContentCoding::Gzip => "gzip",
        ContentCoding::Brotli => "br",
        ContentCoding::Zstd => "zstd",
    }
}

/// Codings of gRPC as a `grpc-accept-encoding` has them.
pub fn grpc_accept_encoding(codings: &[ContentCoding]) -> &'static str {
    match codings {
        [] => "identity",
        [one] => name(*one),
        [ContentCoding::Gzip, ..] => "gzip,zstd",
        _ => "zstd,gzip",
    }
}

/// Reads a `content-encoding`: `None` in it stands for a body that is not encoded.
///
/// # Errors
/// A coding that is not known, or more than one.
pub fn of_body(content_encoding: Option<&[u8]>) -> Result<Option<ContentCoding>, UnknownCoding> {
    let Some(named) = content_encoding.map(<[u8]>::trim_ascii) else { return Ok(None) };
    if named.is_empty() || named.eq_ignore_ascii_case(b"identity") {
        return Ok(None);
    }
    let known = ContentCoding::ALL.into_iter().find(|coding| is_named(named, *coding));
    known.map(Some).ok_or(UnknownCoding)
}

fn is_named(text: &[u8], coding: ContentCoding) -> bool {
    text.eq_ignore_ascii_case(name(coding).as_bytes())
        || (coding == ContentCoding::Gzip && text.eq_ignore_ascii_case(b"x-gzip"))
}

/// The first of `offered` that an `accept-encoding` takes, by its weights and then by their order.
pub fn choose(accept_encoding: &[u8], offered: &[ContentCoding]) -> Option<ContentCoding> {
    let weights = offered.iter().map(|coding| weight(accept_encoding, *coding));
    let mut best = None;
    for (coding, weight) in offered.iter().zip(weights) {
        if weight > best.map_or(0, |(_, best)| best) {
            best = Some((*coding, weight));
        }
    }
    best.map(|(coding, _)| coding)
}

/// The weight of a coding in thousandths; 0 if it is not taken.
fn weight(accept_encoding: &[u8], coding: ContentCoding) -> u32 {
    let mut of_any = 0;
    for item in accept_encoding.split(|byte| *byte == b',') {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let named = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
        let weight = quality.map_or(1000, thousandths);
        if is_named(named, coding) {
            return weight;
        }
        if named == b"*" {
            of_any = weight;
        }
    }
    of_any
}

fn thousandths(quality: &[u8]) -> u32 {
    let quality = str::from_utf8(quality).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (quality.clamp(0.0, 1.0) * 1000.0).round() as u32
}

/// Decodes a body, to at most `length_max` bytes.
///
/// # Errors
/// Its fault.
pub fn decode(coding: ContentCoding, body: &[u8], length_max: usize) -> Result<Vec<u8>, DecodeError> {
    match coding {
        ContentCoding::Gzip => read(flate2::read::MultiGzDecoder::new(body), length_max),
        ContentCoding::Brotli => read(brotli::Decompressor::new(body, BUFFER), length_max),
        ContentCoding::Zstd => {
            let mut decoder = zstd::Decoder::new(body).map_err(|_| DecodeError::Malformed)?;
            // A frame says how much memory it wants; no body that is short enough needs more.
            decoder.window_log_max(WINDOW_LOG_MAX).map_err(|_| DecodeError::Malformed)?;
            read(decoder, length_max)
        }
    }
}

fn read(decoder: impl Read, length_max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoded = Vec::new();
    let mut bounded = decoder.take(length_max as u64 + 1);
    bounded.read_to_end(&mut decoded).map_err(|_| DecodeError::Malformed)?;
    if decoded.len() > length_max { Err(DecodeError::TooLarge) } else { Ok(decoded) }
}

/// Encodes a body, fast rather than small.
///
/// # Errors
/// When a library fails, which then leaves the body as it is.
pub fn encode(coding: ContentCoding, body: &[u8]) -> io::Result<Vec<u8>> {
    let out = Vec::with_capacity(body.len() / 4 + 64);
    match coding {
        ContentCoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
            encoder.write_all(body)?;
            encoder.finish()
        }
        ContentCoding::Brotli => {
            let mut encoder = brotli::CompressorWriter::new(out, BUFFER, BROTLI_QUALITY, BROTLI_WINDOW_LOG);
            encoder.write_all(body)?;
            encoder.flush()?;
            Ok(encoder.into_inner())
        }
        ContentCoding::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL),
    }
}

/// Encodes a body that comes in pieces, each of which can be decoded when it is there.
pub struct StreamEncoder(Encoder);

/// An encoder with what it has written and nobody has taken.
enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl StreamEncoder {
    /// An encoder of a body that begins.
    ///
    /// # Errors
    /// When the library has no memory.
    pub fn new(coding: ContentCoding) -> io::Result<StreamEncoder> {
        let out = Vec::new();
        let encoder = match coding {
            ContentCoding::Gzip => {
                Encoder::Gzip(flate2::write::GzEncoder::new(out, flate2::Compression::fast()))
            }
            ContentCoding::Brotli => {
                let writer = brotli::CompressorWriter::new(out, BUFFER, BROTLI_QUALITY, STREAM_WINDOW_LOG);
                Encoder::Brotli(Box::new(writer))
            }
            ContentCoding::Zstd => {
                let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.window_log(STREAM_WINDOW_LOG)?;
                Encoder::Zstd(encoder)
            }
        };
        Ok(StreamEncoder(encoder))
    }

    /// Puts the coded form of what stands in `out` from `start` on in its place.
    ///
    /// # Errors
    /// When the library fails; `out` then ends at `start`.
    pub fn encode(&mut self, out: &mut Vec<u8>, start: usize) -> io::Result<()> {
        let writer: &mut dyn Write = match &mut self.0 {
            Encoder::Gzip(encoder) => encoder,
            Encoder::Brotli(encoder) => encoder,
            Encoder::Zstd(encoder) => encoder,
        };
        let written = writer.write_all(&out[start..]).and_then(|()| writer.flush());
        out.truncate(start);
        written?;
        out.append(match &mut self.0 {
            Encoder::Gzip(encoder) => encoder.get_mut(),
            Encoder::Brotli(encoder) => encoder.get_mut(),
            Encoder::Zstd(encoder) => encoder.get_mut(),
        });
        Ok(())
    }

    /// The coded end of the body, behind these last bytes of it.
    ///
    /// # Errors
    /// When the library fails.
    pub fn finish(self, last: &[u8]) -> io::Result<Vec<u8>> {
        match self.0 {
            Encoder::Gzip(mut encoder) => encoder.write_all(last).and_then(|()| encoder.finish()),
            Encoder::Brotli(mut encoder) => encoder.write_all(last).map(|()| encoder.into_inner()),
            Encoder::Zstd(mut encoder) => encoder.write_all(last).and_then(|()| encoder.finish()),
        }
    }
}

const BUFFER: usize = 4096;
const BROTLI_QUALITY: u32 = 3;
const BROTLI_WINDOW_LOG: u32 = 20;
const ZSTD_LEVEL: i32 = 1;
/// Streams are many and last long, so each has a window of 64 KiB.
const STREAM_WINDOW_LOG: u32 = 16;
/// 8 MiB, as RFC 9659 asks of the coding `zstd`.
const WINDOW_LOG_MAX: u32 = 23;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ContentCoding; 3] = ContentCoding::ALL;

    #[test]
    fn a_body_comes_back_from_each_coding_and_is_smaller() {
        let body: Vec<u8> = b"{\"name\": \"shelves/a\", \"n\": 17}".repeat(4_000);
        for coding in ALL {
            let encoded = encode(coding, &body).expect("memory is enough");
            assert!(encoded.len() * 5 < body.len(), "{coding:?}: {}", encoded.len());
            assert_eq!(decode(coding, &encoded, body.len()), Ok(body.clone()), "{coding:?}");
            assert_eq!(decode(coding, &encoded, body.len() - 1), Err(DecodeError::TooLarge), "{coding:?}");
            let cut = decode(coding, &encoded[..encoded.len() - 9], body.len());
            assert_eq!(cut, Err(DecodeError::Malformed), "{coding:?}");
            assert_eq!(decode(coding, b"not this", 100), Err(DecodeError::Malformed), "{coding:?}");
        }
    }

    /// Each piece can be read before the next one is there, and repetition pays across pieces.
    #[test]
    fn a_stream_is_decoded_piece_by_piece() {
        let piece = b"{\"name\": \"shelves/a\", \"text\": \"it is on the shelf, between others\"}\n";
        for coding in ALL {
            let mut encoder = StreamEncoder::new(coding).expect("memory is enough");
            let (mut wire, mut plain) = (Vec::new(), Vec::new());
            for _ in 0..50 {
                let start = wire.len();
                wire.extend_from_slice(piece);
                encoder.encode(&mut wire, start).expect("memory is enough");
                plain.extend_from_slice(piece);
                assert_eq!(begun(coding, &wire), plain, "{coding:?}");
            }
            let end = encoder.finish(b"]").expect("memory is enough");
            assert!(wire.len() * 2 < plain.len(), "{coding:?}: {} of {}", wire.len(), plain.len());
            wire.extend(end);
            plain.extend_from_slice(b"]");
            assert_eq!(decode(coding, &wire, 10_000), Ok(plain), "{coding:?}");
        }
    }

    /// The bytes that can be read of a body that has not ended.
    fn begun(coding: ContentCoding, wire: &[u8]) -> Vec<u8> {
        let mut decoder: Box<dyn Read + '_> = match coding {
            ContentCoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(wire)),
            ContentCoding::Brotli => Box::new(brotli::Decompressor::new(wire, BUFFER)),
            ContentCoding::Zstd => Box::new(zstd::Decoder::new(wire).expect("memory is enough")),
        };
        let mut plain = Vec::new();
        let mut piece = [0; 512];
        while let Ok(length @ 1..) = decoder.read(&mut piece) {
            plain.extend_from_slice(&piece[..length]);
        }
        plain
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let zeros = vec![0; 20 << 20];
        for coding in ALL {
            let bomb = encode(coding, &zeros).expect("memory is enough");
            assert!(bomb.len() < 200_000, "{coding:?}: {}", bomb.len());
            assert_eq!(decode(coding, &bomb, 1 << 20), Err(DecodeError::TooLarge), "{coding:?}");
        }
    }

    #[test]
    fn the_weights_choose() {
        use ContentCoding::{Brotli, Gzip, Zstd};
        for (accept_encoding, wanted) in [
            ("", None),
            ("identity", None),
            ("gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip;q=1.0, br;q=0.8", Some(Gzip)),
            ("gzip;q=0", None),
            ("*", Some(Zstd)),
            ("*;q=0.5, zstd;q=0", Some(Brotli)),
            ("br ; q=0.3, gzip;q=0.2", Some(Brotli)),
            ("gzip;q=x", None),
        ] {
            assert_eq!(
                choose(accept_encoding.as_bytes(), &[Zstd, Brotli, Gzip]),
                wanted,
                "{accept_encoding}"
            );
        }
        assert_eq!(choose(b"br", &[Gzip]), None);
        assert_eq!(choose(b"gzip", &[]), None);
    }

    #[test]
    fn the_coding_of_a_body_is_known_or_refused() {
        for (content_encoding, wanted) in [
            (None, Ok(None)),
            (Some(""), Ok(None)),
            (Some("identity"), Ok(None)),
            (Some("gzip"), Ok(Some(ContentCoding::Gzip))),
            (Some("X-Gzip"), Ok(Some(ContentCoding::Gzip))),
            (Some("br"), Ok(Some(ContentCoding::Brotli))),
            (Some("zstd"), Ok(Some(ContentCoding::Zstd))),
            (Some("deflate"), Err(UnknownCoding)),
            (Some("gzip, br"), Err(UnknownCoding)),
        ] {
            assert_eq!(of_body(content_encoding.map(str::as_bytes)), wanted, "{content_encoding:?}");
        }
    }
}
