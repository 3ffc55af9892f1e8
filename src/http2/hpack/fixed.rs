//! The static table (RFC 7541 appendix A).

use super::super::bytes::STEP;
use super::super::name::Name;
use super::error::Malformed;

/// The entries of the static table.
pub(super) const COUNT: usize = 61;

/// An entry of the static table.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) name: Name,
    /// The fault of an entry that may be named but not used as it stands.
    pub(super) fault: Option<Malformed>,
    length: u8,
    /// The value, and more.
    pub(super) bytes: [u8; STEP],
}

impl Entry {
    pub(super) fn length(&self) -> usize {
        usize::from(self.length)
    }
}

/// An entry of the static table; index 1 is the first.
#[inline]
pub(super) fn get(index: usize) -> Option<&'static Entry> {
    ENTRIES.get(index.wrapping_sub(1))
}

static ENTRIES: [Entry; COUNT] = entries();

const fn entries() -> [Entry; COUNT] {
    let mut entries = [Entry { name: Name::OTHER, fault: None, length: 0, bytes: [0; STEP] }; COUNT];
    let mut at = 0;
    while at < COUNT {
        let (name, value) = TABLE[at];
        let (first, _) = entries[at].bytes.split_at_mut(value.len());
        first.copy_from_slice(value);
        entries[at].name = name;
        entries[at].length = value.len() as u8;
        entries[at].fault = fault(at + 1);
        at += 1;
    }
    entries
}

const fn fault(index: usize) -> Option<Malformed> {
    match index {
        1 | 38 => Some(Malformed::Authority),
        28 => Some(Malformed::ContentLength),
        57 => Some(Malformed::ConnectionField),
        _ => None,
    }
}

const TABLE: [(Name, &[u8]); COUNT] = [
    (Name::AUTHORITY, b""),
    (Name::METHOD, b"GET"),
    (Name::METHOD, b"POST"),
    (Name::PATH, b"/"),
    (Name::PATH, b"/index.html"),
    (Name::SCHEME, b"http"),
    (Name::SCHEME, b"https"),
    (Name::STATUS, b"200"),
    (Name::STATUS, b"204"),
    (Name::STATUS, b"206"),
    (Name::STATUS, b"304"),
    (Name::STATUS, b"400"),
    (Name::STATUS, b"404"),
    (Name::STATUS, b"500"),
    (Name::ACCEPT_CHARSET, b""),
    (Name::ACCEPT_ENCODING, b"gzip, deflate"),
    (Name::ACCEPT_LANGUAGE, b""),
    (Name::ACCEPT_RANGES, b""),
    (Name::ACCEPT, b""),
    (Name::ACCESS_CONTROL_ALLOW_ORIGIN, b""),
    (Name::AGE, b""),
    (Name::ALLOW, b""),
    (Name::AUTHORIZATION, b""),
    (Name::CACHE_CONTROL, b""),
    (Name::CONTENT_DISPOSITION, b""),
    (Name::CONTENT_ENCODING, b""),
    (Name::CONTENT_LANGUAGE, b""),
    (Name::CONTENT_LENGTH, b""),
    (Name::CONTENT_LOCATION, b""),
    (Name::CONTENT_RANGE, b""),
    (Name::CONTENT_TYPE, b""),
    (Name::COOKIE, b""),
    (Name::DATE, b""),
    (Name::ETAG, b""),
    (Name::EXPECT, b""),
    (Name::EXPIRES, b""),
    (Name::FROM, b""),
    (Name::HOST, b""),
    (Name::IF_MATCH, b""),
    (Name::IF_MODIFIED_SINCE, b""),
    (Name::IF_NONE_MATCH, b""),
    (Name::IF_RANGE, b""),
    (Name::IF_UNMODIFIED_SINCE, b""),
    (Name::LAST_MODIFIED, b""),
    (Name::LINK, b""),
    (Name::LOCATION, b""),
    (Name::MAX_FORWARDS, b""),
    (Name::PROXY_AUTHENTICATE, b""),
    (Name::PROXY_AUTHORIZATION, b""),
    (Name::RANGE, b""),
    (Name::REFERER, b""),
    (Name::REFRESH, b""),
    (Name::RETRY_AFTER, b""),
    (Name::SERVER, b""),
    (Name::SET_COOKIE, b""),
    (Name::STRICT_TRANSPORT_SECURITY, b""),
    (Name::TRANSFER_ENCODING, b""),
    (Name::USER_AGENT, b""),
    (Name::VARY, b""),
    (Name::VIA, b""),
    (Name::WWW_AUTHENTICATE, b""),
];

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn names_find_their_first_entry() {
        for index in 1..=COUNT {
            let name = get(index).unwrap().name;
            let first = (1..=COUNT).find(|index| get(*index).unwrap().name == name).unwrap();
            assert_eq!(name.static_index().map(usize::from), Some(first));
        }
        for name in [Name::OTHER, Name::TE, Name::PROTOCOL, Name::ALT_SVC] {
            assert_eq!(name.static_index(), None);
        }
        assert!(get(0).is_none() && get(COUNT + 1).is_none());
    }

    #[test]
    fn faults_are_those_of_the_check() {
        for index in 1..=COUNT {
            let entry = get(index).unwrap();
            assert_eq!(entry.fault, check::fault(entry.name, b"", &entry.bytes[..entry.length()]), "{index}");
        }
    }
}
