//! A call in Connect: its head as that of a gRPC call, and the body of a unary one as a message in its frame.

use std::rc::Rc;

use super::headers;
use super::json::transcoder::Transcoder;
use super::json::{self, CollectedBody, TranscodedRequest};
use super::responder::Responder;
use crate::buffer::Slice;
use crate::http2::{Head, Name};
use crate::policy::failure::Failure;
use crate::transcode::coding;
use crate::wire::connect::{self, Kind};
use crate::wire::frame::HEAD_BYTES;
use crate::wire::path;

/// A unary request, whose body has still to come.
pub(in crate::worker) struct UnaryRequest {
    is_compressed: bool,
    /// The length of the body, as the client states it.
    length: Option<u64>,
    length_max: usize,
    /// The message of a GET.
    pub(super) given: Option<Vec<u8>>,
}

/// A request that is not refused by its head.
pub(in crate::worker) enum OpenedRequest {
    /// Messages pass as they are. A unary request has still to be read.
    AsItIs(Option<UnaryRequest>),
    /// Messages are JSON of a method that the descriptors know, for a service that may not know JSON.
    Json(TranscodedRequest),
}

/// Makes the head that of a call. `length_max` bounds the body of a unary one.
pub(in crate::worker) fn open(
    transcoder: Option<&Rc<Transcoder>>,
    responder: &mut Responder,
    head: &mut Head,
    kind: Kind,
    length_max: usize,
) -> Result<OpenedRequest, Failure> {
    if !path::is_method(headers::path(head)) {
        return Err(Failure::BadPath);
    }
    let (field, version) = connect::VERSION;
    if head.get_named(field).is_some_and(|said| said != version) {
        responder.explain("connect-protocol-version: only version 1 is known".to_owned());
        return Err(Failure::BadParameter);
    }
    let given = match head.method() {
        Some(b"POST") if !is_of_connect(head) => return Err(Failure::WrongContentType),
        Some(b"POST") => None,
        Some(b"GET") => Some(get(transcoder, responder, head)?),
        _ => return Err(Failure::NotPost),
    };
    head.remove_named(field);
    head.remove_named(connect::TIMEOUT);
    let [encoding, accepted] = kind.encodings().map(|name| head.get_named(name).map(<[u8]>::to_vec));
    let codec = connect::codec(head.get(Name::CONTENT_TYPE).unwrap_or_default()).to_ascii_lowercase();
    if let Some(transcoder) = transcoder.filter(|transcoder| {
        // Another encoding may be known to the service.
        let is_readable =
            coding::of_body(encoding.as_deref()).is_ok_and(|coding| coding.is_none() || kind == Kind::Unary);
        codec == b"json" && is_readable && transcoder.is_mapped(headers::path_text(head))
    }) {
        let mut opened = json::open(transcoder, responder, head, Some(kind))?;
        Kind::Stream.encodings().into_iter().for_each(|name| _ = head.remove_named(name));
        opened.given = given;
        return Ok(OpenedRequest::Json(opened));
    }
    let is_compressed =
        encoding.as_ref().is_some_and(|encoding| !encoding.is_empty() && encoding != b"identity");
    let length = head.get(Name::CONTENT_LENGTH).and_then(|length| str::from_utf8(length).ok()?.parse().ok());
    kind.encodings().into_iter().for_each(|name| _ = head.remove_named(name));
    headers::connect_to_grpc(head, &codec);
    for (name, value) in [(Name::GRPC_ENCODING, &encoding), (Name::GRPC_ACCEPT_ENCODING, &accepted)] {
        if let Some(value) = value {
            head.push(name, value);
        }
    }
    let unary = UnaryRequest { is_compressed, length, length_max, given };
    Ok(OpenedRequest::AsItIs((kind == Kind::Unary).then_some(unary)))
}

fn is_of_connect(head: &Head) -> bool {
    Kind::of(head.get(Name::CONTENT_TYPE).unwrap_or_default(), true).is_some()
}

/// Reads the message of a GET, and makes the head that of a POST. A page of another origin can send a GET without being
/// asked, so only methods without side effects take it.
fn get(
    transcoder: Option<&Rc<Transcoder>>,
    responder: &mut Responder,
    head: &mut Head,
) -> Result<Vec<u8>, Failure> {
    let path = headers::path_text(head).to_owned();
    if !transcoder.is_some_and(|transcoder| transcoder.has_no_side_effects(&path)) {
        return Err(Failure::NotPost);
    }
    let query = headers::query(head).unwrap_or_default();
    let asked = connect::Get::parse(query).map_err(|reason| {
        responder.explain(reason.to_owned());
        Failure::BadParameter
    })?;
    head.set_path(path.as_bytes());
    head.set_method(b"POST");
    head.insert(Name::CONTENT_TYPE, &Kind::Unary.content_type(&asked.codec));
    let [encoding, _] = Kind::Unary.encodings();
    head.remove_named(encoding);
    if let Some(compression) = &asked.compression {
        head.push_named(encoding, compression);
    }
    Ok(asked.message)
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
