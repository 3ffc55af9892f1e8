//! Settings for callers that do not speak gRPC: JSON in front of it, and the origins that may call from a browser.

use std::path::PathBuf;
use std::time::Duration;

/// JSON to gRPC: the sources of descriptors, the services to serve, and the form of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcoding {
    /// Files with a `google.protobuf.FileDescriptorSet`, by their paths in the file; see `Config::directory`.
    pub descriptor_sets: Vec<PathBuf>,
    /// `.proto` files, by their paths in the file.
    pub protos: Vec<PathBuf>,
    /// Folders in which imports of `protos` are looked for, in this order.
    pub proto_paths: Vec<PathBuf>,
    /// Positions in `Config::clusters` of those that reflection asks for descriptors.
    pub reflection: Vec<usize>,
    /// The time between two such questions.
    pub reflection_interval: Duration,
    /// Full names of the services to serve; empty for all.
    pub services: Vec<String>,
    /// Whether `POST /{service}/{method}` with JSON works for every method.
    pub auto_mapping: bool,
    /// The reaction to a rule that is wrong.
    pub on_bad_rule: OnBadRule,
    /// Bytes of a JSON request that is held while it is turned into messages.
    pub max_request_body_size: u32,
    /// Bytes of an answer's message that is held while it is turned into JSON.
    pub max_response_message_size: u32,
    /// The compression of answers.
    pub compression: Compression,
    /// The compression of messages from and to services.
    pub grpc_compression: GrpcCompression,
    /// Whether unknown fields of a JSON request are left out; else they are errors.
    pub ignore_unknown_fields: bool,
    /// Whether query parameters that are no fields are left out; else they are errors.
    pub ignore_unknown_query_parameters: bool,
    /// Files with further HTTP rules.
    pub service_configs: Vec<PathBuf>,
    /// The habits of other gateways that are on.
    pub compatibility: Compatibility,
    /// The form of the JSON that is written.
    pub print_options: PrintOptions,
}

/// The compression of JSON answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Codings that callers may be given, the best first; none if it is off.
    pub algorithms: Vec<ContentCoding>,
    /// Bytes of a body below which it is sent as it is.
    pub min_content_length: u32,
}

/// The compression of gRPC messages that the gateway makes and reads itself, for calls in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCompression {
    /// Codings that services may answer with, gzip and zstd; none if they are to send messages as they are.
    pub accept: Vec<ContentCoding>,
    /// The coding of messages to services.
    pub request: Option<ContentCoding>,
    /// Bytes of a message to a service below which it is sent as it is.
    pub min_message_length: u32,
}

/// A content coding of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentCoding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl ContentCoding {
    /// All that are known.
    pub const ALL: [ContentCoding; 3] = [ContentCoding::Zstd, ContentCoding::Brotli, ContentCoding::Gzip];
}

/// Habits of grpc-gateway where `google.api.http` says something else, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compatibility {
    /// A body that a rule has no use for is ignored.
    pub ignore_unused_body: bool,
    /// A query parameter that names a field of the path or the body is ignored.
    pub ignore_bound_query_parameters: bool,
    /// Forms are read like queries.
    pub form_bodies: bool,
    /// `?labels[key]=value` is an entry of a map.
    pub map_query_parameters: bool,
    /// PATCH names the fields of the body in the request's only `FieldMask`.
    pub fill_update_mask: bool,
    /// A stream of answers is lines of `{"result": ...}` or `{"error": ...}`.
    pub wrap_stream_messages: bool,
    /// Metadata has a prefix in HTTP.
    pub metadata_prefixes: bool,
}

/// The value of `compatibility` that turns flags on.
pub(super) const GRPC_GATEWAY: &str = "grpc-gateway";
/// Those flags.
pub(super) const GRPC_GATEWAY_FLAGS: [&str; 10] = [
    "transcoding.ignore_unknown_fields",
    "transcoding.ignore_unknown_query_parameters",
    "transcoding.ignore_unused_body",
    "transcoding.ignore_bound_query_parameters",
    "transcoding.form_bodies",
    "transcoding.map_query_parameters",
    "transcoding.fill_update_mask",
    "transcoding.wrap_stream_messages",
    "transcoding.metadata_prefixes",
    "transcoding.print_options.always_print_primitive_fields",
];

/// The reaction to an HTTP rule that is wrong, or that means the same requests as another rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRule {
    /// The rule is left out and reported; all others serve.
    #[default]
    Skip,
    /// The descriptors are refused as a whole.
    Fail,
}

/// The form of the JSON that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrintOptions {
    /// Lines and indents, for people.
    pub add_whitespace: bool,
    /// Fields without presence are written although they hold their default.
    pub always_print_primitive_fields: bool,
    /// Enum values are written as numbers.
    pub always_print_enums_as_ints: bool,
    /// `snake_case` as in the file, in place of `camelCase`.
    pub preserve_proto_field_names: bool,
}

/// CORS: the origins that may call, and the headers that they may send and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// The origins; with none of them, nothing about CORS is answered.
    pub allow_origins: AllowOrigins,
    /// Request headers besides those that JSON, gRPC-Web and deadlines need; in lower case.
    pub allow_headers: Vec<String>,
    /// Answer headers besides those of gRPC; in lower case.
    pub expose_headers: Vec<String>,
    /// The time that a browser may keep the answer to a preflight.
    pub max_age: Duration,
}

/// Origins that may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowOrigins {
    /// `"*"`
    Any,
    /// These origins alone: scheme, host, port unless it is the scheme's own; in lower case.
    These(Vec<String>),
}

impl Transcoding {
    /// Whether any descriptors are configured: without, there is nothing to transcode.
    pub fn is_configured(&self) -> bool {
        !(self.descriptor_sets.is_empty() && self.protos.is_empty() && self.reflection.is_empty())
    }
}

impl Cors {
    /// Whether any origin may call.
    pub fn is_on(&self) -> bool {
        !matches!(&self.allow_origins, AllowOrigins::These(origins) if origins.is_empty())
    }
}
