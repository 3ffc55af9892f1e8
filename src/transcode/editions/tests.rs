use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::FileDescriptorProto;

use super::message::camel_case;
use super::*;

#[test]
fn a_file_says_its_edition() {
    let file = |syntax: &str, number: Option<u32>| {
        let mut bytes = Vec::new();
        put_bytes(file::SYNTAX, syntax.as_bytes(), &mut bytes);
        if let Some(number) = number {
            crate::transcode::fields::put_int(file::EDITION, number, &mut bytes);
        }
        edition(&bytes)
    };
    assert_eq!(edition(&[]), Ok(Edition::Proto2));
    assert_eq!(file("", None), Ok(Edition::Proto2));
    assert_eq!(file("proto2", None), Ok(Edition::Proto2));
    assert_eq!(file("proto3", None), Ok(Edition::Proto3));
    assert_eq!(file("editions", Some(1000)), Ok(Edition::Of2023));
    assert_eq!(file("editions", Some(1001)), Ok(Edition::Of2024));
    assert_eq!(file("editions", Some(998)), Ok(Edition::Proto2));
    for (syntax, edition, wanted) in [
        ("proto4", None, "the syntax \"proto4\" is not known: proto2, proto3 and editions are"),
        ("Proto3", None, "the syntax \"Proto3\" is not known: proto2, proto3 and editions are"),
        ("editions", None, "it is of an edition and does not say which"),
        ("editions", Some(1002), "edition number 1002 is not known: those of 2023 and 2024 are"),
        ("editions", Some(99_999), "edition number 99999 is not known: those of 2023 and 2024 are"),
    ] {
        assert_eq!(file(syntax, edition), Err(wanted.to_owned()));
    }
    assert!(edition(&[0x62, 0xff]).is_err(), "cut short");
}

/// A file of 2023, parsed and told in the words of proto2.
fn told(text: &str) -> Result<FileDescriptorProto, String> {
    let (text, edition) = source::to_proto3(text)?.ok_or("no edition")?;
    let file = protox::file::File::from_source("t.proto", &text).map_err(|error| format!("{error:?}"))?;
    let bytes = to_proto2(&file.file_descriptor_proto().encode_to_vec(), edition)?;
    FileDescriptorProto::decode(bytes.as_slice()).map_err(|error| error.to_string())
}

