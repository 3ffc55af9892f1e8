//! The static table (RFC 7541 appendix A).

use super::super::name::Name;
use super::error::Malformed;

/// The entries of the static table.
pub(super) const COUNT: usize = 61;

/// An entry of the static table; index 1 is the first.
pub(super) fn get(index: usize) -> Option<(Name, &'static [u8])> {
    let (name, value) = TABLE.get(index.wrapping_sub(1))?;
    Some((*name, value))
}

/// The fault of an entry that may be named but not used as it stands.
pub(super) fn fault(index: usize) -> Option<Malformed> {
    match index {
        1 | 38 => Some(Malformed::Authority),
        28 => Some(Malformed::ContentLength),
        57 => Some(Malformed::ConnectionField),
        _ => None,
    }
}

static TABLE: [(Name, &[u8]); COUNT] = [
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
            let (name, _) = get(index).unwrap();
            let first = (1..=COUNT).find(|index| get(*index).unwrap().0 == name).unwrap();
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
            let (name, value) = get(index).unwrap();
            assert_eq!(fault(index), check::fault(name, b"", value), "{index}");
        }
    }
}
