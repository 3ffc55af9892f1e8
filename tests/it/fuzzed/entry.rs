//! Bytes of a stranger for what reads them: text of HTTP/1.1, gRPC-Web, JSON, descriptors, configurations. The targets below
//! fuzz/ run these with bytes that they choose.

use ringway::config::{self, PrintOptions, Transcoding};
use ringway::transcode::api::{Api, Reflected};
use ringway::transcode::plan::MessageId;
use ringway::transcode::read::{self, ReadOptions};
use ringway::transcode::rules::Captures;
use ringway::transcode::{openapi, write};
use ringway::wire::frame::Walker;
use ringway::wire::proxy_protocol::{self, Preface};
use ringway::wire::web::{FromText, to_text};
use ringway::wire::{binary, connect, message, timeout, trace_context};
use ringway::worker::followed_by_http1;
use std::path::Path;
use std::sync::LazyLock;

/// The pieces of the input, at cuts that its first byte chooses.
fn pieces(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (first, rest) = input.split_first().unwrap_or((&0, input));
    rest.chunks(1 + usize::from(*first) % 64)
}

/// Requests of HTTP/1.1 in pieces: where they are cut changes nothing.
pub(crate) fn http1(input: &[u8]) {
    let whole = input.get(1..).unwrap_or_default();
    let found = followed_by_http1(std::iter::once(whole));
    assert_eq!(followed_by_http1(pieces(input)), found);
    assert_eq!(followed_by_http1(whole.chunks(1)), found);
    // The first answer about a header is the last one, whatever follows.
    let mut known = None;
    for end in 0..whole.len().min(600) {
        match (proxy_protocol::read(&whole[..end]), known) {
            (Preface::Part, None) => {}
            (now, None) => known = Some(now),
            (now, Some(before)) => assert_eq!(now, before),
        }
    }
}

/// Bodies and fields of gRPC-Web, Connect and gRPC: what is written is read as it was, and cuts change nothing.
pub(crate) fn grpc_web(input: &[u8]) {
    let whole = input.get(1..).unwrap_or_default();
    let from_text = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut decoder, mut out) = (FromText::default(), Vec::new());
        for piece in pieces {
            decoder.feed(piece, &mut out).ok()?;
        }
        Some((decoder.is_between(), out))
    };
    let decoded = from_text(&mut std::iter::once(whole));
    assert_eq!(from_text(&mut pieces(input)), decoded);
    let text = to_text(whole);
    assert_eq!(from_text(&mut std::iter::once(text.as_bytes())), Some((true, whole.to_vec())));

    let walked = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut walker = Walker::new();
        let (mut ended, mut heads, mut longest, mut flags) = (0, 0, 0, 0);
        for piece in pieces {
            let fed = walker.feed(piece);
            (ended, heads) = (ended + fed.ended, heads + fed.heads);
            (longest, flags) = (fed.length_max.max(longest), flags | fed.flags);
        }
        (walker.is_between(), ended, heads, longest, flags)
    };
    assert_eq!(walked(&mut pieces(input)), walked(&mut std::iter::once(whole)));

    assert_eq!(binary::decode(binary::encode(whole).as_bytes()).as_deref(), Some(whole));
    let _ = (binary::decode(whole), connect::parse_timeout(whole), trace_context::TraceParent::parse(whole));
    if let Some(time) = timeout::parse(whole) {
        // What is passed on is never longer.
        let again = timeout::parse(&timeout::format(time)).expect("what we write can be read");
        assert!(again <= time, "{again:?} of {time:?}");
    }
    if let Ok(text) = str::from_utf8(whole) {
        assert_eq!(message::decode(message::encode(text).as_bytes()), text);
        let _ = connect::Get::parse(text);
    }
    let _ = message::decode(whole);
}

const PROTO: &str = r#"
syntax = "proto3"; package fuzzed;
import "google/api/annotations.proto"; import "google/protobuf/any.proto"; import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto"; import "google/protobuf/struct.proto"; import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto"; import "google/protobuf/empty.proto";
service S { rpc M(All) returns (All) { option (google.api.http) = { post: "/v1/{text=a/**}:go" body: "inner" }; } }
enum E { ZERO = 0; ONE = 1; MINUS = -1; }
message All {
  string text = 1; bytes data = 2; bool flag = 3; double d = 4; float f = 5; int32 i = 6; sint64 s = 7; fixed32 x = 8;
  uint64 u = 9; E e = 10; repeated E es = 11; repeated int32 is = 12; repeated string texts = 13; All inner = 14;
  repeated All all = 15; map<string, All> by_name = 16; map<int32, string> by_number = 17; map<bool, E> by_flag = 18;
  oneof one { string a = 19; All b = 20; google.protobuf.NullValue nothing = 21; } optional int32 maybe = 22;
  google.protobuf.Any any = 23; google.protobuf.Duration time = 24; google.protobuf.FieldMask mask = 25;
  google.protobuf.Struct fields = 26; google.protobuf.Value value = 27; google.protobuf.ListValue list = 28;
  google.protobuf.Timestamp at = 29; google.protobuf.BytesValue wrapped = 30; google.protobuf.Empty empty = 31;
}
"#;

