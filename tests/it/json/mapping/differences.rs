//! Where we do not do as prost-reflect does, and why.

use super::reference::{decode, read_by_reference, read_by_us, same};

/// The reference reads it, we refuse it: name, message, JSON, why.
pub(crate) const STRICTER: &[(&str, &str, &str, &str)] = &[
    (
        "FieldNameDuplicate",
        "Everything",
        r#"{"scalars":{"anInt32":1},"scalars":{}}"#,
        "the suite allows both; two writers of one field may be an attack on whoever reads it differently",
    ),
    ("FieldNameDuplicateDifferentCasing1", "Scalars", r#"{"an_int32":1,"anInt32":2}"#, "the same field"),
    ("FieldNameDuplicateDifferentCasing2", "Scalars", r#"{"anInt32":1,"an_int32":2}"#, "the same field"),
    ("FieldNameDuplicateNull", "Scalars", r#"{"anInt32":null,"anInt32":2}"#, "the same field, as Go has it"),
    ("FieldNameDuplicateEscaped", "Scalars", r#"{"anInt32":1,"anInt3\u0032":2}"#, "the same field"),
    ("Int32FieldStringPlusSign", "Scalars", r#"{"anInt32":"+1"}"#, "strings follow the grammar of numbers"),
    (
        "Int32FieldStringLeadingZero",
        "Scalars",
        r#"{"anInt32":"01"}"#,
        "strings follow the grammar of numbers",
    ),
    ("Int32MapFieldKeyPlusSign", "Maps", r#"{"byInt32":{"+1":1}}"#, "strings follow the grammar of numbers"),
    (
        "Int32MapFieldKeyLeadingZero",
        "Maps",
        r#"{"byInt32":{"01":1}}"#,
        "strings follow the grammar of numbers",
    ),
    ("FloatFieldStringInf", "Scalars", r#"{"aFloat":"inf"}"#, "Rust's word, not the mapping's"),
    ("FloatFieldStringInfinityLowerCase", "Scalars", r#"{"aFloat":"infinity"}"#, "Rust's word"),
    ("FloatFieldStringNanLowerCase", "Scalars", r#"{"aFloat":"nan"}"#, "Rust's word"),
    (
        "DoubleFieldStringLeadingPoint",
        "Scalars",
        r#"{"aDouble":".5"}"#,
        "strings follow the grammar of numbers",
    ),
    (
        "DoubleFieldStringTrailingPoint",
        "Scalars",
        r#"{"aDouble":"5."}"#,
        "strings follow the grammar of numbers",
    ),
    ("DoubleFieldStringPlusSign", "Scalars", r#"{"aDouble":"+5"}"#, "strings follow the grammar of numbers"),
    (
        "DoubleFieldStringTooLarge",
        "Scalars",
        r#"{"aDouble":"1.89769e+308"}"#,
        "infinity has a name of its own",
    ),
    ("FloatFieldStringTooLarge", "Scalars", r#"{"aFloat":"3.502823e+38"}"#, "infinity has a name of its own"),
    (
        "Int64FieldTooSmallNotQuoted",
        "Scalars",
        r#"{"anInt64":-9223372036854775809}"#,
        "out of range; serde rounds it",
    ),
    (
        "Int64FieldTooLargeFloat",
        "Scalars",
        r#"{"anInt64":9223372036854775808.0}"#,
        "out of range; serde rounds it",
    ),
    (
        "Uint64FieldTooLargeNotQuoted",
        "Scalars",
        r#"{"aUint64":18446744073709551616}"#,
        "out of range; serde rounds it",
    ),
    ("Int64FieldAlmostWhole", "Scalars", r#"{"anInt64":9007199254740993.5}"#, "not whole; serde rounds it"),
    (
        "TimestampJsonInputSecondTooLarge",
        "WellKnown",
        r#"{"timestamp":"1970-01-01T00:00:60Z"}"#,
        "the suite refuses it",
    ),
    (
        "TimestampJsonInputInvalidNanos",
        "WellKnown",
        r#"{"timestamp":"1970-01-01T00:00:00.1234567890Z"}"#,
        "ten digits would be cut off; the suite refuses it",
    ),
    (
        "DurationTenFractionalDigits",
        "WellKnown",
        r#"{"duration":"1.0000000001s"}"#,
        "ten digits would be cut off",
    ),
    ("FieldMaskEmptyPath", "WellKnown", r#"{"fieldMask":"foo,,bar"}"#, "a path of no field"),
];

/// We read it, the reference refuses it: name, message, JSON, the same in words it knows, why.
pub(crate) const MORE: &[(&str, &str, &str, &str, &str)] = &[
    (
        "Int32FieldQuotedExponentialValue",
        "Scalars",
        r#"{"anInt32":"1e5"}"#,
        r#"{"anInt32":100000}"#,
        "the suite demands it",
    ),
    ("Uint64FieldQuotedFloat", "Scalars", r#"{"aUint64":"7.0"}"#, r#"{"aUint64":7}"#, "as without quotes"),
    (
        "Int32MapFieldKeyFloat",
        "Maps",
        r#"{"byInt32":{"1.0":2}}"#,
        r#"{"byInt32":{"1":2}}"#,
        "as a value in quotes",
    ),
    (
        "FloatFieldMax",
        "Scalars",
        r#"{"aFloat":3.4028235e38}"#,
        r#"{"aFloat":"3.4028235e38"}"#,
        "how it is printed",
    ),
    ("EnumFieldFloat", "Scalars", r#"{"aColour":1.0}"#, r#"{"aColour":1}"#, "a number, as for integers"),
    ("NullValueNumber", "WellKnown", r#"{"maybeNull":0}"#, r#"{"maybeNull":null}"#, "an enum by its number"),
    ("BytesFieldBothAlphabets", "Scalars", r#"{"aBytes":"-/_+"}"#, r#"{"aBytes":"+//+"}"#, "as C++ has it"),
];

/// We read it, and the reference has no words for it: name, message, JSON, wire bytes, why.
pub(crate) const BYTES: &[(&str, &str, &str, &[u8], &str)] = &[
    ("AnyWithNoType", "WellKnown", r#"{"any":{}}"#, b"\x42\x00", "the suite demands it"),
    (
        "AnyEmpty",
        "WellKnown",
        r#"{"any":{"@type":"a/google.protobuf.Empty"}}"#,
        b"\x42\x1b\x0a\x17a/google.protobuf.Empty\x12\x00",
        "the suite demands it",
    ),
    ("RepeatedValueIsNull", "WellKnown", r#"{"values":null}"#, b"", "null is an absent list"),
    ("RepeatedNullValueIsNull", "WellKnown", r#"{"nullValues":null}"#, b"", "null is an absent list"),
];

#[test]
fn we_are_stricter_where_it_says_why() {
    for (name, message, json, why) in STRICTER {
        let error = read_by_us(message, json.as_bytes(), false);
        assert!(error.is_err(), "{name}: {why}");
        assert!(read_by_reference(message, json.as_bytes(), false).is_ok(), "{name}: no difference");
    }
}

#[test]
fn we_read_more_where_it_says_why() {
    for (name, message, json, plain, why) in MORE {
        assert!(read_by_reference(message, json.as_bytes(), false).is_err(), "{name}: no difference");
        let ours = read_by_us(message, json.as_bytes(), false);
        let ours = ours.unwrap_or_else(|error| panic!("{name}: {error}; {why}"));
        let reference = read_by_reference(message, plain.as_bytes(), false).expect(name);
        assert!(same(&ours, &reference), "{name}: {ours} {reference}");
    }
    for (name, message, json, wire, why) in BYTES {
        let ours = read_by_us(message, json.as_bytes(), false);
        let ours = ours.unwrap_or_else(|error| panic!("{name}: {error}; {why}"));
        assert!(same(&ours, &decode(message, wire)), "{name}: {ours}");
    }
}
