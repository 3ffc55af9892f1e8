//! Editions 2023 and 2024: what features say of presence, packing, groups and enums, in JSON and on the wire; and what of
//! server reflection can be described when not all of it can.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use prost::Message as _;
use prost_types::FileDescriptorProto;
use ringway::config::PrintOptions;
use ringway::config::{self, Transcoding};
use ringway::transcode::api::{Api, Reflected};
use ringway::transcode::read::{ReadOptions, read};
use ringway::transcode::rules::{Captures, Found};
use ringway::transcode::write::write;

const REST: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\ncluster = \"echo\"\n\
    [[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";

fn settings(transcoding: &str) -> Transcoding {
    let text = format!("[transcoding]\n{transcoding}\n{REST}");
    config::parse(&text, Path::new("r.toml")).unwrap_or_else(|errors| panic!("{errors}")).transcoding
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("ringway-editions-{}-{number}-{name}", std::process::id()));
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn load(&self, transcoding: &str) -> Result<Api, Vec<String>> {
        let text = |problems: Vec<_>| problems.iter().map(ToString::to_string).collect();
        Api::load(&settings(transcoding), &self.0, &[]).map_err(text)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const EDITION: &str = "edition = \"2023\"; package e;\n\
    service S { rpc M(All) returns (All); }\n\
    message All {\n\
      int32 explicit = 1; int32 implicit = 2 [features.field_presence = IMPLICIT];\n\
      repeated int32 packed = 3; repeated int32 expanded = 4 [features.repeated_field_encoding = EXPANDED];\n\
      All inner = 5; All group = 6 [features.message_encoding = DELIMITED];\n\
      Closed closed = 7; Open open = 8 [features.field_presence = IMPLICIT]; map<string, All> map = 9;\n\
      string text = 10 [features.field_presence = IMPLICIT]; oneof o { int32 a = 11; string b = 12; } }\n\
    enum Closed { option features.enum_type = CLOSED; ONE = 1; TWO = 2; } enum Open { NONE = 0; SOME = 1; }\n";

/// JSON of `e.All`, the wire it becomes, and the JSON that becomes of that.
const TABLE: &[(&str, &str, &str)] = &[
    ("{\"explicit\":0}", "0800", "{\"explicit\":0}"),
    ("{\"implicit\":0,\"text\":\"\",\"open\":\"NONE\"}", "100052004000", "{}"),
    ("{\"implicit\":5}", "1005", "{\"implicit\":5}"),
    ("{\"packed\":[1,2]}", "1a020102", "{\"packed\":[1,2]}"),
    ("{\"expanded\":[1,2]}", "20012002", "{\"expanded\":[1,2]}"),
    ("{\"inner\":{\"explicit\":1}}", "2a020801", "{\"inner\":{\"explicit\":1}}"),
    ("{\"group\":{\"explicit\":1}}", "33080134", "{\"group\":{\"explicit\":1}}"),
    ("{\"closed\":\"TWO\"}", "3802", "{\"closed\":\"TWO\"}"),
    ("{\"open\":7}", "4007", "{\"open\":7}"),
    ("{\"map\":{\"k\":{\"a\":0}}}", "4a070a016b12025800", "{\"map\":{\"k\":{\"a\":0}}}"),
    ("{\"b\":\"\"}", "6200", "{\"b\":\"\"}"),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn holds(api: &Api, what: &str) {
    let method = api.method("/e.S/M").unwrap();
    let schema = api.schema_of(method);
    for (json, wire, back) in TABLE {
        let mut bytes = Vec::new();
        read(schema, method.input, json.as_bytes(), ReadOptions::default(), &mut bytes).unwrap();
        assert_eq!(hex(&bytes), *wire, "{what} {json}");
        let mut text = Vec::new();
        write(schema, method.output, &bytes, &PrintOptions::default(), &mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), *back, "{what} {json}");
    }
}

#[test]
fn features_hold_in_json_and_on_the_wire() {
    let newer = EDITION.replace("2023", "2024").replace("message All", "export message All");
    let scratch = Scratch::new("features", &[("a/e.proto", EDITION), ("b/e.proto", &newer)]);
    for folder in ["a", "b"] {
        let from = format!("protos = [\"{folder}/e.proto\"]\nproto_paths = [\"{folder}\"]");
        let api = scratch.load(&from).unwrap_or_else(|problems| panic!("{problems:#?}"));
        holds(&api, folder);
    }
}

/// The features of the text above hold from bytes, too: the file is as protoc 35.1 compiles it.
#[test]
fn a_descriptor_set_of_an_edition_is_read() {
    let scratch = Scratch::new("set", &[]);
    let set = include_bytes!("../../protos/edition2023.protoset");
    fs::write(scratch.0.join("e.protoset"), set)
        .or_else(|_| {
            fs::create_dir_all(&scratch.0).and_then(|()| fs::write(scratch.0.join("e.protoset"), set))
        })
        .unwrap();
    let api =
        scratch.load("descriptor_sets = [\"e.protoset\"]").unwrap_or_else(|problems| panic!("{problems:#?}"));
    holds(&api, "descriptor set");
}

#[test]
fn what_is_not_understood_is_an_error_with_file_and_reason() {
    let file = |syntax: &str| FileDescriptorProto {
        name: Some("x.proto".to_owned()),
        syntax: Some(syntax.to_owned()),
        ..FileDescriptorProto::default()
    };
    let edition = |number: u64| {
        let mut bytes = file("editions").encode_to_vec();
        prost::encoding::uint64::encode(14, &number, &mut bytes);
        bytes
    };
    let scratch = Scratch::new("unknown", &[("e.proto", "edition = \"2022\";\n")]);
    for (bytes, wanted) in [
        (
            file("proto4").encode_to_vec(),
            "the syntax \"proto4\" is not known: proto2, proto3 and editions are",
        ),
        (
            file("Proto3").encode_to_vec(),
            "the syntax \"Proto3\" is not known: proto2, proto3 and editions are",
        ),
        (file("editions").encode_to_vec(), "it is of an edition and does not say which"),
        (edition(1002), "edition number 1002 is not known: those of 2023 and 2024 are"),
    ] {
        let mut set = Vec::new();
        prost::encoding::bytes::encode(1, &bytes, &mut set);
        fs::write(scratch.0.join("x.protoset"), set).unwrap();
        let problems = scratch.load("descriptor_sets = [\"x.protoset\"]").map(drop).unwrap_err();
        assert_eq!(problems, [format!("x.protoset: x.proto: {wanted}")]);
    }
    let problems = scratch.load("protos = [\"e.proto\"]").map(drop).unwrap_err();
    assert_eq!(problems, ["e.proto:1:1: edition \"2022\" is not known: \"2023\" and \"2024\" are"]);
}

#[test]
fn a_map_entry_without_its_fields_is_an_error() {
    let text = "message M { map<string, int32> m = 1; }";
    let scratch = Scratch::new("entry", &[("m.proto", text)]);
    let api = scratch.load("protos = [\"m.proto\"]").unwrap();
    let file = api.schema().pool().get_file_by_name("m.proto").unwrap().file_descriptor_proto().clone();
    for keep in [0, 1] {
        let mut file = file.clone();
        file.message_type[0].nested_type[0].field.truncate(keep);
        let mut set = Vec::new();
        prost::encoding::message::encode(1, &file, &mut set);
        fs::write(scratch.0.join("m.protoset"), set).unwrap();
        let problems = scratch.load("descriptor_sets = [\"m.protoset\"]").map(drop).unwrap_err();
        let wanted = "m.protoset: m.proto: M.MEntry is to be the entry of a map, and its fields are not `key` and `value`";
        assert_eq!(problems, [wanted]);
    }
}

/// Files as a service tells them: named, without options of the parser.
fn files(protos: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let scratch = Scratch::new("files", protos);
    let named: Vec<String> = protos.iter().map(|(name, _)| format!("{name:?}")).collect();
    let api = scratch.load(&format!("protos = [{}]", named.join(", "))).unwrap();
    let pool = api.schema().pool().clone();
    let own = protos.iter().map(|(name, _)| pool.get_file_by_name(name).unwrap());
    own.map(|file| (file.name().to_owned(), file.encode_to_vec())).collect()
}

fn reflected(origin: &str, files: &[(String, Vec<u8>)], without: &str) -> Reflected {
    let told = files.iter().filter(|(name, _)| name != without).map(|(_, bytes)| bytes.clone());
    Reflected { origin: origin.to_owned(), files: told.collect(), untold: Vec::new() }
}

fn load(answers: &[Reflected]) -> (Api, Vec<String>) {
    let api = Api::load(&settings("reflection = [\"echo\"]"), Path::new(""), answers).unwrap();
    let refused = api.refused().iter().map(ToString::to_string).collect();
    (api, refused)
}

const TYPES: &str = "syntax = \"proto3\"; package r; message T { string text = 1; }";
const SERVICES: &str = "syntax = \"proto3\"; package r; import \"types.proto\";\n\
    service Whole { rpc M(Own) returns (Own); } service Part { rpc M(Own) returns (T); rpc N(Own) returns (Holds); rpc O(Own) returns (Own); }\n\
    message Own { int32 number = 1; } message Holds { Own own = 1; Deep deep = 2; message Deep { T t = 1; } }";

#[test]
fn an_import_that_is_nowhere_costs_the_methods_that_need_it() {
    let files = files(&[("types.proto", TYPES), ("services.proto", SERVICES)]);
    let (api, refused) = load(&[reflected("r", &files, "types.proto")]);
    let mut paths: Vec<&str> = api.methods().iter().map(|method| method.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/r.Part/O", "/r.Whole/M"]);
    assert_eq!(
        refused,
        [
            "r: services.proto imports types.proto, which is nowhere",
            "r: services.proto: r.Part.M needs r.T, of which nothing is known",
            "r: services.proto: r.Part.N is not served: of r.Holds.Deep its field t is a r.T, of which nothing is known",
        ]
    );
    // With all that it needs, all is served, by whatever name a file goes.
    let (api, refused) = load(&[reflected("r", &files, "")]);
    assert_eq!((api.methods().len(), refused.len()), (4, 0));
    let mut renamed = files.clone();
    let mut other = FileDescriptorProto::decode(files[0].1.as_slice()).unwrap();
    other.name = Some("elsewhere/types.proto".to_owned());
    renamed[0].1 = other.encode_to_vec();
    let (api, refused) = load(&[reflected("r", &renamed, "")]);
    assert_eq!((api.methods().len(), refused), (4, Vec::new()));
}

#[test]
fn two_clusters_may_have_two_versions_of_a_file() {
    let with = |number: &str, service: &str| {
        let types = TYPES.replace("= 1", &format!("= {number}"));
        let service = format!(
            "syntax = \"proto3\"; package {service}; import \"types.proto\"; service S {{ rpc M(r.T) returns (r.T); }}"
        );
        files(&[("types.proto", &types), (if number == "1" { "one.proto" } else { "two.proto" }, &service)])
    };
    let (one, two) = (with("1", "one"), with("2", "two"));
    let (api, refused) = load(&[reflected("cluster one", &one, ""), reflected("cluster two", &two, "")]);
    assert_eq!(refused, Vec::<String>::new());
    for (path, wire) in [("/one.S/M", "0a0178"), ("/two.S/M", "120178")] {
        let method = api.method(path).unwrap();
        let mut bytes = Vec::new();
        read(api.schema_of(method), method.input, b"{\"text\":\"x\"}", ReadOptions::default(), &mut bytes)
            .unwrap();
        assert_eq!(hex(&bytes), wire, "{path}");
    }
    let mut captures = Captures::default();
    assert!(matches!(api.find("POST", "/two.S/M", &mut captures), Found::Rule(_)));
    // Two versions of one service: the first counts, and the other is named.
    let newer = TYPES.replace("string", "bytes");
    let (one, two) = (
        files(&[("types.proto", TYPES), ("services.proto", SERVICES)]),
        files(&[("types.proto", &newer), ("services.proto", SERVICES)]),
    );
    let (api, refused) = load(&[reflected("cluster one", &one, ""), reflected("cluster two", &two, "")]);
    assert_eq!(api.methods().len(), 4);
    let wanted = "is told by another one, too, in another version: that one counts";
    assert_eq!(refused, [format!("cluster two: r.Whole {wanted}"), format!("cluster two: r.Part {wanted}")]);
}

#[test]
fn what_is_listed_and_not_described_is_named() {
    let files = files(&[("types.proto", TYPES), ("services.proto", SERVICES)]);
    let untold = vec!["the service x.Y is listed and not described: it answers NotFound".to_owned()];
    let (api, refused) = load(&[Reflected { untold, ..reflected("r", &files, "") }]);
    assert_eq!(api.methods().len(), 4);
    assert_eq!(refused, ["r: the service x.Y is listed and not described: it answers NotFound"]);
}

/// Other compilers take these files: names that are one in JSON in proto2, names that are alike in proto3, and imports
/// that are public through several files.
#[test]
fn files_that_compilers_take_are_taken() {
    let scratch = Scratch::new(
        "taken",
        &[
            ("p2.proto", "message A { optional int32 foo_bar = 1; optional int32 fooBar = 2; }"),
            ("p3.proto", "syntax = \"proto3\"; message B { int32 foo_bar = 1; int32 foobar = 2; }"),
            ("d.proto", "syntax = \"proto3\"; message D {}"),
            ("c.proto", "syntax = \"proto3\"; import public \"d.proto\";"),
            ("b.proto", "syntax = \"proto3\"; import public \"c.proto\";"),
            ("a.proto", "syntax = \"proto3\"; import \"b.proto\"; service S { rpc M(D) returns (D); }"),
        ],
    );
    let api = scratch
        .load("protos = [\"p2.proto\", \"p3.proto\", \"a.proto\"]")
        .unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(api.methods().len(), 1);
    let pool = api.schema().pool();
    let names = |message: &str| -> Vec<String> {
        pool.get_message_by_name(message)
            .unwrap()
            .fields()
            .map(|field| field.json_name().to_owned())
            .collect()
    };
    assert_eq!(names("A"), ["foo_bar", "fooBar"]);
    assert_eq!(names("B"), ["fooBar", "foobar"]);
    let schema = api.schema();
    let field = &schema.message(schema.message_id("B").unwrap()).fields()[0];
    assert_eq!(format!("{:?}", field.cardinality), "Singular { has_presence: false }");
}
