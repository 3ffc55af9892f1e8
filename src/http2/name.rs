//! Field names as numbers: comparing two known names is comparing two bytes, and a known name needs no memory.

/// The number of a field name, or [`Name::OTHER`] for a name without one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Name(u8);

macro_rules! names {
    ($($constant:ident = $text:literal,)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "it numbers the constants below")]
        #[repr(u8)]
        enum Number { OTHER, $($constant,)* }

        impl Name {
            /// A name that has no number.
            pub const OTHER: Name = Name(Number::OTHER as u8);
            $(
                #[doc = concat!("`", $text, "`")]
                pub const $constant: Name = Name(Number::$constant as u8);
            )*
        }

        /// The names by their numbers.
        pub(super) const TEXTS: &[&str] = &["", $($text,)*];
    };
}

names! {
    // The names of HPACK's static table, in its order: `static_index` counts on it.
    AUTHORITY = ":authority",
    METHOD = ":method",
    PATH = ":path",
    SCHEME = ":scheme",
    STATUS = ":status",
    ACCEPT_CHARSET = "accept-charset",
    ACCEPT_ENCODING = "accept-encoding",
    ACCEPT_LANGUAGE = "accept-language",
    ACCEPT_RANGES = "accept-ranges",
    ACCEPT = "accept",
    ACCESS_CONTROL_ALLOW_ORIGIN = "access-control-allow-origin",
    AGE = "age",
    ALLOW = "allow",
    AUTHORIZATION = "authorization",
    CACHE_CONTROL = "cache-control",
    CONTENT_DISPOSITION = "content-disposition",
    CONTENT_ENCODING = "content-encoding",
    CONTENT_LANGUAGE = "content-language",
    CONTENT_LENGTH = "content-length",
    CONTENT_LOCATION = "content-location",
    CONTENT_RANGE = "content-range",
    CONTENT_TYPE = "content-type",
    COOKIE = "cookie",
    DATE = "date",
    ETAG = "etag",
    EXPECT = "expect",
    EXPIRES = "expires",
    FROM = "from",
    HOST = "host",
    IF_MATCH = "if-match",
    IF_MODIFIED_SINCE = "if-modified-since",
    IF_NONE_MATCH = "if-none-match",
    IF_RANGE = "if-range",
    IF_UNMODIFIED_SINCE = "if-unmodified-since",
    LAST_MODIFIED = "last-modified",
    LINK = "link",
    LOCATION = "location",
    MAX_FORWARDS = "max-forwards",
    PROXY_AUTHENTICATE = "proxy-authenticate",
    PROXY_AUTHORIZATION = "proxy-authorization",
    RANGE = "range",
    REFERER = "referer",
    REFRESH = "refresh",
    RETRY_AFTER = "retry-after",
    SERVER = "server",
    SET_COOKIE = "set-cookie",
    STRICT_TRANSPORT_SECURITY = "strict-transport-security",
    TRANSFER_ENCODING = "transfer-encoding",
    USER_AGENT = "user-agent",
    VARY = "vary",
    VIA = "via",
    WWW_AUTHENTICATE = "www-authenticate",
    // The pseudo-field of RFC 8441, which is known in order to be refused.
    PROTOCOL = ":protocol",
    // Fields of a connection, which HTTP/2 forbids.
    CONNECTION = "connection",
    KEEP_ALIVE = "keep-alive",
    PROXY_CONNECTION = "proxy-connection",
    UPGRADE = "upgrade",
    HTTP2_SETTINGS = "http2-settings",
    // gRPC.
    TE = "te",
    TRAILER = "trailer",
    GRPC_TIMEOUT = "grpc-timeout",
    GRPC_ENCODING = "grpc-encoding",
    GRPC_ACCEPT_ENCODING = "grpc-accept-encoding",
    GRPC_STATUS = "grpc-status",
    GRPC_MESSAGE = "grpc-message",
    GRPC_MESSAGE_TYPE = "grpc-message-type",
    GRPC_STATUS_DETAILS_BIN = "grpc-status-details-bin",
    GRPC_PREVIOUS_RPC_ATTEMPTS = "grpc-previous-rpc-attempts",
    GRPC_RETRY_PUSHBACK_MS = "grpc-retry-pushback-ms",
    GRPC_TAGS_BIN = "grpc-tags-bin",
    GRPC_TRACE_BIN = "grpc-trace-bin",
    // gRPC-Web and the browser.
    X_GRPC_WEB = "x-grpc-web",
    X_USER_AGENT = "x-user-agent",
    ORIGIN = "origin",
    ACCESS_CONTROL_REQUEST_METHOD = "access-control-request-method",
    ACCESS_CONTROL_REQUEST_HEADERS = "access-control-request-headers",
    ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK = "access-control-request-private-network",
    ACCESS_CONTROL_ALLOW_METHODS = "access-control-allow-methods",
    ACCESS_CONTROL_ALLOW_HEADERS = "access-control-allow-headers",
    ACCESS_CONTROL_ALLOW_CREDENTIALS = "access-control-allow-credentials",
    ACCESS_CONTROL_ALLOW_PRIVATE_NETWORK = "access-control-allow-private-network",
    ACCESS_CONTROL_EXPOSE_HEADERS = "access-control-expose-headers",
    ACCESS_CONTROL_MAX_AGE = "access-control-max-age",
    SEC_FETCH_SITE = "sec-fetch-site",
    SEC_FETCH_MODE = "sec-fetch-mode",
    SEC_FETCH_DEST = "sec-fetch-dest",
    DNT = "dnt",
    PRAGMA = "pragma",
    PRIORITY = "priority",
    // Timing, tracing and the way a request took.
    X_REQUEST_TIMEOUT = "x-request-timeout",
    X_RINGWAY_TIMING = "x-ringway-timing",
    SERVER_TIMING = "server-timing",
    TRACEPARENT = "traceparent",
    TRACESTATE = "tracestate",
    BAGGAGE = "baggage",
    X_REQUEST_ID = "x-request-id",
    X_FORWARDED_FOR = "x-forwarded-for",
    X_FORWARDED_PROTO = "x-forwarded-proto",
    X_FORWARDED_HOST = "x-forwarded-host",
    X_REAL_IP = "x-real-ip",
    FORWARDED = "forwarded",
    X_CONTENT_TYPE_OPTIONS = "x-content-type-options",
    ALT_SVC = "alt-svc",
}

