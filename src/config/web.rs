//! Settings for callers that do not speak gRPC: JSON in front of it, and the origins that may call from a browser.

use std::path::PathBuf;
use std::time::Duration;

/// JSON to gRPC: the sources of descriptors, the services to serve, and the form of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcoding {
    /// Files with a `google.protobuf.FileDescriptorSet`, as `protoc --include_imports --descriptor_set_out` and `buf
    /// build` write them.
    ///
    /// By their paths in the file; see `Config::directory`.
    pub descriptor_sets: Vec<PathBuf>,
    /// `.proto` files, compiled at start.
    pub protos: Vec<PathBuf>,
    /// Where imports are looked for, in this order; by default this file's directory.
    pub proto_paths: Vec<PathBuf>,
    /// Clusters whose server reflection is asked for descriptors: v1, else v1alpha.
    ///
    /// Positions in `Config::clusters`.
    pub reflection: Vec<usize>,
    /// How often these clusters are asked; one that has not answered, each second.
    pub reflection_interval: Duration,
    /// The services to serve as JSON; empty for all that the descriptors have.
    pub services: Vec<String>,
    /// Whether `POST /{service}/{method}` with a JSON body works for every method, annotated or not.
    pub auto_mapping: bool,
    /// The treatment of an HTTP rule that is wrong or means the same requests as another: `skip` leaves it out, names
    /// it, and serves the others; `fail` refuses the descriptors as a whole.
    pub on_bad_rule: OnBadRule,
    /// Bytes of a JSON request; more get 413.
    pub max_request_body_size: u32,
    /// Bytes of one message of a response, which is held while it is turned into JSON.
    pub max_response_message_size: u32,
    /// Compression of JSON responses, by `accept-encoding`.
    pub compression: Compression,
    /// Compression of gRPC messages between the gateway and services, of calls in JSON.
    pub grpc_compression: GrpcCompression,
    /// Whether fields that a message does not have are left out of a JSON request; else they are errors.
    pub ignore_unknown_fields: bool,
    /// Whether query parameters that no field has are left out; else they are errors.
    pub ignore_unknown_query_parameters: bool,
    /// `google.api.Service` files, YAML or JSON.
    pub service_configs: Vec<PathBuf>,
    /// The habits of other gateways that are on.
    pub compatibility: Compatibility,
    /// How JSON is written.
    pub print_options: PrintOptions,
}

/// The compression of JSON responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Codings that callers may be given; of those they weigh alike, the first.
    pub algorithms: Vec<ContentCoding>,
    /// Bytes of a body below which it is sent as it is; not of streams, whose length nobody knows.
    pub min_content_length: u32,
    /// Streams that a worker compresses at a time, each with 100 to 500 KiB of memory; others are sent as they are.
    pub max_streams: u32,
}

/// The compression of gRPC messages that the gateway makes and reads itself, for calls in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCompression {
    /// Codings that services may respond with, sent as `grpc-accept-encoding`.
    pub accept: Vec<ContentCoding>,
    /// The coding of messages to services, sent as `grpc-encoding`.
    ///
    /// `None` for "identity".
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
    /// Whether a body is ignored that is sent to a rule without `body`; else it is an error.
    pub ignore_unused_body: bool,
    /// Whether a query parameter is ignored that names a field of the path or the body; else it is an error.
    pub ignore_bound_query_parameters: bool,
    /// Whether a body of the type `application/x-www-form-urlencoded` is read like a query.
    pub form_bodies: bool,
    /// Whether `?labels[key]=value` sets an entry of the map `labels`.
    pub map_query_parameters: bool,
    /// Whether PATCH with a `body` that is one field sets the request's only `FieldMask`, if nothing else does, to the
    /// fields in the body.
    pub fill_update_mask: bool,
    /// Whether a stream of responses is `{"result": ...}` lines, the last of which may be `{"error": ...}`.
    pub wrap_stream_messages: bool,
    /// Whether a request's `grpc-metadata-x` is the metadata `x`, and a response's metadata is `grpc-metadata-x` or, if
    /// it came last, `grpc-trailer-x`.
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
    /// Write fields that hold their default, where the message cannot tell them from unset ones.
    pub always_print_primitive_fields: bool,
    /// Write enum values as numbers.
    pub always_print_enums_as_ints: bool,
    /// Write `snake_case` names as in the `.proto` file, in place of `camelCase`.
    pub preserve_proto_field_names: bool,
}

/// CORS: the origins that may call, and the headers that they may send and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Origins whose pages may call.
    pub allow_origins: AllowOrigins,
    /// Headers that a page may send, besides those that JSON, gRPC-Web, Connect and deadlines need.
    ///
    /// In lower case.
    pub allow_headers: Vec<String>,
    /// Headers that a page may read, besides those of gRPC.
    ///
    /// In lower case.
    pub expose_headers: Vec<String>,
    /// How long a browser may remember the response to a preflight.
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
