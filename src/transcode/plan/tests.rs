use super::*;
use prost_reflect::prost::encoding::encode_varint;

fn schema() -> Schema {
    let pool = protox::compile(["kinds.proto"], ["tests/protos"]).expect("the test's files compile");
    Schema::new(&DescriptorPool::from_file_descriptor_set(pool).expect("a pool of what was compiled"))
}

fn message<'a>(schema: &'a Schema, name: &str) -> &'a Message {
    schema.message(schema.message_id(name).expect(name))
}

#[test]
fn all_names_of_a_field_lead_to_it() {
    let schema = schema();
    let names = message(&schema, "test.kinds.Names");
    let table = [
        ("fooBarBaz", Some(1)),
        ("foo_bar_baz", Some(1)),
        ("renamed", Some(2)),
        ("plain", Some(2)),
        ("@odd \"name\"\\", Some(3)),
        ("odd", Some(3)),
        ("swapped", Some(11)),
        ("other", Some(10)),
        ("ünïcode☃", Some(13)),
        ("FooBarBaz", None),
        ("", None),
    ];
    for (name, number) in table {
        assert_eq!(names.by_name(name).map(|at| names.fields()[at].number), number, "{name:?}");
    }
    let odd = &names.fields()[names.by_number(3).expect("it is there")];
    assert_eq!(&*odd.json_key, br#""@odd \"name\"\\":"#);
    assert_eq!(&*odd.proto_key, br#""odd":"#);
    let old = message(&schema, "test.kinds2.Old");
    assert_eq!(old.by_name("[test.kinds2.Scope.scoped]").map(|at| old.fields()[at].number), Some(110));
}

#[test]
fn numbers_near_and_far_are_found() {
    let schema = schema();
    for name in ["test.kinds.Sparse", "test.kinds.Scalars", "test.kinds2.Old", "test.kinds.Nothing"] {
        let message = message(&schema, name);
        for (at, field) in message.fields().iter().enumerate() {
            assert_eq!(message.by_number(field.number), Some(at));
            let wire_type = u64::from(field.tag.as_bytes()[0] & 7);
            let mut tag = Vec::new();
            encode_varint(u64::from(field.number) << 3 | wire_type, &mut tag);
            assert_eq!(field.tag.as_bytes(), tag, "{name} {}", field.number);
        }
        assert!(message.fields().is_sorted_by(|a, b| a.number < b.number));
        for absent in [0, 254, 255, 256, 2046, 300_001, 536_870_910, u32::MAX] {
            assert_eq!(message.by_number(absent), None);
        }
    }
}

#[test]
fn presence_oneofs_and_packing_are_those_of_the_descriptors() {
    let schema = schema();
    let field = |name: &str, number| {
        let message = message(&schema, name);
        &message.fields()[message.by_number(number).expect("it is there")]
    };
    let singular = |has_presence| Cardinality::Singular { has_presence };
    assert_eq!(field("test.kinds.Scalars", 3).cardinality, singular(false));
    assert_eq!(field("test.kinds.Optionals", 3).cardinality, singular(true));
    assert_eq!(field("test.kinds.Optionals", 3).oneof, None);
    assert_eq!(field("test.kinds2.Old", 1).cardinality, singular(true));
    assert_eq!(field("test.kinds.Choice", 1).oneof, None);
    assert_eq!(field("test.kinds.Choice", 10).oneof, Some(0));
    assert_eq!(field("test.kinds.Choice", 11).oneof, Some(1));
    assert_eq!(message(&schema, "test.kinds.Choice").oneof_count(), 2);
    assert_eq!(message(&schema, "test.kinds.Optionals").oneof_count(), 0);
    assert_eq!(field("test.kinds.Lists", 3).cardinality, Cardinality::Repeated { is_packed: true });
    assert_eq!(field("test.kinds.Lists", 18).cardinality, Cardinality::Repeated { is_packed: false });
    assert_eq!(field("test.kinds.Maps", 11).cardinality, Cardinality::Map { key: Kind::Bool });
    assert_eq!(field("test.kinds.Maps", 14).kind, Kind::Double);
    assert!(matches!(field("test.kinds2.Old", 8).kind, Kind::Group(_)));
    assert!(field("test.kinds2.Old", 100).is_extension);
    assert!(
        field("test.kinds2.Needy", 1).is_required && message(&schema, "test.kinds2.Needy").has_required()
    );
}

#[test]
fn enums_know_their_names_and_numbers() {
    let schema = schema();
    let of = |name: &str, number| {
        let message = message(&schema, name);
        match message.fields()[message.by_number(number).expect("it is there")].kind {
            Kind::Enum(id) => schema.enumeration(id),
            other => panic!("{other:?} is no enum"),
        }
    };
    let colour = of("test.kinds.Scalars", 16);
    let text = |number| colour.quoted(number).map(|name| String::from_utf8_lossy(name).into_owned());
    assert_eq!([-1, 0, 1, 2, 5].map(|number| text(number).expect("a value")).join(" "), {
        r#""DARK" "COLOUR_UNSPECIFIED" "RED" "GREEN" "BLUE""#
    });
    assert_eq!([-2, 3, 4, 6, i32::MIN, i32::MAX].map(text), [const { None }; 6]);
    assert_eq!((colour.number("DARK"), colour.number("dark")), (Some(-1), None));
    assert!(!colour.is_closed() && !colour.is_null());
    let aliased = of("test.kinds.Everything", 12);
    assert_eq!((aliased.quoted(1), aliased.number("SECOND")), (Some(&b"\"FIRST\""[..]), Some(1)));
    let closed = of("test.kinds2.Old", 4);
    assert!(closed.is_closed());
    assert_eq!(closed.default(), 1);
    assert!(of("test.kinds.WellKnown", 7).is_null());
}
