//! Descriptors from files to an API: what is served, and what is wrong, in words.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringway::config::{self, Transcoding};
use ringway::transcode::api::{Api, Body, Idempotency, Reflected};
use ringway::transcode::rules::{Captures, Found};

/// A directory that is there until the value is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("ringway-descriptors-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn load(&self, transcoding: &str) -> Result<Api, Vec<String>> {
        self.load_with(transcoding, &[])
    }

    fn load_with(&self, transcoding: &str, reflected: &[Reflected]) -> Result<Api, Vec<String>> {
        let problems = |problems: Vec<_>| problems.iter().map(ToString::to_string).collect();
        Api::load(&settings(transcoding), &self.0, reflected).map_err(problems)
    }

    /// The descriptor set of some of its files, with what they import.
    fn set(&self, files: &[&str], imports: bool) -> Vec<u8> {
        let mut compiler = protox::Compiler::new([self.0.as_path(), Path::new("proto")]).unwrap();
        compiler.include_imports(imports).open_files(files).unwrap();
        compiler.encode_file_descriptor_set()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const REST: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\ncluster = \"echo\"\n\
    [[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";

fn settings(transcoding: &str) -> Transcoding {
    let text = format!("[transcoding]\n{transcoding}\n{REST}");
    config::parse(&text, Path::new("r.toml")).unwrap_or_else(|errors| panic!("{errors}")).transcoding
}

/// A file with one service, whose only method carries these options.
fn service(options: &str) -> String {
    format!(
        "syntax = \"proto3\"; package t.v1;\n\
         import \"google/api/annotations.proto\";\n\
         import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/wrappers.proto\"; import \"google/protobuf/struct.proto\";\n\
         service S {{ rpc M(Q) returns (A) {{ {options} }} }}\n\
         message Q {{ string name = 1; Inner inner = 2; repeated string tags = 3; map<string, string> labels = 4;\n\
           google.protobuf.Timestamp at = 5; google.protobuf.Int32Value count = 6; google.protobuf.Value any = 7; E e = 8; }}\n\
         message Inner {{ string id = 1; Inner inner = 2; repeated Inner many = 3; }}\n\
         message A {{ repeated Inner list = 1; }}\n\
         enum E {{ ZERO = 0; }}"
    )
}

fn rule(rule: &str) -> Result<Api, Vec<String>> {
    let name =
        format!("{:x}", rule.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte)));
    let text = service(&format!("option (google.api.http) = {{ {rule} }};"));
    Scratch::new(&name, &[("t.proto", &text)]).load("protos = [\"t.proto\"]\non_bad_rule = \"fail\"")
}

