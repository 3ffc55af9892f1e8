//! Methods, and the HTTP requests that mean them.

use http::uri::PathAndQuery;
use prost_reflect::{FieldDescriptor, MethodDescriptor};

use super::bind::FieldPath;
use super::plan::MessageId;
use super::template::Template;

/// A method of a service.
#[derive(Clone, Debug)]
pub struct Method {
    /// `/{service}/{method}`, ready to be sent.
    pub path: PathAndQuery,
    /// The request's message.
    pub input: MessageId,
    /// The response's message.
    pub output: MessageId,
    /// Whether it takes a stream of requests.
    pub client_streaming: bool,
    /// Whether it responds with a stream.
    pub server_streaming: bool,
    /// The effect of a second call.
    pub idempotency: Idempotency,
    /// The method's descriptor.
    pub descriptor: MethodDescriptor,
    /// Which of the API's schemas has its messages: see `Api::schema_of`.
    pub(super) schema: usize,
}

/// The effect of calling a method twice: its option `idempotency_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing is said.
    Unknown,
    /// It changes nothing.
    NoSideEffects,
    /// No more than calling it once.
    Idempotent,
}

/// An HTTP request that means a method.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Position in `Api::methods`.
    pub method: usize,
    /// The HTTP method, or `*`.
    pub http_method: String,
    /// The path.
    pub template: Template,
    /// The field that each of the template's variables is.
    pub captures: Vec<BoundField>,
    /// The content of the HTTP body.
    pub body: Body,
    /// Fields of the request that the path or the body has; the query may not bind them.
    pub taken: Vec<FieldPath>,
    /// The field that becomes the response's body; `None` for the whole message.
    pub response_body: Option<BoundField>,
    /// The request's only `google.protobuf.FieldMask`, of a PATCH whose body is one message in a field.
    pub update_mask: Option<BoundField>,
    /// Whether the HTTP body is not JSON but what a `google.api.HttpBody` holds.
    pub takes_http_body: bool,
    /// Whether the response is not JSON but the content of a `google.api.HttpBody`.
    pub gives_http_body: bool,
    /// Made by `auto_mapping`.
    pub is_auto: bool,
}

/// A field that a rule names.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundField {
    /// For calls.
    pub path: FieldPath,
    /// For people: from the message inwards, never empty.
    pub descriptors: Vec<FieldDescriptor>,
}

/// The content of a request's HTTP body.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// There is none; fields that the path does not bind come from the query.
    None,
    /// The whole message; nothing comes from the query.
    Whole,
    /// A field; others come from the query.
    Field(Box<BoundField>),
}

impl BoundField {
    /// The field itself.
    pub fn descriptor(&self) -> &FieldDescriptor {
        self.descriptors.last().expect("a rule names at least one field")
    }

    /// Whether it is one `google.api.HttpBody`.
    fn is_http_body(&self) -> bool {
        is_one(self.descriptor(), HTTP_BODY)
    }
}

/// Whether a field is one message of this name.
pub(super) fn is_one(field: &FieldDescriptor, message: &str) -> bool {
    !field.is_list() && field.kind().as_message().is_some_and(|kind| kind.full_name() == message)
}

/// The message that stands for a body of any type.
pub const HTTP_BODY: &str = "google.api.HttpBody";

impl Rule {
    /// A rule that is whole once its method is known.
    pub(super) fn new(
        method: &MethodDescriptor,
        (http_method, template): (String, Template),
        captures: Vec<BoundField>,
        body: Body,
        response_body: Option<BoundField>,
    ) -> Self {
        let takes_http_body = match &body {
            Body::None => false,
            Body::Whole => method.input().full_name() == HTTP_BODY,
            Body::Field(field) => field.is_http_body(),
        };
        let gives_http_body = match &response_body {
            None => method.output().full_name() == HTTP_BODY,
            Some(field) => field.is_http_body(),
        };
        let in_body = match &body {
            Body::Field(field) => Some(field.path),
            Body::None | Body::Whole => None,
        };
        let taken = captures.iter().map(|field| field.path).chain(in_body).collect();
        let (method, is_auto) = (0, false);
        Self {
            method,
            http_method,
            template,
            captures,
            body,
            taken,
            response_body,
            update_mask: None,
            takes_http_body,
            gives_http_body,
            is_auto,
        }
    }
}
