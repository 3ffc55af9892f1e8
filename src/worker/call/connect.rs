//! A call in Connect: its head as that of a gRPC call, and the body of a unary one as a message in its frame.

use super::headers;
use super::json::CollectedBody;
use super::responder::Responder;
use crate::buffer::Slice;
use crate::http2::{Head, Name};
use crate::policy::failure::Failure;
use crate::wire::connect::{self, Kind};
use crate::wire::frame::HEAD_BYTES;
use crate::wire::path;

/// A unary request, whose body has still to come.
pub(in crate::worker) struct UnaryRequest {
    is_compressed: bool,
    /// The length of the body, as the client states it.
    length: Option<u64>,
    length_max: usize,
}

/// Makes the head that of a call. Gives the request if it is unary. `length_max` bounds its body.
pub(in crate::worker) fn open(
    head: &mut Head,
    responder: &mut Responder,
    kind: Kind,
    length_max: usize,
) -> Result<Option<UnaryRequest>, Failure> {
    if head.method() != Some(b"POST") {
        return Err(Failure::NotPost);
    }
    if !path::is_method(headers::path(head)) {
        return Err(Failure::BadPath);
    }
    let (field, version) = connect::VERSION;
    if head.get_named(field).is_some_and(|said| said != version) {
        responder.explain("connect-protocol-version: only version 1 is known".to_owned());
        return Err(Failure::BadParameter);
    }
    let [encoding, accepted] = kind.encodings().map(|name| head.get_named(name).map(<[u8]>::to_vec));
    let length = head.get(Name::CONTENT_LENGTH).and_then(|length| str::from_utf8(length).ok()?.parse().ok());
    let codec = connect::codec(head.get(Name::CONTENT_TYPE).unwrap_or_default()).to_ascii_lowercase();
    for name in kind.encodings().into_iter().chain([field, connect::TIMEOUT]) {
        head.remove_named(name);
    }
    headers::connect_to_grpc(head, &codec);
    for (name, value) in [(Name::GRPC_ENCODING, &encoding), (Name::GRPC_ACCEPT_ENCODING, &accepted)] {
        if let Some(value) = value {
            head.push(name, value);
        }
    }
    let is_compressed = encoding.is_some_and(|encoding| !encoding.is_empty() && encoding != b"identity");
    Ok((kind == Kind::Unary).then_some(UnaryRequest { is_compressed, length, length_max }))
}

impl UnaryRequest {
    /// The length of the body, if the client states it.
    pub(super) fn announced(&self) -> Option<u64> {
        self.length
    }

    /// The most bytes that the body may have.
    pub(super) fn length_max(&self) -> usize {
        self.length_max
    }

    /// The call's only message, in its frame.
    pub(super) fn message(&self, body: &CollectedBody) -> Result<Slice, Failure> {
        let length = u32::try_from(body.bytes().len()).map_err(|_| Failure::BodyTooLarge)?;
        let mut frame = Vec::with_capacity(HEAD_BYTES + body.bytes().len());
        frame.push(u8::from(self.is_compressed));
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(body.bytes());
        Ok(frame.into())
    }
}