#[test]
fn rules_bind_fields_of_their_messages() {
    let good = [
        "get: \"/a\"",
        "get: \"/a/{name}\"",
        "get: \"/a/{inner.id}\"",
        "get: \"/a/{inner.inner.inner.id=x/*}\"",
        "get: \"/a/{at}\"",
        "get: \"/a/{count}\"",
        "get: \"/a/{e}\"",
        "put: \"/a\" body: \"*\"",
        "post: \"/a/{inner.id}\" body: \"inner\"",
        "patch: \"/a\" body: \"tags\"",
        "delete: \"/a\" response_body: \"list\"",
        "custom: { kind: \"REPORT\" path: \"/a\" }",
        "custom: { kind: \"*\" path: \"/a\" } body: \"any\"",
        "get: \"/a\" additional_bindings { post: \"/a\" body: \"*\" } additional_bindings { get: \"/b/{name}\" }",
    ];
    for text in good {
        let api = rule(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        assert_eq!(api.methods().len(), 1);
        let written = api.rules().iter().filter(|rule| !rule.is_auto).count();
        assert_eq!(written, 1 + text.matches("additional_bindings").count(), "{text}");
    }
    let api = rule("post: \"/a/{inner.id}\" body: \"inner\" response_body: \"list\"").unwrap();
    let bound = &api.rules()[0];
    let names: Vec<&str> = bound.captures[0].descriptors.iter().map(|field| field.name()).collect();
    assert_eq!(names, ["inner", "id"]);
    assert!(matches!(&bound.body, Body::Field(field) if field.descriptor().name() == "inner"));
    assert_eq!(bound.response_body.as_ref().map(|field| field.descriptor().name()), Some("list"));
}

/// A rule of the method, and what is wrong with it.
const WRONG: &[(&str, &str)] = &[
    (
        "",
        ": google.api.http says neither method nor path (write get: \"/path\", put, post, delete, patch or custom)",
    ),
    (
        "body: \"*\"",
        ": google.api.http says neither method nor path (write get: \"/path\", put, post, delete, patch or custom)",
    ),
    ("get: \"a\"", ": GET a: column 1: a template begins with `/`"),
    ("get: \"/{nam}\"", ": GET /{nam}: path \"nam\": t.v1.Q has no such field (did you mean \"name\"?)"),
    (
        "get: \"/{inner.idd}\"",
        ": GET /{inner.idd}: path \"inner.idd\": t.v1.Inner has no such field (did you mean \"id\"?)",
    ),
    ("get: \"/{name.x}\"", ": GET /{name.x}: \"name.x\": \"name\" is not a message"),
    (
        "get: \"/{tags}\"",
        ": GET /{tags}: \"tags\": \"tags\" is repeated, so a path cannot bind it (take it from the query or the body)",
    ),
    (
        "get: \"/{labels}\"",
        ": GET /{labels}: \"labels\": \"labels\" is repeated, so a path cannot bind it (take it from the query or the body)",
    ),
    (
        "get: \"/{inner.many.id}\"",
        ": GET /{inner.many.id}: \"inner.many.id\": \"many\" is repeated, so a path cannot bind it (take it from the query or the body)",
    ),
    (
        "get: \"/{inner}\"",
        ": GET /{inner}: \"inner\" is a message, t.v1.Inner, so a path cannot bind it (bind one of its fields)",
    ),
    (
        "get: \"/{any}\"",
        ": GET /{any}: \"any\" is a message, google.protobuf.Value, so a path cannot bind it (bind one of its fields)",
    ),
    (
        "post: \"/a\" body: \"innr\"",
        ": POST /a: body \"innr\": t.v1.Q has no such field (did you mean \"inner\"?)",
    ),
    (
        "post: \"/a\" body: \"inner.zz\"",
        ": POST /a: body \"inner.zz\": t.v1.Q has no such field (only fields of the message itself)",
    ),
    (
        "post: \"/a/{name}\" body: \"name\"",
        ": POST /a/{name}: field \"name\" is bound by the path and by the body",
    ),
    ("get: \"/a\" response_body: \"zzz\"", ": GET /a: response_body \"zzz\": t.v1.A has no such field"),
    ("custom: { kind: \"\" path: \"/a\" }", ":  /a: \"\" is not the name of an HTTP method"),
    ("custom: { kind: \"A B\" path: \"/a\" }", ": A B /a: \"A B\" is not the name of an HTTP method"),
    (
        "get: \"/a\" additional_bindings { get: \"/b\" additional_bindings { get: \"/c\" } }",
        ": GET /b: an additional binding may have no additional bindings",
    ),
    (
        "get: \"/a\" additional_bindings { get: \"/a\" }",
        ": GET /a: means the same requests as t.proto: t.v1.S.M: GET /a (take one of them out, or change its path)",
    ),
    (
        "get: \"/{name}\" additional_bindings { get: \"/{inner.id}\" }",
        ": GET /{inner.id}: means the same requests as t.proto: t.v1.S.M: GET /{name} (take one of them out, or change its path)",
    ),
];

#[test]
fn rules_that_cannot_work_are_named() {
    let method = "t.proto: t.v1.S.M";
    for (text, wanted) in WRONG {
        assert_eq!(rule(text).map(drop).unwrap_err(), [format!("{method}{wanted}")], "{text}");
    }
    let several =
        rule("get: \"/{nam}/{tags}\" response_body: \"zzz\" additional_bindings { get: \"\" }").unwrap_err();
    assert_eq!(several.len(), 4, "{several:?}");
}

#[test]
fn every_method_can_be_called_by_its_name() {
    let text = service("option idempotency_level = NO_SIDE_EFFECTS;");
    let scratch = Scratch::new("auto", &[("t.proto", &text)]);
    let api = scratch.load("protos = [\"t.proto\"]").unwrap();
    let mut captures = Captures::default();
    assert_eq!(api.find("POST", "/t.v1.S/M", &mut captures), Found::Rule(0));
    assert_eq!(api.find("GET", "/t.v1.S/M", &mut captures), Found::WrongMethod("POST, OPTIONS"));
    let method = api.method("/t.v1.S/M").unwrap();
    assert_eq!((method.path.as_str(), method.idempotency), ("/t.v1.S/M", Idempotency::NoSideEffects));
    assert_eq!(api.schema().message(method.input).name(), "t.v1.Q");
    assert!(
        api.rules()[0].is_auto && api.rules()[0].body == Body::Whole && api.method("/t.v1.S/N").is_none()
    );
    let off = scratch.load("protos = [\"t.proto\"]\nauto_mapping = false").unwrap();
    assert_eq!(off.find("POST", "/t.v1.S/M", &mut captures), Found::Nothing);
    // A rule of its own goes before.
    let own = rule("post: \"/t.v1.S/M\" body: \"inner\"").unwrap();
    assert!(own.rules().len() == 1 && !own.rules()[0].is_auto);
}

#[test]
fn services_are_chosen_by_name() {
    let proto = "syntax = \"proto3\"; package p; message E {}\n\
        service One { rpc M(E) returns (E); } service Two { rpc M(E) returns (stream E); }";
    let scratch = Scratch::new("services", &[("p.proto", proto)]);
    let names =
        |api: &Api| -> Vec<String> { api.services().iter().map(|one| one.full_name().to_owned()).collect() };
    assert_eq!(names(&scratch.load("protos = [\"p.proto\"]").unwrap()), ["p.One", "p.Two"]);
    let two = scratch.load("protos = [\"p.proto\"]\nservices = [\"p.Two\"]").unwrap();
    assert_eq!(names(&two), ["p.Two"]);
    assert!(two.methods()[0].server_streaming && !two.methods()[0].client_streaming);
    let wanted = ["transcoding.services: no service \"p.Twoo\" in the descriptors (did you mean \"p.Two\"?)"];
    let wrong = "protos = [\"p.proto\"]\nservices = [\"p.Two\", \"p.Twoo\"]";
    assert_eq!(scratch.load(wrong).map(drop).unwrap_err(), wanted);
    // Reflection may still bring it.
    let later = scratch.load(&format!("{wrong}\nreflection = [\"echo\"]")).unwrap();
    assert_eq!(later.missing_services().iter().map(ToString::to_string).collect::<Vec<_>>(), wanted);
}

#[test]
fn files_that_are_wrong_are_named_all_at_once() {
    let scratch = Scratch::new(
        "wrong",
        &[
            ("in/a.proto", "syntax = \"proto3\";\nmessage A { string x = 1 }"),
            ("in/b.proto", "syntax = \"proto3\"; message B { Nowhere x = 1; }"),
            ("in/c.proto", "syntax = \"proto3\"; import \"nowhere.proto\";"),
            ("out/d.proto", "syntax = \"proto3\"; message D {}"),
            ("junk.protoset", "junk"),
            ("empty.protoset", ""),
        ],
    );
    let problems = scratch
        .load(
            "descriptor_sets = [\"junk.protoset\", \"empty.protoset\", \"none.protoset\"]\nproto_paths = [\"in\", \"gone\"]\n\
             protos = [\"in/a.proto\", \"in/b.proto\", \"in/c.proto\", \"out/d.proto\", \"in/e.proto\"]",
        )
        .unwrap_err();
    let wanted = [
        "junk.protoset: not a FileDescriptorSet (protoc writes one with --include_imports --descriptor_set_out=FILE)",
        "empty.protoset: no file is in it",
        "none.protoset: cannot be read: No such file or directory (os error 2)",
        "gone: no such directory",
        "in/a.proto:2:26: ",
        "in/c.proto:1:20: import 'nowhere.proto' not found",
        "out/d.proto: it lies below none of transcoding.proto_paths (add the directory that its imports are relative to)",
        "in/e.proto: no such file",
        "in/b.proto:1:",
    ];
    assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
    for (problem, wanted) in problems.iter().zip(wanted) {
        assert!(problem.starts_with(wanted), "{problem}\nis not\n{wanted}");
    }
}

const SHARED: &str = "syntax = \"proto3\"; package c; message Money { int64 units = 1; }";
const SHOP: &str = "syntax = \"proto3\"; package shop; import \"c/money.proto\"; import \"google/api/annotations.proto\";\n\
    service Shop { rpc Buy(c.Money) returns (c.Money) { option (google.api.http) = { post: \"/buy\" body: \"*\" }; } }";

#[test]
fn sets_share_files_and_need_not_bring_google_s() {
    let scratch = Scratch::new("shared", &[("c/money.proto", SHARED), ("shop.proto", SHOP)]);
    fs::write(scratch.0.join("whole.protoset"), scratch.set(&["shop.proto"], true)).unwrap();
    fs::write(scratch.0.join("shop.protoset"), scratch.set(&["shop.proto"], false)).unwrap();
    fs::write(scratch.0.join("money.protoset"), scratch.set(&["c/money.proto"], false)).unwrap();
    let served = |text: &str| scratch.load(text).map(|api| api.rules().len());
    assert_eq!(served("descriptor_sets = [\"whole.protoset\"]"), Ok(2));
    assert_eq!(
        served("descriptor_sets = [\"shop.protoset\", \"money.protoset\", \"whole.protoset\"]"),
        Ok(2)
    );
    assert_eq!(served("descriptor_sets = [\"whole.protoset\"]\nprotos = [\"shop.proto\"]"), Ok(2));
    let wanted = "shop.protoset: shop.proto imports c/money.proto, which is nowhere (make descriptor sets with --include_imports)";
    assert_eq!(served("descriptor_sets = [\"shop.protoset\"]"), Err(vec![wanted.to_owned()]));
}

#[test]
fn one_file_under_two_names_is_one() {
    let other =
        SHOP.replace("c/money.proto", "api/c/money.proto").replace("Shop", "Mall").replace("/buy", "/mall");
    let scratch = Scratch::new(
        "names",
        &[
            ("c/money.proto", SHARED),
            ("shop.proto", SHOP),
            ("api/c/money.proto", SHARED),
            ("mall.proto", &other),
        ],
    );
    let sets = [scratch.set(&["shop.proto"], true), scratch.set(&["mall.proto"], true)];
    fs::write(scratch.0.join("shop.protoset"), &sets[0]).unwrap();
    fs::write(scratch.0.join("mall.protoset"), &sets[1]).unwrap();
    let api = scratch.load("descriptor_sets = [\"shop.protoset\", \"mall.protoset\"]").unwrap();
    assert_eq!(api.rules().iter().filter(|rule| !rule.is_auto).count(), 2);

    let changed = SHARED.replace("int64", "int32");
    let old = Scratch::new("changed", &[("c/money.proto", &changed)]);
    fs::write(scratch.0.join("old.protoset"), old.set(&["c/money.proto"], true)).unwrap();
    let wanted = "old.protoset: c/money.proto is another one than in shop.protoset (both must be built from the same sources)";
    assert_eq!(
        scratch.load("descriptor_sets = [\"shop.protoset\", \"old.protoset\"]").map(drop).unwrap_err(),
        [wanted]
    );
}

#[test]
fn what_reflection_answers_joins_the_rest_or_is_refused() {
    let scratch = Scratch::new("reflected", &[("c/money.proto", SHARED), ("shop.proto", SHOP)]);
    let set = scratch.set(&["shop.proto"], true);
    let pool = prost_reflect::DescriptorPool::decode(set.as_slice()).unwrap();
    let files: Vec<Vec<u8>> = pool.files().map(|file| file.encode_to_vec()).collect();
    let from = |files: Vec<Vec<u8>>| {
        vec![Reflected { origin: "reflection of \"echo\"".to_owned(), files, untold: Vec::new() }]
    };
    let api = scratch.load_with("reflection = [\"echo\"]", &from(files.clone())).unwrap();
    assert_eq!(api.rules().len(), 2);
    let junk = scratch.load_with("reflection = [\"echo\"]", &from(vec![vec![0xff]])).unwrap();
    let told = junk.refused()[0].to_string();
    assert!(told.starts_with("reflection of \"echo\": not a descriptor of a file: "), "{told}");
    // Cut or changed anywhere, it is an API or a list of problems.
    for cut in (0..files[2].len()).step_by(11) {
        let mut broken = files.clone();
        broken[2].truncate(cut);
        let _ = scratch.load_with("reflection = [\"echo\"]", &from(broken));
        let mut broken = files.clone();
        broken[2][cut] ^= 0x55;
        let _ = scratch.load_with("reflection = [\"echo\"]", &from(broken));
    }
}

#[test]
fn files_that_import_each_other_are_refused() {
    let file = |name: &str, import: &str| {
        use prost_types::FileDescriptorProto;
        let file = FileDescriptorProto {
            name: Some(name.to_owned()),
            dependency: vec![import.to_owned()],
            package: Some(name.replace(".proto", "")),
            ..FileDescriptorProto::default()
        };
        prost::Message::encode_to_vec(&file)
    };
    let circle = Reflected {
        origin: "r".to_owned(),
        files: vec![file("a.proto", "b.proto"), file("b.proto", "a.proto")],
        untold: Vec::new(),
    };
    let scratch = Scratch::new("circle", &[]);
    let api = scratch.load_with("reflection = [\"echo\"]", &[circle]).unwrap();
    let told: Vec<String> = api.refused().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["r: these files import each other: a.proto, b.proto"]);
}