/// How many names have a number, [`Name::OTHER`] included.
pub(super) const COUNT: usize = TEXTS.len();

/// The names by their numbers, with one for each number that a byte can be, so that no look-up needs a check.
static BY_NUMBER: [&str; 256] = by_number();

const fn by_number() -> [&'static str; 256] {
    let mut names = [""; 256];
    let mut number = 0;
    while number < COUNT {
        names[number] = TEXTS[number];
        number += 1;
    }
    names
}

/// Slots of the look-up. A quarter of them is used, so that most searches end at the first.
const SLOTS: usize = 512;
const SHORTEST: usize = 2;

/// For each hash the number of a name; those with one hash stand in a row that ends with 0.
static SLOT_OF: [u8; SLOTS] = slots();

const fn slots() -> [u8; SLOTS] {
    let mut slots = [0; SLOTS];
    let mut number = 1;
    while number < COUNT {
        let mut at = hash(TEXTS[number].as_bytes());
        while slots[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        slots[at] = number as u8;
        number += 1;
    }
    slots
}

/// Of the length and four bytes, for a name of at least [`SHORTEST`] bytes.
pub(super) const fn hash(name: &[u8]) -> usize {
    let length = name.len();
    let picked = (name[0] as u32)
        | (name[length - 1] as u32) << 8
        | (name[length / 2] as u32) << 16
        | (name[length - 2] as u32) << 24;
    let mixed = (picked ^ length as u32).wrapping_mul(0x9e37_79b1);
    (mixed >> 23) as usize % SLOTS
}

impl Name {
    /// The number of this name, which has to be in lower case; [`Name::OTHER`] if it has none.
    pub fn of(name: &[u8]) -> Name {
        if name.len() < SHORTEST {
            return Name::OTHER;
        }
        let mut at = hash(name);
        loop {
            let found = Name(SLOT_OF[at]);
            if found == Name::OTHER || found.as_bytes() == name {
                return found;
            }
            at = (at + 1) % SLOTS;
        }
    }

    /// The name; empty for [`Name::OTHER`].
    pub fn as_str(self) -> &'static str {
        BY_NUMBER[usize::from(self.0)]
    }

    /// The name; empty for [`Name::OTHER`].
    pub fn as_bytes(self) -> &'static [u8] {
        self.as_str().as_bytes()
    }

    /// Whether it begins with a colon.
    pub fn is_pseudo(self) -> bool {
        matches!(self.0, 1..=5) || self == Name::PROTOCOL
    }

    /// Its number, below [`COUNT`].
    pub(super) const fn number(self) -> usize {
        self.0 as usize
    }

    /// The name with this number, which has to be below [`COUNT`].
    #[inline]
    pub(super) fn of_number(number: u8) -> Name {
        debug_assert!(usize::from(number) < COUNT, "{number} is no name's");
        Name(number)
    }

    /// The first entry of HPACK's static table with this name.
    pub(super) fn static_index(self) -> Option<u8> {
        const PSEUDO: [u8; 6] = [0, 1, 2, 4, 6, 8];
        match self.0 {
            0 => None,
            1..=5 => Some(PSEUDO[usize::from(self.0)]),
            6..=52 => Some(self.0 + 9),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Name::OTHER { "(other)" } else { self.as_str() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Name> {
        (1..COUNT as u8).map(Name)
    }

    #[test]
    fn every_name_finds_its_number() {
        for name in all() {
            assert_eq!(Name::of(name.as_bytes()), name);
            assert_eq!(name.is_pseudo(), name.as_str().starts_with(':'));
        }
        assert_eq!(Name::of(Name::USER_AGENT.as_bytes()), Name::USER_AGENT);
    }

    #[test]
    fn a_name_that_differs_in_one_byte_has_no_number() {
        for name in all() {
            for at in 0..name.as_bytes().len() {
                let mut other = name.as_bytes().to_vec();
                other[at] ^= 0x80;
                assert_eq!(Name::of(&other), Name::OTHER);
            }
        }
        for other in [&b""[..], b"x", b"Te", b"x-other", &[0xff; 300]] {
            assert_eq!(Name::of(other), Name::OTHER);
        }
    }

    #[test]
    fn searches_are_short() {
        let run = |start: usize| (start..).take_while(|at| SLOT_OF[at % SLOTS] != 0).count();
        assert!((0..SLOTS).map(run).max() <= Some(6));
    }
}
