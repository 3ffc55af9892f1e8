//! All that is served as JSON: methods, rules and messages, compiled and checked. Made by one thread, read by all.

mod build;

use std::collections::HashMap;
use std::path::Path;

use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, FieldDescriptor, MethodDescriptor, ServiceDescriptor};

use super::bind::FieldPath;
use super::descriptors::{Descriptors, Pool, Pools};
use super::plan::{MessageId, Schema};
use super::problem::Problem;
use super::rules::{Captures, Found, Rules};
use super::template::Template;
use crate::config::Transcoding;

/// What is served as JSON.
#[derive(Debug)]
pub struct Api {
    /// At least one. Each is of descriptors that belong together.
    schemas: Vec<Schema>,
    services: Vec<ServiceDescriptor>,
    methods: Vec<Method>,
    rules: Vec<Rule>,
    table: Rules,
    by_path: HashMap<Box<str>, usize>,
    missing: Vec<Problem>,
    refused: Vec<Problem>,
    is_whole: bool,
}

/// A method of a service.
#[derive(Clone, Debug)]
pub struct Method {
    /// `/{service}/{method}`, ready to be sent.
    pub path: PathAndQuery,
    /// The request's message.
    pub input: MessageId,
    /// The answer's message.
    pub output: MessageId,
    /// Whether it takes a stream of requests.
    pub client_streaming: bool,
    /// Whether it answers with a stream.
    pub server_streaming: bool,
    /// What calling it twice does.
    pub idempotency: Idempotency,
    /// Where it is defined.
    pub descriptor: MethodDescriptor,
    /// Which of the API's schemas has its messages: see [`Api::schema_of`].
    pub(super) schema: usize,
}

/// What calling a method twice does: its option `idempotency_level`.
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
    /// Position in [`Api::methods`].
    pub method: usize,
    /// The HTTP method, or `*`.
    pub http_method: String,
    /// The path.
    pub template: Template,
    /// The field that each of the template's variables is.
    pub captures: Vec<BoundField>,
    /// What the HTTP body is.
    pub body: Body,
    /// Fields of the request that the path or the body has; the query may not bind them.
    pub taken: Vec<FieldPath>,
    /// The field that becomes the answer's body; `None` for the whole message.
    pub response_body: Option<BoundField>,
    /// Whether the HTTP body is not JSON but what a `google.api.HttpBody` holds.
    pub takes_http_body: bool,
    /// The same of the answer.
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

/// What the HTTP body of a request is.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// There is none; fields that the path does not bind come from the query.
    None,
    /// The whole message; nothing comes from the query.
    Whole,
    /// One field; others come from the query.
    Field(Box<BoundField>),
}

impl BoundField {
    /// The field itself.
    pub fn descriptor(&self) -> &FieldDescriptor {
        self.descriptors.last().expect("a rule names at least one field")
    }

    /// Whether it is one `google.api.HttpBody`.
    fn is_http_body(&self) -> bool {
        let field = self.descriptor();
        !field.is_list() && field.kind().as_message().is_some_and(|message| message.full_name() == HTTP_BODY)
    }
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
            takes_http_body,
            gives_http_body,
            is_auto,
        }
    }
}

impl Api {
    /// Reads all descriptors that the configuration names and compiles them, with what `reflected` has found. Relative
    /// paths begin at `directory`.
    ///
    /// What of reflection cannot be described, and, unless `on_bad_rule` says otherwise, rules that are wrong are left
    /// out: [`Api::refused`] names them.
    ///
    /// # Errors
    /// Everything that is wrong with files and rules.
    pub fn load(
        settings: &Transcoding,
        directory: &Path,
        reflected: &[Reflected],
    ) -> Result<Self, Vec<Problem>> {
        let mut descriptors = Descriptors::read(settings, directory);
        for one in reflected {
            descriptors.add_reflected(one);
        }
        let Pools { pools, refused } = descriptors.into_pools()?;
        let api = build::build(&pools, refused, settings)?;
        Ok(Self { is_whole: settings.reflection.len() <= reflected.len(), ..api })
    }

    /// Whether every cluster that is asked for descriptors has answered. What is not known otherwise may still come.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Compiles the services of a pool.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn build(pool: &DescriptorPool, settings: &Transcoding) -> Result<Self, Vec<Problem>> {
        let pool = Pool { descriptors: pool.clone(), ..Pool::default() };
        build::build(&[pool], Vec::new(), settings)
    }

    /// All methods that are served.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// All rules, those that `auto_mapping` made at the end.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// All services that are served.
    pub fn services(&self) -> &[ServiceDescriptor] {
        &self.services
    }

    /// The messages of the methods that the configuration's descriptors have; with no more than one version of any file,
    /// those of all methods.
    pub fn schema(&self) -> &Schema {
        &self.schemas[0]
    }

    /// The messages of a method of this API.
    pub fn schema_of(&self, method: &Method) -> &Schema {
        &self.schemas[method.schema]
    }

    /// All messages.
    pub fn schemas(&self) -> &[Schema] {
        &self.schemas
    }

    /// Services that are configured and not there; empty unless reflection may still bring them.
    pub fn missing_services(&self) -> &[Problem] {
        &self.missing
    }

    /// What is left out, and why: rules that are wrong, and what of reflection cannot be described.
    pub fn refused(&self) -> &[Problem] {
        &self.refused
    }

    /// The method of a gRPC path, `/{service}/{method}`.
    pub fn method(&self, path: &str) -> Option<&Method> {
        self.by_path.get(path).map(|number| &self.methods[*number])
    }

    /// The rule for a request, by its position in [`Api::rules`]. `path` is without query.
    pub fn find<'c>(&self, http_method: &str, path: &str, captures: &'c mut Captures) -> Found<'c> {
        self.table.find(http_method, path, captures)
    }
}

/// Files that server reflection has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reflected {
    /// Who, for people: `reflection of cluster "echo"`.
    pub origin: String,
    /// Each a `google.protobuf.FileDescriptorProto`.
    pub files: Vec<Vec<u8>>,
    /// What it did not tell, each a sentence.
    pub untold: Vec<String>,
}
