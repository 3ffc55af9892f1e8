//! The description of an API: whole, unambiguous, and by the mapping of protobuf to JSON.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use ringway::config::{self, PrintOptions, Transcoding};
use ringway::transcode::api::Api;
use ringway::transcode::openapi::{About, document};
use serde_json::{Value, json};

const REST: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\ncluster = \"echo\"\n\
    [[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";

fn api(protos: &[&str]) -> Api {
    let text =
        format!("[transcoding]\nprotos = {protos:?}\nproto_paths = [\"tests/protos\", \"proto\"]\n{REST}");
    let settings: Transcoding = config::parse(&text, Path::new("r.toml")).unwrap().transcoding;
    Api::load(&settings, Path::new(env!("CARGO_MANIFEST_DIR")), &[])
        .unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn everything() -> Api {
    api(&["tests/protos/everything.proto"])
}

fn demo() -> Api {
    api(&["auth", "chat", "employee", "structure"]
        .map(|name| format!("proto/ringway/demo/{name}/v1/{name}.proto"))
        .each_ref()
        .map(String::as_str))
}

fn described(api: &Api, print_options: PrintOptions) -> Value {
    document(api, &About { title: "A title", version: "7", print_options, wraps_stream_messages: false })
}

/// Calls `visit` with every object in a value.
fn objects<'a>(value: &'a Value, visit: &mut impl FnMut(&'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            visit(fields);
            fields.values().for_each(|value| objects(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| objects(item, visit)),
        _ => {}
    }
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(key, operation)| (path.as_str(), key.as_str(), operation))
        })
        .collect()
}

#[test]
fn a_document_is_whole_and_unambiguous() {
    for (name, api) in [("everything", everything()), ("demo", demo())] {
        let document = described(&api, PrintOptions::default());
        // For a validator of other people.
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("openapi-{name}.json"));
        fs::write(file, serde_json::to_vec_pretty(&document).unwrap()).unwrap();

        assert_eq!(document["openapi"], "3.1.0");
        let mut references = 0;
        objects(&document, &mut |fields| {
            if let Some(Value::String(target)) = fields.get("$ref") {
                references += 1;
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
            }
        });
        assert!(references > 20, "{references}");

        let (mut ids, mut shapes) = (HashSet::new(), HashSet::new());
        for path in document["paths"].as_object().unwrap().keys() {
            let shape: Vec<String> = path
                .split('/')
                .map(|s| if s.starts_with('{') { s[s.find('}').unwrap()..].to_owned() } else { s.to_owned() })
                .collect();
            assert!(shapes.insert(shape), "{path} looks like another one");
        }
        for (path, key, operation) in operations(&document) {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            let empty = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&empty);
            let named = |place: &str| -> Vec<&str> {
                parameters.iter().filter(|p| p["in"] == place).map(|p| p["name"].as_str().unwrap()).collect()
            };
            let in_text: Vec<&str> =
                path.split('{').skip(1).map(|rest| rest.split_once('}').unwrap().0).collect();
            assert_eq!(named("path"), in_text, "{key} {path}");
            let query = named("query");
            assert_eq!(query.iter().collect::<HashSet<_>>().len(), query.len(), "{key} {path}");
            assert!(parameters.iter().all(|p| p["in"] == "query" || p["required"] == true));
            let tag = &operation["tags"][0];
            assert!(document["tags"].as_array().unwrap().iter().any(|one| one["name"] == *tag));
        }
        let methods: HashSet<&str> = api.methods().iter().map(|method| method.path.as_str()).collect();
        assert!(ids.len() >= methods.len());
    }
}

