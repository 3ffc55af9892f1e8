use std::path::Path;

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, EnumValueDescriptorProto, FieldDescriptorProto,
    FieldOptions, FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto, UninterpretedOption,
    field_descriptor_proto::{Label, Type},
};

use super::super::api::{Api, Reflected};
use super::super::openapi::{self, About};
use crate::config::{self, Transcoding};

/// The number of an option of fields and enums.
const NUMBER: i32 = 50_000;

/// An option that no compiler has read yet, encoded; and in its place the option of that number, whose text is no UTF-8.
const UNREAD: &[u8] = &[0xba, 0x3e, 5, 0x1a, 3, b'B', b'A', b'D'];
const BAD: &[u8] = &[0x82, 0xb5, 0x18, 4, 0xff, 0xff, 0xff, 0xff];

fn unread() -> Vec<UninterpretedOption> {
    vec![UninterpretedOption { identifier_value: Some("BAD".to_owned()), ..UninterpretedOption::default() }]
}

fn extends(options: &str) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(format!("note_of_{}", options.to_lowercase())),
        number: Some(NUMBER),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        extendee: Some(format!(".google.protobuf.{options}")),
        ..FieldDescriptorProto::default()
    }
}

fn field(name: &str, number: i32, kind: Type, of: Option<&str>) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: of.map(str::to_owned),
        ..FieldDescriptorProto::default()
    }
}

/// A message of one field.
fn message(name: &str, field: FieldDescriptorProto) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field: vec![field], ..DescriptorProto::default() }
}

/// A file with a method each for a good message, one with a field of bad options, and one with an enum of such.
fn file(syntax: &str) -> FileDescriptorProto {
    let method = |name: &str, input: &str| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(format!(".t.{input}")),
        output_type: Some(".t.Good".to_owned()),
        ..MethodDescriptorProto::default()
    };
    let one = |name: &str, options| EnumDescriptorProto {
        name: Some(name.to_owned()),
        value: vec![EnumValueDescriptorProto {
            name: Some(format!("{name}_ZERO")),
            number: Some(0),
            ..EnumValueDescriptorProto::default()
        }],
        options,
        ..EnumDescriptorProto::default()
    };
    let bad = FieldOptions { uninterpreted_option: unread(), ..FieldOptions::default() };
    let of_field = FieldDescriptorProto { options: Some(bad), ..field("text", 1, Type::String, None) };
    FileDescriptorProto {
        name: Some("t.proto".to_owned()),
        package: Some("t".to_owned()),
        syntax: Some(syntax.to_owned()),
        message_type: vec![
            message("Good", field("text", 1, Type::String, None)),
            message("Field", of_field),
            message("OfEnum", field("one", 1, Type::Enum, Some(".t.Bad"))),
        ],
        enum_type: vec![one(
            "Bad",
            Some(EnumOptions { uninterpreted_option: unread(), ..EnumOptions::default() }),
        )],
        service: vec![ServiceDescriptorProto {
            name: Some("S".to_owned()),
            method: vec![method("Good", "Good"), method("Field", "Field"), method("OfEnum", "OfEnum")],
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    }
}

/// A file that `file` does not import and that defines its options: what they are is known once both are read.
fn options() -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some("u.proto".to_owned()),
        syntax: Some("proto2".to_owned()),
        dependency: vec!["google/protobuf/descriptor.proto".to_owned()],
        extension: vec![extends("FieldOptions"), extends("EnumOptions")],
        ..FileDescriptorProto::default()
    }
}

/// The API of a service whose reflection responds with both files.
fn api(syntax: &str) -> Api {
    let mut bytes = file(syntax).encode_to_vec();
    let mut replaced = 0;
    for at in 0..bytes.len() - UNREAD.len() {
        if bytes[at..].starts_with(UNREAD) {
            bytes[at..at + BAD.len()].copy_from_slice(BAD);
            replaced += 1;
        }
    }
    assert_eq!(replaced, 2, "of a field and an enum");
    let reflected = Reflected {
        origin: "echo".to_owned(),
        files: vec![bytes, options().encode_to_vec()],
        untold: Vec::new(),
    };
    Api::load(&settings(), Path::new(""), &[reflected]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn settings() -> Transcoding {
    let text = "[transcoding]\nreflection = [\"echo\"]\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\n\
        cluster = \"echo\"\n[[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";
    config::parse(text, Path::new("r.toml")).unwrap_or_else(|errors| panic!("{errors}")).transcoding
}

fn paths(api: &Api) -> Vec<String> {
    let settings = settings();
    let about = About {
        title: "t",
        version: "1",
        print_options: settings.print_options,
        wraps_stream_messages: false,
    };
    let document = openapi::document(api, &about);
    document["paths"].as_object().expect("paths").keys().cloned().collect()
}

#[test]
fn they_cost_only_the_methods_whose_json_depends_on_them() {
    let api = api("proto2");
    assert_eq!(paths(&api), ["/t.S/Good"], "{:#?}", api.refused());
    let told: Vec<String> = api.refused().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "echo: t.proto: t.S.Field is not served: of t.Field the options of its field text cannot be decoded",
            "echo: t.proto: t.S.OfEnum is not served: of t.OfEnum the options of t.Bad cannot be decoded",
        ]
    );
    assert!(api.refused().iter().all(|problem| !problem.is_defect));
}

#[test]
fn they_cost_nothing_where_no_option_decides() {
    let api = api("proto3");
    assert_eq!(paths(&api), ["/t.S/Field", "/t.S/Good", "/t.S/OfEnum"], "{:#?}", api.refused());
    assert!(api.refused().is_empty(), "{:?}", api.refused());
}
