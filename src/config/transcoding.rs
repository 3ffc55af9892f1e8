//! Text to checked types: JSON in front of gRPC, and who may call from a browser.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use super::checks;
use super::forms::{self, Hint};
use super::reader::Table;

/// How JSON becomes gRPC: where the descriptors come from, which services are served, and how JSON is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcoding {
    /// Files with a `google.protobuf.FileDescriptorSet`, as they are written; see `Config::directory`.
    pub descriptor_sets: Vec<PathBuf>,
    /// `.proto` files, as they are written.
    pub protos: Vec<PathBuf>,
    /// Where imports of `protos` are looked for, in this order.
    pub proto_paths: Vec<PathBuf>,
    /// Positions in `Config::clusters` of those that are asked for their descriptors.
    pub reflection: Vec<usize>,
    /// How often they are asked.
    pub reflection_interval: Duration,
    /// Full names of the services to serve; empty for all.
    pub services: Vec<String>,
    /// Whether `POST /{service}/{method}` with JSON works for every method.
    pub auto_mapping: bool,
    /// What becomes of a rule that is wrong.
    pub on_bad_rule: OnBadRule,
    /// Bytes of a JSON request that is held while it is turned into messages.
    pub max_request_body_size: u32,
    /// Bytes of an answer's message that is held while it is turned into JSON.
    pub max_response_message_size: u32,
    /// Whether unknown fields of a JSON request are left out; else they are errors.
    pub ignore_unknown_fields: bool,
    /// Whether query parameters that are no fields are left out; else they are errors.
    pub ignore_unknown_query_parameters: bool,
    /// Files with more HTTP rules.
    pub service_configs: Vec<PathBuf>,
    /// What other gateways do.
    pub compatibility: Compatibility,
    /// How JSON is written.
    pub print_options: PrintOptions,
}

/// What grpc-gateway does where `google.api.http` says something else, or nothing.
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
    /// PATCH says in the request's only `FieldMask` what the body has.
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

/// What becomes of an HTTP rule that is wrong, or means the same requests as another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRule {
    /// It is left out and named; all others serve.
    #[default]
    Skip,
    /// The descriptors are refused as a whole.
    Fail,
}

/// How JSON is written.
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

/// Which pages of other origins may call, and what they may send and see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Empty: none, and nothing about CORS is answered.
    pub allow_origins: AllowOrigins,
    /// Request headers besides those that JSON, gRPC-Web and deadlines need; in lower case.
    pub allow_headers: Vec<String>,
    /// Answer headers besides those of gRPC; in lower case.
    pub expose_headers: Vec<String>,
    /// How long a browser may remember an answer about this.
    pub max_age: Duration,
}

/// Origins that may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowOrigins {
    /// `"*"`
    Any,
    /// Just these: scheme, host, port unless it is the scheme's own; in lower case.
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

/// `clusters` has the position of each name.
pub(super) fn read(table: &Table<'_>, clusters: &HashMap<String, usize>) -> Transcoding {
    let print = table.table("print_options");
    let is_compatible = table.word("compatibility") == GRPC_GATEWAY;
    let flag_of = |table: &Table<'_>, name: &str| {
        let is_on = is_compatible && GRPC_GATEWAY_FLAGS.contains(&table.knob(name).key);
        // What the file says itself counts.
        table.flag(name) || (is_on && table.value(name).is_none())
    };
    let flag = |name: &str| flag_of(table, name);
    let transcoding = Transcoding {
        descriptor_sets: unique(table, "descriptor_sets", forms::file)
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        protos: unique(table, "protos", forms::file).into_iter().map(PathBuf::from).collect(),
        proto_paths: unique(table, "proto_paths", forms::file).into_iter().map(PathBuf::from).collect(),
        reflection: reflection(table, clusters),
        reflection_interval: table.time("reflection_interval"),
        services: unique(table, "services", forms::service),
        auto_mapping: table.flag("auto_mapping"),
        on_bad_rule: match table.word("on_bad_rule") {
            "fail" => OnBadRule::Fail,
            _ => OnBadRule::Skip,
        },
        max_request_body_size: table.size("max_request_body_size"),
        max_response_message_size: table.size("max_response_message_size"),
        ignore_unknown_fields: flag("ignore_unknown_fields"),
        ignore_unknown_query_parameters: flag("ignore_unknown_query_parameters"),
        service_configs: unique(table, "service_configs", forms::file)
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        compatibility: Compatibility {
            ignore_unused_body: flag("ignore_unused_body"),
            ignore_bound_query_parameters: flag("ignore_bound_query_parameters"),
            form_bodies: flag("form_bodies"),
            map_query_parameters: flag("map_query_parameters"),
            fill_update_mask: flag("fill_update_mask"),
            wrap_stream_messages: flag("wrap_stream_messages"),
            metadata_prefixes: flag("metadata_prefixes"),
        },
        print_options: PrintOptions {
            add_whitespace: print.flag("add_whitespace"),
            always_print_primitive_fields: flag_of(&print, "always_print_primitive_fields"),
            always_print_enums_as_ints: print.flag("always_print_enums_as_ints"),
            preserve_proto_field_names: print.flag("preserve_proto_field_names"),
        },
    };
    for name in ["services", "service_configs"] {
        if let (false, Some(services)) = (transcoding.is_configured(), table.value(name)) {
            let hint = "set descriptor_sets, protos or reflection";
            services.refuse("nothing says where their descriptors are", Some(hint.to_owned()));
        }
    }
    transcoding
}

/// Clusters that are asked for their descriptors.
fn reflection(table: &Table<'_>, clusters: &HashMap<String, usize>) -> Vec<usize> {
    let mut seen = HashSet::new();
    let mut positions = Vec::new();
    for (name, value) in table.list("reflection", forms::reference) {
        if !seen.insert(name.clone()) {
            value.refuse("must be unique", None);
        }
        positions.extend(checks::position(&name, &value, clusters));
    }
    positions
}

/// A list of texts in which none stands twice.
fn unique(table: &Table<'_>, name: &str, check: fn(&str) -> Result<String, Hint>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut texts = Vec::new();
    for (text, value) in table.list(name, check) {
        if seen.insert(text.clone()) {
            texts.push(text);
        } else {
            value.refuse("must be unique", None);
        }
    }
    texts
}

pub(super) fn cors(table: &Table<'_>) -> Cors {
    let origins = unique(table, "allow_origins", forms::origin);
    let allow_origins = match origins.iter().any(|origin| origin == "*") {
        false => AllowOrigins::These(origins),
        true => {
            if let (true, Some(list)) = (origins.len() > 1, table.value("allow_origins")) {
                list.refuse("\"*\" is every origin: write it alone", None);
            }
            AllowOrigins::Any
        }
    };
    Cors {
        allow_origins,
        allow_headers: unique(table, "allow_headers", forms::header_name),
        expose_headers: unique(table, "expose_headers", forms::header_name),
        max_age: table.time("max_age"),
    }
}
