//! Extensions specific to the HTTP/2 protocol.

use crate::hpack::BytesStr;

use bytes::Bytes;
use std::fmt;

/// Represents the `:protocol` pseudo-header used by
/// the [Extended CONNECT Protocol].
///
/// [Extended CONNECT Protocol]: https://datatracker.ietf.org/doc/html/rfc8441#section-4
#[derive(Clone, Eq, PartialEq)]
pub struct Protocol {
    value: BytesStr,
}

impl Protocol {
    /// Converts a static string to a protocol name.
    pub const fn from_static(value: &'static str) -> Self {
        Self {
            value: BytesStr::from_static(value),
        }
    }

    /// Returns a str representation of the header.
    pub fn as_str(&self) -> &str {
        self.value.as_str()
    }

    pub(crate) fn try_from(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        Ok(Self {
            value: BytesStr::try_from(bytes)?,
        })
    }
}

impl<'a> From<&'a str> for Protocol {
    fn from(value: &'a str) -> Self {
        Self {
            value: BytesStr::from(value),
        }
    }
}

impl AsRef<[u8]> for Protocol {
    fn as_ref(&self) -> &[u8] {
        self.value.as_ref()
    }
}

/// A field of a request whose value is new each time. It is sent as it is and
/// never indexed, and needs no place in a `HeaderMap`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FreshField {
    name: &'static str,
    value: [u8; Self::LONGEST],
    len: u8,
}

impl FreshField {
    /// Bytes of the longest value.
    pub const LONGEST: usize = 56;

    /// A field with this name, in lower case, and this value, both in visible
    /// ASCII: nobody looks at them again.
    pub fn new<const LEN: usize>(name: &'static str, value: &[u8; LEN]) -> Self {
        const { assert!(LEN <= Self::LONGEST) };
        let mut field = FreshField {
            name,
            value: [0; Self::LONGEST],
            len: LEN as u8,
        };
        field.value[..LEN].copy_from_slice(value);
        field
    }

    pub(crate) fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.value[..self.len as usize]
    }
}

impl fmt::Debug for FreshField {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // Never indexed, so it may be a secret.
        f.debug_tuple("FreshField").field(&self.name).finish()
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.value.fmt(f)
    }
}
