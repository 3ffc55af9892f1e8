//! Habits of grpc-gateway: each as an option of its own, and all of them by one word.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::BACKENDS;
use crate::support::library::{Front, Library, Scratch, Source, front};
use crate::support::web::{Caller, JSON, VERSIONS, Version};
use crate::support::within;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const ALL: &str = "compatibility = \"grpc-gateway\"";

type Headers = &'static [(&'static str, &'static str)];

/// A request, and the message that it becomes with an option; without it, it is refused with this status, or becomes
/// something else.
struct Case {
    option: &'static str,
    line: &'static str,
    headers: Headers,
    body: &'static str,
    with: Value,
    without: Result<Value, u16>,
}

fn case(
    option: &'static str,
    (line, headers, body): (&'static str, Headers, &'static str),
    with: Value,
    without: Result<Value, u16>,
) -> Case {
    Case { option, line, headers, body, with, without }
}

fn cases() -> Vec<Case> {
    [ignored(), forms_and_maps(), masks()].into_iter().flatten().collect()
}

fn ignored() -> Vec<Case> {
    let (unused, bound) = ("ignore_unused_body", "ignore_bound_query_parameters");
    let get = "GET /v1/shelves/a/books/b";
    let named = json!({ "name": "shelves/a/books/b" });
    vec![
        case(unused, (get, &[JSON], "{\"deep\": true}"), named.clone(), Err(400)),
        case(unused, (get, &[("content-type", "text/plain")], "no JSON"), named.clone(), Err(400)),
        case(
            bound,
            ("GET /v1/shelves/a/books/b?name=c&deep=true", &[], ""),
            json!({ "name": "shelves/a/books/b", "deep": true }),
            Err(400),
        ),
        case(
            bound,
            ("POST /v1/shelves/a/books?item.id=7&item.title=t&deep=true", &[JSON], "{\"id\": \"1\"}"),
            json!({ "name": "shelves/a", "item": { "id": "1" }, "deep": true }),
            Err(400),
        ),
        case(
            bound,
            ("PUT /v1/shelves/a/books/b?deep=true", &[JSON], "{\"count\": 2}"),
            json!({ "name": "shelves/a/books/b", "count": 2 }),
            Err(400),
        ),
    ]
}

fn forms_and_maps() -> Vec<Case> {
    let (form, map) = ("form_bodies", "map_query_parameters");
    vec![
        case(
            form,
            ("POST /v1/comparisons/n", &[FORM], "words=a+b&words=%C3%BC&book.longTitle=t&red=r"),
            json!({ "name": "n", "words": ["a b", "ü"], "book": { "longTitle": "t" }, "red": "r" }),
            Err(400),
        ),
        case(
            form,
            (
                "POST /v1/comparisons?",
                &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
                "name=m&words=a\r\n",
            ),
            json!({ "name": "m", "words": ["a"] }),
            Err(415),
        ),
        case(
            form,
            ("PUT /v1/comparisons/n?red=r", &[FORM], "long_title=t&mainItem.pages=5"),
            json!({ "name": "n", "red": "r", "book": { "longTitle": "t", "mainItem": { "pages": "5" } } }),
            Err(415),
        ),
        case(
            form,
            ("POST /v1/comparisons/n?red=r", &[FORM], ""),
            json!({ "name": "n", "red": "r" }),
            Ok(json!({ "name": "n", "red": "r" })),
        ),
        case(
            map,
            (
                "POST /v1/comparisons/n?labels[a]=1&labels%5Bb%5D=2&kinds[-7]=KIND_PAPER&labels[x[y]]=3",
                &[],
                "",
            ),
            json!({ "name": "n", "labels": { "a": 1, "b": 2, "x[y]": 3 }, "kinds": { "-7": "KIND_PAPER" } }),
            Err(400),
        ),
    ]
}

