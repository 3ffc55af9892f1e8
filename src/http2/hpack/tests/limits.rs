//! Bounds of a head, and blocks that cannot be read.

use super::super::Encoder;
use super::*;

fn within(list_size: usize, fields: usize) -> Limits {
    Limits { list_size, fields }
}

#[test]
fn a_list_has_a_size() {
    // 4 + 3 + 32 and 1 + 1 + 32.
    let block = plain(&[("abcd", b"efg"), ("x", b"y")]);
    let verdict = |limits| Reader::new().read_within(&block, Kind::Trailers, limits).0.unwrap();
    assert_eq!(verdict(within(73, 2)), Verdict::Good);
    assert_eq!(verdict(within(72, 2)), Verdict::TooLarge);
    assert_eq!(verdict(within(73, 1)), Verdict::TooMany);
    let (_, head) = Reader::new().read(&block, Kind::Trailers);
    assert_eq!(head.list_size(), 73);
    let (_, head) = Reader::new().read(&[0x83, 0x86, 0x84, 0x90], Kind::Request);
    assert_eq!(head.list_size(), (7 + 4) + (7 + 4) + (5 + 1) + (15 + 13) + 4 * 32);
}

#[test]
fn pseudo_fields_count_as_size_and_not_as_fields() {
    let block = [0x83, 0x86, 0x84, 0x90];
    let verdict = |limits| Reader::new().read_within(&block, Kind::Request, limits).0.unwrap();
    assert_eq!(verdict(within(184, 1)), Verdict::Good);
    assert_eq!(verdict(within(183, 1)), Verdict::TooLarge);
    assert_eq!(verdict(within(184, 0)), Verdict::TooMany);
}

#[test]
fn the_table_stays_right_after_a_verdict() {
    let mut reader = Reader::new();
    for (name, limits) in [("x", within(40, 9)), ("x", within(999, 1)), ("X", LIMITS)] {
        let block = added(&[("a", b"1"), (name, b"2"), ("accept", b"3"), ("content-type", b"4")]);
        let (verdict, head) = reader.read_within(&block, Kind::Trailers, limits);
        assert_ne!(verdict, Ok(Verdict::Good));
        assert_eq!(fields(&head), owned(&[("a", "1")]));
        let (verdict, head) = reader.read(&[0xbe, 0xbf, 0xc1], Kind::Trailers);
        assert_eq!(verdict, Ok(Verdict::Good));
        assert_eq!(fields(&head), owned(&[("content-type", "4"), ("accept", "3"), ("a", "1")]));
    }
}

#[test]
fn a_bomb_fills_no_memory() {
    let mut reader = Reader::new();
    let value = vec![b'v'; 4000];
    assert_eq!(reader.read(&added(&[("x", &value)]), Kind::Trailers).0, Ok(Verdict::Good));
    let bomb = vec![0xbe; 1 << 20];
    let (verdict, mut head) = reader.read(&bomb, Kind::Trailers);
    assert_eq!(verdict, Ok(Verdict::TooLarge));
    assert!(head.list_size() <= LIMITS.list_size);
    assert!(head.bytes().capacity() <= 2 * LIMITS.list_size);
}

#[test]
fn blocks_that_cannot_be_read() {
    use HpackError::*;
    let rows: &[(&[u8], HpackError)] = &[
        (&[0x80], Index),
        (&[0xbe], Index),
        (&[0xff, 0xff, 0xff, 0xff, 0x7f], Index),
        (&[0x7e, 0x01, b'x'], Index),
        (&[0x0f, 0x2f, 0x01, b'x'], Index),
        (&[0xff], Truncated),
        (&[0xff, 0x80, 0x80, 0x80, 0x80, 0x00], Integer),
        (&[0x40], Truncated),
        (&[0x40, 0x01], Truncated),
        (&[0x40, 0x01, b'x'], Truncated),
        (&[0x40, 0x01, b'x', 0x02, b'y'], Truncated),
        (&[0x40, 0x01, b'x', 0x7f, 0xff, 0xff, 0xff, 0x7f], Truncated),
        (&[0x00, 0x01, b'x', 0x81, 0x00], Huffman),
        (&[0x00, 0x81, 0xff, 0x00], Huffman),
        (&[0x00, 0x01, b'x', 0x84, 0xff, 0xff, 0xff, 0xff], Huffman),
        (&[0x82, 0x20], TableSize),
        (&[0x20, 0x20, 0x20], TableSize),
        (&[0x3f, 0xe2, 0x1f], TableSize),
    ];
    for (block, error) in rows {
        assert_eq!(Reader::new().read(block, Kind::Trailers).0, Err(*error), "{block:x?}");
        assert!(!error.as_str().is_empty());
        // Nor behind a field that ends the head.
        if *error != TableSize {
            let mut after = plain(&[("X", b"")]);
            after.extend_from_slice(block);
            assert_eq!(Reader::new().read(&after, Kind::Trailers).0, Err(*error), "{block:x?}");
        }
    }
}

#[test]
fn a_name_may_outlive_its_entry() {
    let mut reader = Reader::new();
    // The table holds one of these entries: the second takes its name from the one it pushes out.
    let mut block = vec![0x3f, 0x21]; // 64
    block.extend(added(&[("x-long-name", b"one")]));
    block.extend([0x7e, 0x03]);
    block.extend(b"two");
    let (verdict, head) = reader.read(&block, Kind::Trailers);
    assert_eq!(verdict, Ok(Verdict::Good));
    assert_eq!(fields(&head), owned(&[("x-long-name", "one"), ("x-long-name", "two")]));
    assert_eq!(reader.decoder.entries(), (owned(&[("x-long-name", "two")]), 46));
    // An entry larger than the table empties it.
    block = vec![0x7e, 40];
    block.extend([b'v'; 40]);
    let (verdict, head) = reader.read(&block, Kind::Trailers);
    assert_eq!((verdict, head.len()), (Ok(Verdict::Good), 1));
    assert_eq!(reader.decoder.entries(), (Vec::new(), 0));
}

#[test]
fn idle_sides_are_small() {
    let mut sent = Heads::new().head();
    sent.set_method(b"POST");
    sent.set_scheme(b"http");
    sent.set_authority(b"service.example.com:50051");
    sent.set_path(b"/package.Service/Method");
    sent.push(Name::CONTENT_TYPE, b"application/grpc");
    sent.push(Name::TE, b"trailers");
    sent.push(Name::USER_AGENT, b"grpc-go/1.70.0");
    sent.push(Name::GRPC_ACCEPT_ENCODING, b"gzip");
    sent.push_sensitive(Name::GRPC_TIMEOUT, b"999m");
    sent.push_named(b"x-tenant", b"some-tenant");
    let (mut encoder, mut reader) = (Encoder::new(), Reader::new());
    assert_eq!((encoder.memory(), reader.decoder.memory()), (0, 0));
    let mut lengths = Vec::new();
    for _ in 0..4 {
        let mut block = Vec::new();
        encoder.encode(&sent, &mut block);
        let (verdict, head) = reader.read(&block, Kind::Request);
        assert_eq!((verdict, fields(&head)), (Ok(Verdict::Good), fields(&sent)));
        lengths.push(block.len());
    }
    // Nine indices; and the timeout, which is not indexed: 11 bytes of name, 5 of value.
    assert_eq!(lengths[2..], [9 + 16, 9 + 16]);
    assert!(size_of::<Encoder>() <= 16 && size_of::<Decoder>() <= 96);
    assert!(encoder.memory() < 640, "{}", encoder.memory());
    assert!(reader.decoder.memory() < 512, "{}", reader.decoder.memory());
}
