//! The rules of RFC 9113 section 8 for single fields. A table keeps the findings with its entry, so that a field that
//! comes again is not read again.

use super::super::head::content_length;
use super::super::name::Name;
use super::error::Malformed;

/// Classes of characters, one bit each.
const TOKEN: u8 = 1;
const NAME: u8 = 2;
const AUTHORITY: u8 = 4;
const PATH: u8 = 8;
const SCHEME: u8 = 16;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric || is_one_of(byte, b"!#$%&'*+-.^_`|~") {
            classes[at] |= TOKEN;
            if !byte.is_ascii_uppercase() {
                classes[at] |= NAME;
            }
        }
        // RFC 3986: unreserved, sub-delims, percent-encoding, a colon, and the brackets of IPv6. No user information.
        if alphanumeric || is_one_of(byte, b"-._~!$&'()*+,;=%:[]") {
            classes[at] |= AUTHORITY;
        }
        // A space would split the request line of HTTP/1.1; a fragment is never sent.
        if byte > b' ' && byte != 0x7f && byte != b'#' {
            classes[at] |= PATH;
        }
        if alphanumeric || is_one_of(byte, b"+-.") {
            classes[at] |= SCHEME;
        }
        at += 1;
    }
    classes
}

const fn is_one_of(byte: u8, set: &[u8]) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

fn all(bytes: &[u8], class: u8) -> bool {
    !bytes.is_empty() && bytes.iter().fold(class, |common, byte| common & CLASSES[usize::from(*byte)]) != 0
}

/// The rule that a field breaks by itself. `other` is the name if it has no number.
pub(super) fn fault(name: Name, other: &[u8], value: &[u8]) -> Option<Malformed> {
    let (good, fault) = match name {
        Name::OTHER if other.first() == Some(&b':') => (false, Malformed::UnknownPseudo),
        Name::OTHER if !all(other, NAME) => (false, Malformed::Name),
        Name::PROTOCOL => (false, Malformed::UnknownPseudo),
        Name::METHOD => (all(value, TOKEN), Malformed::Method),
        Name::SCHEME => (all(value, SCHEME) && value[0].is_ascii_alphabetic(), Malformed::Scheme),
        Name::AUTHORITY | Name::HOST => (all(value, AUTHORITY), Malformed::Authority),
        Name::PATH => (all(value, PATH) && (value[0] == b'/' || value == b"*"), Malformed::Path),
        Name::STATUS => (status(value).is_some(), Malformed::Status),
        Name::CONNECTION
        | Name::KEEP_ALIVE
        | Name::PROXY_CONNECTION
        | Name::TRANSFER_ENCODING
        | Name::UPGRADE => (false, Malformed::ConnectionField),
        Name::TE => (value.eq_ignore_ascii_case(b"trailers"), Malformed::Te),
        Name::CONTENT_LENGTH => (content_length(value).is_some(), Malformed::ContentLength),
        _ => (is_value(value), Malformed::Value),
    };
    (!good).then_some(fault)
}

/// The number that a value of `:status` is.
pub(super) fn status(value: &[u8]) -> Option<u16> {
    match value {
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            Some(value.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
        }
        _ => None,
    }
}

fn is_value(value: &[u8]) -> bool {
    let control = |byte: u8| ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f);
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !value.iter().fold(false, |bad, byte| bad | control(*byte))
        && !space(value.first())
        && !space(value.last())
}