fn masks() -> Vec<Case> {
    let mask = "fill_update_mask";
    let patched = |book: Value, mask: &str| json!({ "name": "n", "book": book, "updateMask": mask });
    vec![
        case(
            mask,
            (
                "PATCH /v1/comparisons/n",
                &[JSON],
                r#"{"longTitle": "t", "mainItem": {"title": "x", "pages": null}}"#,
            ),
            patched(
                json!({ "longTitle": "t", "mainItem": { "title": "x" } }),
                "longTitle,mainItem.title,mainItem.pages",
            ),
            Ok(json!({ "name": "n", "book": { "longTitle": "t", "mainItem": { "title": "x" } } })),
        ),
        case(
            mask,
            (
                "PATCH /v1/comparisons/n",
                &[JSON],
                r#"{"main_item": {}, "more_items": [{"id": "1"}], "any": {"a": {"b": 1}}, "pages": {"x": 1}}"#,
            ),
            patched(
                json!({ "mainItem": {}, "moreItems": [{ "id": "1" }], "any": { "a": { "b": 1.0 } }, "pages": { "x": 1 } }),
                "mainItem,moreItems,any.a.b,pages",
            ),
            Ok(
                json!({ "name": "n", "book": { "mainItem": {}, "moreItems": [{ "id": "1" }], "any": { "a": { "b": 1.0 } }, "pages": { "x": 1 } } }),
            ),
        ),
        case(
            mask,
            ("PATCH /v1/comparisons/n?updateMask=longTitle", &[JSON], r#"{"longTitle": "t", "pages": {}}"#),
            patched(json!({ "longTitle": "t" }), "longTitle"),
            Ok(patched(json!({ "longTitle": "t" }), "longTitle")),
        ),
        case(
            mask,
            ("PATCH /v1/comparisons/n", &[JSON], ""),
            json!({ "name": "n" }),
            Ok(json!({ "name": "n" })),
        ),
        case(
            mask,
            ("PUT /v1/comparisons/n", &[JSON], r#"{"longTitle": "t"}"#),
            json!({ "name": "n", "book": { "longTitle": "t" } }),
            Ok(json!({ "name": "n", "book": { "longTitle": "t" } })),
        ),
    ]
}

async fn hold(front: &Front, library: &Library, version: Version, case: &Case, wanted: &Result<Value, u16>) {
    let mut caller = Caller::connect(version, front.address).await;
    let answer = caller.ask(case.line, case.headers, case.body.as_bytes()).await;
    let what = format!("{version:?} {} {:?}: {}", case.line, case.body, answer.text());
    match wanted {
        Ok(message) => {
            assert_eq!(answer.status, 200, "{what}");
            assert_eq!(library.take().messages, std::slice::from_ref(message), "{what}");
        }
        Err(status) => assert_eq!(answer.status, *status, "{what}"),
    }
}

#[tokio::test]
async fn each_option_alone_and_all_by_one_word() {
    for backend in BACKENDS {
        let library = Library::start();
        let [none, all] = ["", ALL].map(|settings| front(&library, backend, Source::DescriptorSet, settings));
        let mut options: Vec<&str> = Vec::new();
        for case in cases() {
            let one = front(&library, backend, Source::DescriptorSet, &format!("{} = true", case.option));
            for version in VERSIONS {
                let with = Ok(case.with.clone());
                hold(&one, &library, version, &case, &with).await;
                hold(&all, &library, version, &case, &with).await;
                hold(&none, &library, version, &case, &case.without).await;
            }
            options.push(case.option);
        }
        options.dedup();
        assert_eq!(options.len(), 5, "{options:?}");
    }
}

#[tokio::test]
async fn forms_and_maps_that_are_wrong_are_told() {
    let library = Library::start();
    let settings = "form_bodies = true\nmap_query_parameters = true";
    let front = front(&library, "io_uring", Source::DescriptorSet, settings);
    let post = "POST /v1/comparisons/n";
    for (line, content, body, status, said) in [
        (post, FORM, "nmae=1", 400, "form field `nmae`: no field `nmae`"),
        (post, FORM, "name=m", 400, "form field `name`: the path or the body has this field"),
        (post, FORM, "words=%zz", 400, "form field `words`: `%` without two hexadecimal digits"),
        (post, FORM, "red=a&blue=b", 400, "`red` and `blue` are of one oneof"),
        ("POST /v1/comparisons/n?red=a", FORM, "blue=b", 400, "`blue` and `red` are of one oneof"),
        ("POST /v1/sum", FORM, "number=1", 415, "does not take a body of this type"),
        ("POST /v1/comparisons/n?labels[a]=x", FORM, "", 400, "`x` is not a number"),
        (
            "POST /v1/comparisons/n?items[a]=x",
            FORM,
            "",
            400,
            "no text for a value of `items`: it is a message",
        ),
        ("POST /v1/comparisons/n?words[a]=x", FORM, "", 400, "`words` is not a map"),
        ("POST /v1/comparisons/n?labels=x", FORM, "", 400, "no text for `labels`: it is a map"),
        ("POST /v1/comparisons/n?kinds[x]=1", FORM, "", 400, "`x` is not a number"),
    ] {
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let answer = caller.ask(line, &[content], body.as_bytes()).await;
            assert_eq!(answer.status, status, "{version:?} {line} {body}: {}", answer.text());
            assert!(answer.text().contains(said), "{version:?} {line} {body}: {}", answer.text());
        }
    }
    assert_eq!(library.seen().len(), 0, "no service sees what is refused");
}

#[tokio::test]
async fn a_stream_is_lines_of_results_and_errors() {
    for backend in BACKENDS {
        let library = Library::start();
        for settings in ["wrap_stream_messages = true", ALL] {
            let front = front(&library, backend, Source::DescriptorSet, settings);
            let empty = if settings == ALL { r#","text":"""# } else { "" };
            let line = |number: u32| format!("{{\"result\":{{\"number\":\"{number}\"{empty}}}}}\n");
            let error = r#"{"error":{"code":9,"details":[],"message":"no"}}"#.to_owned() + "\n";
            for version in VERSIONS {
                let mut caller = Caller::connect(version, front.address).await;
                for accept in ["application/json", "*/*", "application/x-ndjson"] {
                    let accept = [("accept", accept)];
                    let answer = caller.ask("GET /v1/events?count=2", &accept, b"").await;
                    assert_eq!((answer.status, answer.is_whole), (200, true), "{answer:?}");
                    assert_eq!(answer.field("content-type"), Some("application/json"));
                    assert_eq!(answer.text(), line(1) + &line(2));
                    // The failure is a line, and the body ends in order.
                    let failing = "GET /v1/events?count=1&fail.code=9&fail.message=no";
                    let answer = caller.ask(failing, &accept, b"").await;
                    assert_eq!((answer.status, answer.is_whole), (200, true), "{answer:?}");
                    assert_eq!(answer.text(), line(1) + &error);
                    let answer = caller.ask("GET /v1/events?fail.code=9&fail.message=no", &accept, b"").await;
                    assert_eq!((answer.status, answer.text()), (400, error.as_str()), "{answer:?}");
                }
                let events =
                    caller.ask("GET /v1/events?count=1", &[("accept", "text/event-stream")], b"").await;
                assert_eq!(events.text(), format!("data: {{\"number\":\"1\"{empty}}}\n\n"));
                // Neither one answer nor what is no JSON is wrapped.
                let answer = caller.ask("GET /v1/shelves/a/books/b", &[], b"").await;
                assert_eq!(answer.json()["total"], "7", "{answer:?}");
                let answer = caller.ask("GET /v1/films/f?count=1", &[], b"").await;
                assert_eq!(answer.text(), "part 1;", "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn metadata_has_prefixes() {
    for backend in BACKENDS {
        let library = Library::start();
        for settings in ["metadata_prefixes = true", ALL] {
            let front = front(&library, backend, Source::DescriptorSet, settings);
            for version in VERSIONS {
                let mut caller = Caller::connect(version, front.address).await;
                let headers = [
                    ("grpc-metadata-x-user", "u"),
                    ("Grpc-Metadata-X-Bytes-Bin", "AAE="),
                    ("grpc-metadata-grpc-timeout", "1n"),
                    ("grpc-metadata-x-forwarded-for", "9.9.9.9"),
                    ("x-plain", "p"),
                ];
                let answer = caller.ask("GET /v1/shelves/a/books/b", &headers, b"").await;
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(answer.field("grpc-metadata-x-served-by"), Some("library"), "{answer:?}");
                assert_eq!(answer.field("grpc-trailer-x-last"), Some("yes"), "{answer:?}");
                assert_eq!(answer.field("content-type"), Some("application/json"), "{answer:?}");
                assert_eq!((answer.field("x-served-by"), answer.field("x-last")), (None, None), "{answer:?}");
                let seen = library.take();
                let value = |name: &str| seen.headers.get(name).map(|value| value.to_str().expect("text"));
                assert_eq!((value("x-user"), value("x-bytes-bin")), (Some("u"), Some("AAE=")));
                assert_eq!(value("x-plain"), Some("p"));
                let names: Vec<&str> = seen.headers.keys().map(http::HeaderName::as_str).collect();
                assert!(!names.iter().any(|name| name.starts_with("grpc-metadata-")), "{names:?}");
                assert_ne!(value("x-forwarded-for"), Some("9.9.9.9"));
                // Fields that a browser acts on keep their names.
                let failing = "GET /v1/shelves/a/books/b?fail.code=16&fail.message=head%20first";
                let answer = caller.ask(failing, &[], b"").await;
                assert_eq!(answer.status, 401, "{answer:?}");
                assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"x\""), "{answer:?}");
                assert_eq!(answer.field("grpc-trailer-x-last"), Some("yes"), "{answer:?}");
                library.take();
            }
        }
    }
}

/// Rules of a file are served beside those of the descriptors, and a file that changes is taken over.
#[tokio::test]
async fn rules_come_from_a_service_config() {
    const HEAD: &str = "type: google.api.Service\nconfig_version: 3\nhttp:\n  rules:\n";
    let rule =
        |path: &str| format!("{HEAD}  - selector: test.web.v1.Library.Plain\n    get: {path}/{{name}}\n");
    for backend in BACKENDS {
        let library = Library::start();
        let folder = Scratch::new();
        let path = folder.0.join("api.yaml");
        std::fs::write(&path, rule("/v1/more")).expect("a folder for temporary files");
        let front = front(&library, backend, Source::DescriptorSet, &format!("service_configs = [{path:?}]"));
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let answer = caller.ask("GET /v1/more/n?deep=true", &[], b"").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(library.take().messages, [json!({ "name": "n", "deep": true })]);
            let answer = caller.ask("GET /v1/shelves/a/books/b", &[], b"").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            library.take();
        }
        std::fs::write(&path, rule("/v1/other")).expect("a folder for temporary files");
        within(Duration::from_secs(10), "the new rule is served", async {
            loop {
                let mut caller = Caller::connect(Version::Http2, front.address).await;
                if caller.ask("GET /v1/other/n", &[], b"").await.status == 200 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
