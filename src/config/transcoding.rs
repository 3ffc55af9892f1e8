//! Text to checked types: JSON in front of gRPC, and the origins that may call from a browser.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::checks;
use super::forms::{self, Hint};
use super::reader::Table;
use super::web::{
    AllowOrigins, Compatibility, Compression, ContentCoding, Cors, GRPC_GATEWAY, GRPC_GATEWAY_FLAGS,
    GrpcCompression, OnBadRule, PrintOptions, Transcoding,
};

/// `clusters` has the position of each name.
pub(super) fn read(table: &Table<'_>, clusters: &HashMap<String, usize>) -> Transcoding {
    let print = table.table("print_options");
    let is_compatible = table.word("compatibility") == GRPC_GATEWAY;
    let flag_of = |table: &Table<'_>, name: &str| {
        let is_on = is_compatible && GRPC_GATEWAY_FLAGS.contains(&table.knob(name).key);
        // A value in the file counts more.
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
        compression: compression(&table.table("compression")),
        grpc_compression: grpc_compression(&table.table("grpc_compression")),
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

fn coding(name: &str) -> Result<ContentCoding, Hint> {
    match name {
        "gzip" => Ok(ContentCoding::Gzip),
        "br" => Ok(ContentCoding::Brotli),
        "zstd" => Ok(ContentCoding::Zstd),
        _ => Err(None),
    }
}

fn grpc_compression(table: &Table<'_>) -> GrpcCompression {
    // gRPC knows no `br`.
    let of_grpc = |name: &str| {
        coding(name).and_then(|coding| match coding {
            ContentCoding::Brotli => Err(None),
            coding => Ok(coding),
        })
    };
    GrpcCompression {
        accept: table.list("accept", of_grpc).into_iter().map(|(coding, _)| coding).collect(),
        request: coding(table.word("request")).ok(),
        min_message_length: table.size("min_message_length"),
    }
}

fn compression(table: &Table<'_>) -> Compression {
    let algorithms = table.list("algorithms", coding).into_iter().map(|(coding, _)| coding).collect();
    Compression {
        algorithms,
        min_content_length: table.size("min_content_length"),
        max_streams: table.count("max_streams"),
    }
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
/// A list without doubles, which are reported.
pub(super) fn unique(table: &Table<'_>, name: &str, check: fn(&str) -> Result<String, Hint>) -> Vec<String> {
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