#[test]
fn paths_and_operations_say_what_the_rules_do() {
    let document = described(&everything(), PrintOptions::default());
    let keys: Vec<(&str, &str)> = operations(&document).iter().map(|(path, key, _)| (*path, *key)).collect();
    assert_eq!(
        keys,
        [
            ("/", "get"),
            ("/everything.v1.Library/Cover", "post"),
            ("/everything.v1.Library/DeleteBook", "post"),
            ("/everything.v1.Library/GetBook", "post"),
            ("/everything.v1.Library/Plain", "post"),
            ("/everything.v1.Library/PutBook", "post"),
            ("/everything.v1.Library/Report", "post"),
            ("/everything.v1.Library/SetCover", "post"),
            ("/everything.v1.Library/Upload", "post"),
            ("/everything.v1.Library/Watch", "post"),
            ("/v1/anything", "x-any"),
            ("/v1/books/{name}", "delete"),
            ("/v1/books/{name}", "get"),
            ("/v1/books/{name}", "patch"),
            ("/v1/books/{name}", "x-report"),
            ("/v1/books/{name}:cover", "get"),
            ("/v1/books/{name}:cover", "put"),
            ("/v1/books/{view.language}/of/boxes/{box}/{box_2}", "get"),
            ("/v1/books:upload", "post"),
            ("/v1/books:watch", "get"),
            ("/v1/files/{name}", "get"),
            ("/v1/shelves/{shelf}/books/{book}", "get"),
            ("/v1/shelves/{shelf}/books/{book}", "put"),
        ]
    );
    let paths = &document["paths"];
    let get = &paths["/v1/shelves/{shelf}/books/{book}"]["get"];
    assert_eq!(get["operationId"], "Library_GetBook");
    assert_eq!(get["summary"], "One book");
    assert_eq!(get["description"], "One book.\nIt may be long.");
    let query: Vec<&Value> = get["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["in"] == "query")
        .map(|p| &p["name"])
        .collect();
    assert_eq!(query, ["view.language", "view.since", "kinds", "readMask"]);
    let error = json!({ "$ref": "#/components/responses/Error" });
    assert_eq!(get["responses"]["default"], error);
    let book = json!({ "$ref": "#/components/schemas/everything.v1.Book" });
    assert_eq!(get["responses"]["200"]["content"]["application/json"]["schema"], book);
    let put = &paths["/v1/shelves/{shelf}/books/{book}"]["put"];
    assert_eq!(put["requestBody"]["content"]["application/json"]["schema"], book);
    assert_eq!(put["parameters"].as_array().unwrap().len(), 2);
    let patch = &paths["/v1/books/{name}"]["patch"];
    assert_eq!(patch["parameters"][0]["schema"], json!({ "type": "string", "format": "int64" }));
    assert_eq!(
        patch["requestBody"]["content"]["application/json"]["schema"],
        json!({ "$ref": "#/components/schemas/everything.v1.Meta" })
    );
    assert_eq!(
        patch["responses"]["200"]["content"]["application/json"]["schema"],
        json!({ "type": "array", "items": { "type": "string" } })
    );
    assert_eq!(paths["/v1/books/{name}"]["delete"]["deprecated"], true);
    let watch = paths["/v1/books:watch"]["get"]["responses"]["200"]["content"].as_object().unwrap();
    assert_eq!(watch.keys().collect::<Vec<_>>(), ["application/x-ndjson", "text/event-stream"]);
    let upload = &paths["/v1/books:upload"]["post"]["requestBody"]["content"];
    assert_eq!(upload["application/x-ndjson"]["schema"], book);
    assert_eq!(paths["/v1/books/{name}:cover"]["get"]["responses"]["200"]["content"], json!({ "*/*": {} }));
    assert_eq!(paths["/v1/books/{name}:cover"]["put"]["requestBody"]["content"], json!({ "*/*": {} }));
    let rest = paths["/v1/files/{name}"]["get"]["parameters"][0]["description"].as_str().unwrap();
    assert!(rest.ends_with("slashes between them are sent as they are."), "{rest}");
}

#[test]
fn schemas_follow_the_mapping_to_json() {
    let document = described(&everything(), PrintOptions::default());
    let schemas = &document["components"]["schemas"];
    let book = &schemas["everything.v1.Book"];
    assert_eq!(book["description"], "A book.\n\nAt most one of `shelf`, `box`.");
    assert_eq!(book["required"], json!(["name"]));
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/everything.v1.{name}") });
    let wanted = [
        ("name", json!({ "type": "string" })),
        (
            "id",
            json!({ "type": "string", "format": "int64", "readOnly": true, "description": "Its number." }),
        ),
        ("meta", reference("Meta")),
        ("tags", json!({ "type": "array", "items": { "type": "string" } })),
        ("parts", json!({ "type": "object", "additionalProperties": reference("Book") })),
        ("kinds", json!({ "type": "object", "additionalProperties": reference("Kind") })),
        ("length", json!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$" })),
        ("list", json!({ "type": "array", "items": {} })),
        ("null", json!({ "type": "null" })),
        ("big", json!({ "type": ["string", "null"], "format": "int64" })),
        ("raw", json!({ "type": ["string", "null"], "contentEncoding": "base64" })),
        ("flag", json!({ "type": ["boolean", "null"] })),
        ("text", json!({ "type": ["string", "null"] })),
        ("ratio", json!({ "type": ["number", "null"], "format": "double" })),
        ("small", json!({ "type": "integer", "format": "uint32", "minimum": 0 })),
        ("wide", json!({ "type": "string", "format": "uint64" })),
        ("weight", json!({ "type": "number", "format": "float", "deprecated": true })),
        ("price", json!({ "type": "number", "format": "double" })),
        ("cover", json!({ "type": "string", "contentEncoding": "base64", "writeOnly": true })),
        ("new", json!({ "type": "boolean" })),
        ("subtitle", json!({ "type": "string" })),
        ("kind", reference("Kind")),
        ("readAt", json!({ "type": "array", "items": { "type": "string", "format": "date-time" } })),
    ];
    for (name, schema) in wanted {
        assert_eq!(book["properties"][name], schema, "{name}");
    }
    let kind = &schemas["everything.v1.Kind"];
    assert_eq!(kind["enum"], json!(["KIND_UNSPECIFIED", "NOVEL", "STORY"]));
    assert_eq!(kind["description"], "The kind of a book.\n- `NOVEL`: A story.");
    assert!(schemas["google.rpc.Status"].is_object());
    assert!(
        schemas
            .as_object()
            .unwrap()
            .keys()
            .all(|name| !name.starts_with("google.protobuf.") || name.ends_with(".Empty"))
    );

    let print = PrintOptions {
        always_print_enums_as_ints: true,
        preserve_proto_field_names: true,
        ..PrintOptions::default()
    };
    let document = described(&everything(), print);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["everything.v1.Kind"]["enum"], json!([0, 1]));
    assert!(schemas["everything.v1.Book"]["properties"]["read_at"].is_object());
}

#[test]
fn an_api_without_rules_is_a_document_too() {
    let document = described(
        &Api::build(&prost_reflect::DescriptorPool::new(), &settings()).unwrap(),
        PrintOptions::default(),
    );
    assert_eq!(document["paths"], json!({}));
}

fn settings() -> Transcoding {
    config::parse(REST, Path::new("r.toml")).unwrap().transcoding
}

#[test]
fn an_api_is_shared_by_all_workers() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Api>();
}
