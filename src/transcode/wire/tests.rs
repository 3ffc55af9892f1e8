use super::*;
use crate::transcode::plan::WireType::{Fixed32, Fixed64, GroupEnd, GroupStart, Length, Varint};

#[test]
fn varints_of_any_length_are_read_and_no_others() {
    let table: &[(&[u8], Result<u64, BadWire>)] = &[
        (b"\x00", Ok(0)),
        (b"\x7f", Ok(127)),
        (b"\x80\x01", Ok(128)),
        (b"\x80\x00", Ok(0)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Ok(u64::MAX)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", Err(BadWire::Malformed)),
        (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", Err(BadWire::Malformed)),
        (b"\x80", Err(BadWire::Malformed)),
        (b"", Err(BadWire::Malformed)),
    ];
    for (bytes, wanted) in table {
        assert_eq!(Wire::new(bytes).varint(), *wanted, "{bytes:x?}");
    }
}

#[test]
fn tags_are_numbers_with_wire_types() {
    assert_eq!(Wire::new(b"").tag(), Ok(None));
    let table: [(&[u8], u32, WireType); 8] = [
        (b"\x08", 1, Varint),
        (b"\x09", 1, Fixed64),
        (b"\x0a", 1, Length),
        (b"\x0b", 1, GroupStart),
        (b"\x0c", 1, GroupEnd),
        (b"\x0d", 1, Fixed32),
        (b"\x88\x00", 1, Varint),
        (b"\xf8\xff\xff\xff\x0f", 536_870_911, Varint),
    ];
    for (bytes, number, wire_type) in table {
        assert_eq!(Wire::new(bytes).tag(), Ok(Some((number, wire_type))), "{bytes:x?}");
    }
    for bytes in [&b"\xf8\xff\xff\xff\x1f"[..], b"\x0e", b"\x0f", b"\x00", b"\x80"] {
        assert_eq!(Wire::new(bytes).tag(), Err(BadWire::Malformed), "{bytes:x?}");
    }
}

#[test]
fn values_end_where_they_say() {
    let table: &[(&[u8], WireType, Result<Raw<'_>, BadWire>)] = &[
        (b"\x05x", Varint, Ok(Raw::Varint(5))),
        (b"\x01\0\0\0\0\0\0\0x", Fixed64, Ok(Raw::Fixed64(1))),
        (b"\x01\0\0\0\0\0\0", Fixed64, Err(BadWire::Malformed)),
        (b"\x01\0\0\0x", Fixed32, Ok(Raw::Fixed32(1))),
        (b"\x01\0\0", Fixed32, Err(BadWire::Malformed)),
        (b"\x02abx", Length, Ok(Raw::Length(b"ab"))),
        (b"\x02a", Length, Err(BadWire::Malformed)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", Length, Err(BadWire::Malformed)),
        (b"\x0cx", GroupStart, Ok(Raw::Group(b""))),
        (b"\x10\x07\x0cx", GroupStart, Ok(Raw::Group(b"\x10\x07"))),
        (b"\x0b\x0c\x0cx", GroupStart, Ok(Raw::Group(b"\x0b\x0c"))),
        (b"\x0b\x0b\x0c\x0c\x0cx", GroupStart, Err(BadWire::TooDeep)),
        (b"\x0a\x01\x0c\x0cx", GroupStart, Ok(Raw::Group(b"\x0a\x01\x0c"))),
        (b"\x10\x07", GroupStart, Err(BadWire::Malformed)),
        (b"\x14", GroupStart, Err(BadWire::Malformed)),
        (b"", GroupEnd, Err(BadWire::Malformed)),
    ];
    for (bytes, wire_type, wanted) in table {
        let mut wire = Wire::new(bytes);
        assert_eq!(wire.raw(1, *wire_type, 2), *wanted, "{bytes:x?}");
        assert!(wanted.is_err() || wire.rest == b"x", "{bytes:x?} leaves {:x?}", wire.rest);
    }
}