#[test]
fn features_go_from_the_file_down() {
    let file = told(
        "edition = \"2023\";\noption features.field_presence = IMPLICIT;\n\
         option features = { enum_type: CLOSED repeated_field_encoding: EXPANDED };\n\
         message M { int32 implicit = 1; int32 explicit = 2 [features.field_presence = EXPLICIT];\n\
         int32 required = 3 [features.field_presence = LEGACY_REQUIRED, default = -7];\n\
         repeated int32 expanded = 4; repeated int32 packed = 5 [features.repeated_field_encoding = PACKED];\n\
         M length = 6; M delimited = 7 [features.message_encoding = DELIMITED];\n\
         oneof o { option features = {}; int32 member = 8; } map<string, M> map = 9 [features.message_encoding = DELIMITED];\n\
         string text = 10 [default = \"a\"]; }\n\
         enum Closed { ZERO = 0; } enum Open { option features.enum_type = OPEN; NULL = 0; }",
    )
    .expect("it is understood");
    assert_eq!(file.syntax, None);
    let fields = &file.message_type[0].field;
    let field = |name: &str| fields.iter().find(|field| field.name() == name).expect(name);
    let is_implicit = |name: &str| {
        let bytes = encoded_options(&file, name);
        Features::is_implicit(&bytes)
    };
    assert!(is_implicit("implicit") && !is_implicit("explicit") && !is_implicit("member"));
    assert_eq!((field("required").label, field("required").default_value()), (Some(2), "-7"));
    assert_eq!(field("text").default_value(), "a");
    let packed = |name: &str| field(name).options.as_ref().expect(name).packed;
    assert_eq!((packed("expanded"), packed("packed")), (Some(false), Some(true)));
    assert_eq!((field("length").r#type, field("delimited").r#type), (None, Some(10)));
    assert_ne!(field("map").r#type, Some(10), "maps are never delimited");
    let left = fields.iter().filter_map(|field| field.options.as_ref());
    assert!(left.flat_map(|options| &options.uninterpreted_option).next().is_none());
}

/// The options of a field of the first message, as they are encoded. The types of prost have no place for features.
fn encoded_options(_: &FileDescriptorProto, wanted: &str) -> Vec<u8> {
    let text = "edition = \"2023\"; option features.field_presence = IMPLICIT;\n\
        message M { int32 implicit = 1; int32 explicit = 2 [features.field_presence = EXPLICIT]; oneof o { int32 member = 8; } }";
    let (text, edition) = source::to_proto3(text).expect("known").expect("an edition");
    let file = protox::file::File::from_source("t.proto", &text).expect("it is right");
    let bytes = to_proto2(&file.file_descriptor_proto().encode_to_vec(), edition).expect("it is understood");
    let inside = |bytes: &[u8], number: u32| -> Vec<Vec<u8>> {
        let fields = Fields(bytes).flatten().filter(|field| field.number == number);
        fields.filter_map(|field| field.payload()).map(<[u8]>::to_vec).collect()
    };
    let message = inside(&bytes, file::MESSAGE).remove(0);
    let is_it = |field: &Vec<u8>| inside(field, 1).first().is_some_and(|name| name == wanted.as_bytes());
    let field = inside(&message, 2).into_iter().find(is_it).expect(wanted);
    inside(&field, 8).into_iter().next().unwrap_or_default()
}

#[test]
fn what_is_not_understood_is_told() {
    for (text, wanted) in [
        ("edition = \"2022\";", "edition \"2022\" is not known: \"2023\" and \"2024\" are"),
        (
            "edition = \"2023\"; option features.field_presence = SOMETIMES;",
            "the feature field_presence has no value \"SOMETIMES\"",
        ),
        ("edition = \"2023\"; option features.colour = RED;", "there is no feature \"colour\""),
        (
            "edition = \"2023\";\nmessage M { int32 x = ; }",
            "t.proto:2:23: expected an integer, but found ';'",
        ),
    ] {
        assert_eq!(told(text).map(drop), Err(wanted.to_owned()), "{text}");
    }
    let mut features = Features::of(Edition::Of2023);
    assert_eq!(
        features.read_options(&[0xaa, 0x01, 0x02, 0x08, 0x09], features::IN_FIELD),
        Err("the feature field_presence has no such value".to_owned())
    );
}

#[test]
fn a_source_keeps_its_lines_and_columns() {
    let text = "// edition = \"2023\";\n/* é */ edition = '2024' ;\nimport option \"a.proto\";\n\
        export message M { reserved foo, bar_baz; string default = 1 [default = \"default\", deprecated = true]; }\n\
        local enum E { export = 0; local = 1; } message local { option = 1; reserved \"x\"; }";
    let (changed, edition) = source::to_proto3(text).expect("known").expect("an edition");
    assert_eq!(edition, Edition::Of2024);
    let wanted = "// edition = \"2023\";\n/* é */ syntax  = \"proto3\" ;\nimport        \"a.proto\";\n\
        \x20      message M {                      ; string default = 1 [dEfault = \"default\", deprecated = true]; }\n\
        \x20     enum E { export = 0; local = 1; } message local { option = 1; reserved \"x\"; }";
    assert_eq!(changed, wanted);
    for text in ["", "syntax = \"proto3\";", "package edition;", "// edition\n", "/*", "\"", "'\\", "edition"]
    {
        assert_eq!(source::to_proto3(text), Ok(None), "{text}");
    }
    assert!(source::to_proto3("edition =").is_err());
}

#[test]
fn two_fields_of_one_name_in_json_go_by_two_where_that_is_allowed() {
    let text = "syntax = \"proto2\"; message M { optional int32 foo_bar = 1; optional int32 fooBar = 2; }";
    let file = protox::file::File::from_source("t.proto", text).expect("it is right");
    let bytes = file.file_descriptor_proto().encode_to_vec();
    let told = to_proto2(&bytes, Edition::Proto2).expect("it is understood");
    let told = FileDescriptorProto::decode(told.as_slice()).expect("a file");
    let names: Vec<&str> = told.message_type[0].field.iter().map(|field| field.json_name()).collect();
    assert_eq!(names, ["foo_bar", ""], "the other one has the name in the file");
    assert_eq!((camel_case("foo_bar"), camel_case("_a__b1")), ("fooBar".to_owned(), "AB1".to_owned()));
}
