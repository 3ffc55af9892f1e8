//! Metadata in fields with a prefix, as grpc-gateway has it.

use std::rc::Rc;

use crate::http2::{Field, Head, Heads, Name};
use crate::policy::caller;
use crate::worker::call::headers;

/// Before the name of what is sent first.
const METADATA: &[u8] = b"grpc-metadata-";
/// Before the name of what is sent last.
pub(in crate::worker) const TRAILER: &[u8] = b"grpc-trailer-";

/// Takes the prefix off the fields of a request. Names that say something to HTTP, to gRPC or of the way a request took
/// are left out: by a prefix nobody says what may not be said without.
pub(in crate::worker) fn strip(head: &mut Head) {
    let mut named: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for field in head.iter() {
        if let Some(name) = field.name_bytes.strip_prefix(METADATA)
            && is_metadata(name)
        {
            named.push((name.to_vec(), field.value.to_vec()));
        }
    }
    head.retain(|field| !field.name_bytes.starts_with(METADATA));
    for (name, value) in named {
        head.push_named(&name, &value);
    }
}

fn is_metadata(name: &[u8]) -> bool {
    let number = Name::of(name);
    let is_of_the_way = matches!(number, Name::VIA | Name::X_REQUEST_ID | Name::X_RINGWAY_TIMING)
        || caller::is_of_proxies(name);
    let is_reserved = name.is_empty() || name.starts_with(b":") || name.starts_with(b"grpc-");
    !(is_reserved || is_of_the_way || headers::is_not_sent_on(number))
}

/// Gives each field of a response the prefix.
pub(in crate::worker) fn add(heads: &Rc<Heads>, head: &mut Head) {
    let mut fields = heads.head();
    fields.append_from(head);
    head.retain(|_| false);
    for field in fields.iter() {
        push(head, METADATA, field);
    }
}

/// Adds a field whose name gets a prefix, if there is one. What HTTP asks for with 401 keeps its name.
pub(in crate::worker) fn push(head: &mut Head, prefix: &[u8], field: Field<'_>) {
    if prefix.is_empty() || field.name == Name::WWW_AUTHENTICATE {
        head.push_named(field.name_bytes, field.value);
    } else {
        head.push_named(&[prefix, field.name_bytes].concat(), field.value);
    }
}

/// Fields about the body's framing, which a service must not send behind its last message.
pub(in crate::worker) fn is_of_a_body(name: Name) -> bool {
    matches!(
        name,
        Name::CONTENT_TYPE
            | Name::CONTENT_LENGTH
            | Name::TRAILER
            | Name::TRANSFER_ENCODING
            | Name::CONNECTION
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(head: &Head) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        head.iter().map(|field| (text(field.name_bytes), text(field.value))).collect()
    }

    #[test]
    fn a_prefix_says_nothing_that_may_not_be_said_without() {
        for (name, wanted) in [
            ("grpc-metadata-x-user", Some("x-user")),
            ("grpc-metadata-authorization", Some("authorization")),
            ("grpc-metadata-x-bin", Some("x-bin")),
            ("grpc-metadata-grpc-timeout", None),
            ("grpc-metadata-te", None),
            ("grpc-metadata-host", None),
            ("grpc-metadata-content-type", None),
            ("grpc-metadata-transfer-encoding", None),
            ("grpc-metadata-x-forwarded-for", None),
            ("grpc-metadata-x-ringway-timing", None),
            ("grpc-metadata-x-request-timeout", None),
            ("grpc-metadata-", None),
            ("grpc-metadata-:path", None),
            ("x-other", Some("x-other")),
        ] {
            let mut head = Heads::new().head();
            head.push_named(name.as_bytes(), b"1");
            strip(&mut head);
            let wanted: Vec<_> = wanted.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
            assert_eq!(fields(&head), wanted, "{name}");
        }
    }

    #[test]
    fn answers_get_it() {
        let heads = Heads::new();
        let mut head = heads.head();
        head.set_status(200);
        for name in ["x-one", "x-one", "www-authenticate", "date"] {
            head.push_named(name.as_bytes(), b"1");
        }
        add(&heads, &mut head);
        let names: Vec<String> = fields(&head).into_iter().map(|(name, _)| name).collect();
        let wanted = ["grpc-metadata-x-one", "grpc-metadata-x-one", "www-authenticate", "grpc-metadata-date"];
        assert_eq!(names, wanted);
        assert_eq!(head.status(), Some(200));
    }
}
