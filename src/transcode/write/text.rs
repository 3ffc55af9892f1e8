//! Scalars as JSON text, appended without a temporary.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// An integer.
#[inline]
pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// An integer in quotes: JSON's numbers do not hold 64 bits everywhere.
#[inline]
pub(super) fn quoted_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.push(b'"');
    integer(out, value);
    out.push(b'"');
}

/// A double or a float: the shortest text that reads back as the same, or the name of what is no number.
#[inline]
pub(super) fn float<F: ryu::Float + Into<f64> + Copy>(out: &mut Vec<u8>, value: F) {
    let wide: f64 = value.into();
    if wide.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else if wide.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if wide > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

/// Base64 with padding, in quotes.
pub(super) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let begin = out.len();
    out.resize(begin + bytes.len().div_ceil(3) * 4, 0);
    let length = STANDARD.encode_slice(bytes, &mut out[begin..]).expect("a third more holds it");
    out.truncate(begin + length);
    out.push(b'"');
}

/// A string in quotes; `false` if it is not UTF-8.
#[must_use]
pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    out.push(b'"');
    let is_text = unquoted(out, bytes);
    out.push(b'"');
    is_text
}

/// Writes a string without its quotes.
#[must_use]
pub(super) fn unquoted(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    // Nearly all strings stop here: one pass that compilers do sixteen bytes at a time.
    if !any(bytes, |byte| needs_escape(byte) | (byte >= 0x80)) {
        out.extend_from_slice(bytes);
        return true;
    }
    if std::str::from_utf8(bytes).is_err() {
        return false;
    }
    for block in bytes.chunks(ESCAPE_BLOCK) {
        if any(block, needs_escape) {
            escape(out, block);
        } else {
            out.extend_from_slice(block);
        }
    }
    true
}

/// Bytes that are looked at together for something to escape.
const ESCAPE_BLOCK: usize = 64;

/// Does any byte answer yes? All are asked, without a branch, so that it is vectorised.
#[inline]
fn any(bytes: &[u8], question: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |any, &byte| any | question(byte))
}

/// RFC 8259 section 7: "quotation mark, reverse solidus, and the control characters (U+0000 through U+001F)".
#[inline]
fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        let letter = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..0x20 => {
                let digit = HEX[usize::from(byte & 0xf)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), digit]);
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
