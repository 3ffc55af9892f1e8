//! Sizes of the dynamic table that change (RFC 7541 section 4.2).

use super::super::Encoder;
use super::*;

fn block_after(encoder: &mut Encoder, sizes: &[usize]) -> Vec<u8> {
    for size in sizes {
        encoder.set_max_table_size(*size);
    }
    let mut block = Vec::new();
    encoder.encode(&Heads::new().head(), &mut block);
    block
}

#[test]
fn the_encoder_tells_what_it_uses() {
    let mut encoder = Encoder::new();
    let rows: &[(&[usize], &[u8])] = &[
        (&[], &[]),
        (&[4096], &[]),
        (&[65_536], &[]),
        (&[0], &[0x20]),
        (&[], &[]),
        (&[10, 20], &[0x2a, 0x34]),
        (&[30, 5], &[0x25]),
        (&[0, 4096], &[0x20, 0x3f, 0xe1, 0x1f]),
        (&[65_536], &[]),
        (&[1, 9, 4096], &[0x21, 0x3f, 0xe1, 0x1f]),
    ];
    for (sizes, block) in rows {
        assert_eq!(block_after(&mut encoder, sizes), *block, "{sizes:?}");
        assert_eq!(Reader::new().read(block, Kind::Trailers).0, Ok(Verdict::Good));
    }
}

#[test]
fn a_smaller_table_forgets_for_good() {
    let mut reader = Reader::new();
    let block = added(&[("a", b"1"), ("b", b"2")]);
    assert_eq!(reader.read(&block, Kind::Trailers).0, Ok(Verdict::Good));
    let (verdict, head) = reader.read(&[0x3f, 0x03, 0x3f, 0xe1, 0x1f, 0xbe], Kind::Trailers);
    assert_eq!((verdict, fields(&head)), (Ok(Verdict::Good), owned(&[("b", "2")])));
    assert_eq!(reader.read(&[0xbf], Kind::Trailers).0, Err(HpackError::Index));
}

#[test]
fn a_table_is_never_larger_than_we_said() {
    let mut decoder = Decoder::new(100);
    let mut head = Heads::new().head();
    let mut read = |block: &[u8]| decoder.decode(block, Kind::Trailers, LIMITS, &mut head);
    assert_eq!(read(&[0x3f, 0x45]), Ok(Verdict::Good)); // 100
    assert_eq!(read(&[0x3f, 0x46]), Err(HpackError::TableSize));
}

#[test]
fn without_a_table_nothing_is_kept() {
    let (mut encoder, mut reader) = (Encoder::new(), Reader::new());
    encoder.set_max_table_size(0);
    let mut head = Heads::new().head();
    head.push_named(b"x-name", b"value");
    for _ in 0..4 {
        let mut block = Vec::new();
        encoder.encode(&head, &mut block);
        let (verdict, again) = reader.read(&block, Kind::Trailers);
        assert_eq!((verdict, fields(&again)), (Ok(Verdict::Good), fields(&head)));
    }
    assert_eq!((encoder.memory(), reader.decoder.memory()), (0, 0));
}