/// The compiled messages of `PROTO`.
static API: LazyLock<(Api, MessageId)> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("ringway-fuzzed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("all.proto"), PROTO).expect("a file");
    let api = Api::load(&transcoding("protos = [\"all.proto\"]"), &folder, &[]);
    std::fs::remove_dir_all(&folder).expect("the folder");
    let api = api.unwrap_or_else(|problems| panic!("{problems:?}"));
    let id = api.schema().message_id("fuzzed.All").expect("the message");
    (api, id)
});

fn transcoding(keys: &str) -> Transcoding {
    let text = format!(
        "[transcoding]\n{keys}\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\ncluster = \"c\"\n\
         [[clusters]]\nname = \"c\"\nendpoints = [\"127.0.0.1:1\"]\n"
    );
    config::parse(&text, Path::new("r.toml")).unwrap_or_else(|errors| panic!("{errors}")).transcoding
}

/// JSON to a message and back: what is written is read, and is written alike.
pub(crate) fn json(input: &[u8]) {
    let (api, id) = &*API;
    let (first, text) = input.split_first().unwrap_or((&0, input));
    let ignore_unknown_fields = first & 1 > 0;
    let print = PrintOptions {
        add_whitespace: first & 2 > 0,
        always_print_primitive_fields: first & 4 > 0,
        always_print_enums_as_ints: first & 8 > 0,
        preserve_proto_field_names: first & 16 > 0,
    };
    let read = |text: &[u8], out: &mut Vec<u8>| {
        read::read(api.schema(), *id, text, ReadOptions { ignore_unknown_fields }, out)
    };
    let written = |wire: &[u8]| {
        let mut out = Vec::new();
        write::write(api.schema(), *id, wire, &print, &mut out).map(|()| out)
    };
    let mut wire = Vec::new();
    match read(text, &mut wire) {
        Ok(()) => same_again(&written(&wire).expect("what was read can be written"), read, written),
        Err(_) => assert!(wire.is_empty(), "an error leaves nothing"),
    }
    // The input as a message, from a service.
    if let Ok(text) = written(text) {
        same_again(&text, read, written);
    }
}

/// A text of ours is read, and written as it was.
fn same_again<R: std::fmt::Debug, W: std::fmt::Debug>(
    text: &[u8],
    read: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), R>,
    written: impl Fn(&[u8]) -> Result<Vec<u8>, W>,
) {
    let mut wire = Vec::new();
    let shown = String::from_utf8_lossy(text);
    read(text, &mut wire).unwrap_or_else(|error| panic!("{error:?}: {shown}"));
    let again = written(&wire).unwrap_or_else(|error| panic!("{error:?}: {shown}"));
    assert_eq!(String::from_utf8_lossy(&again), shown);
}

/// A configuration is refused with places, or what is in use reads as itself.
pub(crate) fn configuration(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match config::parse(text, Path::new("ringway.toml")) {
        Ok(config) => {
            let shown = config.effective.toml();
            let again = config::parse(&shown, Path::new("ringway.toml"));
            let again = again.unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
            assert!(again == config, "{shown}");
        }
        Err(errors) => assert!(errors.to_string().starts_with("ringway.toml:"), "{errors}"),
    }
}

/// Descriptors as a service may answer by reflection: each file behind two bytes of its length.
pub(crate) fn descriptors(input: &[u8]) {
    static SETTINGS: LazyLock<Transcoding> = LazyLock::new(|| transcoding("reflection = [\"c\"]"));
    let (mut files, mut rest) = (Vec::new(), input);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (file, after) = after.split_at(after.len().min(usize::from(u16::from_be_bytes(*length))));
        files.push(file.to_vec());
        rest = after;
    }
    let reflected = Reflected { origin: "c".to_owned(), files, untold: Vec::new() };
    let Ok(api) = Api::load(&SETTINGS, Path::new("."), &[reflected]) else { return };
    let print_options = PrintOptions::default();
    let about = openapi::About { title: "t", version: "1", print_options, wraps_stream_messages: false };
    assert!(openapi::document(&api, &about).is_object());
    for method in api.methods() {
        assert!(api.method(method.path.as_str()).is_some());
        let _ = api.find("POST", method.path.as_str(), &mut Captures::default());
    }
}