#[test]
fn the_services_of_the_demo_have_no_problem() {
    let settings = settings(
        "protos = [\"ringway/demo/employee/v1/employee.proto\", \"ringway/demo/structure/v1/structure.proto\",\n\
        \"ringway/demo/chat/v1/chat.proto\", \"ringway/demo/auth/v1/auth.proto\"]\nproto_paths = [\".\"]",
    );
    let settings = Transcoding {
        protos: settings.protos.iter().map(|path| Path::new("proto").join(path)).collect(),
        proto_paths: vec!["proto".into()],
        ..settings
    };
    let api = Api::load(&settings, Path::new(""), &[]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(api.services().len(), 4);
    let mut captures = Captures::default();
    let Found::Rule(rule) = api.find("GET", "/v1/universities/7/tree", &mut captures) else {
        panic!("a rule")
    };
    let rule = &api.rules()[rule];
    assert_eq!(
        api.methods()[rule.method].path.as_str(),
        "/ringway.demo.structure.v1.StructureService/GetTree"
    );
    assert_eq!(captures.iter().collect::<Vec<_>>(), ["7"]);
}

#[test]
fn check_reads_descriptors_and_names_every_problem() {
    let good = format!("[transcoding]\nprotos = [\"t.proto\"]\n{REST}");
    let strict = format!("[transcoding]\nprotos = [\"t.proto\"]\non_bad_rule = \"fail\"\n{REST}");
    let bad = service("option (google.api.http) = { get: \"/{nam}\" response_body: \"zzz\" };");
    let scratch = Scratch::new(
        "check",
        &[
            ("t.proto", &service("")),
            ("ringway.toml", &good),
            ("bad/t.proto", &bad),
            ("bad/ringway.toml", &good),
            ("bad/strict.toml", &strict),
        ],
    );
    let check = |path: &str| {
        let path = scratch.0.join(path);
        let output = Command::new(env!("CARGO_BIN_EXE_ringway"))
            .args(["check", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text.replace(&*path.to_string_lossy(), "FILE"))
    };
    let wanted = "FILE: good (1 listener, 1 route, 1 cluster, 1 service, 1 method, 1 rule)\n";
    assert_eq!(check("ringway.toml"), (Some(0), wanted.to_owned()));
    let wanted = "FILE: t.proto: t.v1.S.M: GET /{nam}: path \"nam\": t.v1.Q has no such field (did you mean \"name\"?)\n\
        FILE: t.proto: t.v1.S.M: GET /{nam}: response_body \"zzz\": t.v1.A has no such field\n";
    assert_eq!(check("bad/strict.toml"), (Some(1), wanted.to_owned()));
    let wanted = format!(
        "FILE: good (1 listener, 1 route, 1 cluster, 1 service, 1 method, 1 rule)\n{wanted}\
        what is wrong there is left out, all else is served (transcoding.on_bad_rule = \"fail\" refuses it)\n"
    );
    assert_eq!(check("bad/ringway.toml"), (Some(0), wanted));
}
