//! The examples of RFC 7541 appendix C.

use super::super::Encoder;
use super::*;

type Fields = &'static [(&'static str, &'static str)];

/// A block, the head it is, the table after it from the newest entry on, and the size of that table.
struct Example {
    block: &'static str,
    fields: Fields,
    table: Fields,
    size: usize,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// Reads the blocks of one connection in order; and writes the heads, twice to use the table, and reads them again.
fn check(before: &[u8], kind: Kind, examples: [&Example; 3]) {
    let mut reader = Reader::new();
    let (mut encoder, mut back) = (Encoder::new(), Reader::new());
    for (at, example) in examples.into_iter().enumerate() {
        let mut block = if at == 0 { before.to_vec() } else { Vec::new() };
        block.extend(bytes(example.block));
        let (verdict, head) = reader.read(&block, kind);
        assert_eq!(verdict, Ok(Verdict::Good), "{at}");
        assert_eq!(fields(&head), owned(example.fields), "{at}");
        assert_eq!(reader.decoder.entries(), (owned(example.table), example.size), "{at}");
        for _ in 0..3 {
            let mut written = Vec::new();
            encoder.encode(&head, &mut written);
            let (verdict, again) = back.read(&written, kind);
            assert_eq!((verdict, fields(&again)), (Ok(Verdict::Good), fields(&head)), "{at}");
        }
    }
}

const REQUEST_1: Fields =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const REQUEST_2: Fields = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("cache-control", "no-cache"),
];
const REQUEST_3: Fields = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];
const AFTER_REQUEST_1: Fields = &[(":authority", "www.example.com")];
const AFTER_REQUEST_2: Fields = &[("cache-control", "no-cache"), (":authority", "www.example.com")];
const AFTER_REQUEST_3: Fields =
    &[("custom-key", "custom-value"), ("cache-control", "no-cache"), (":authority", "www.example.com")];

fn requests(blocks: [&'static str; 3]) {
    let [first, second, third] = blocks;
    let examples = [
        Example { block: first, fields: REQUEST_1, table: AFTER_REQUEST_1, size: 57 },
        Example { block: second, fields: REQUEST_2, table: AFTER_REQUEST_2, size: 110 },
        Example { block: third, fields: REQUEST_3, table: AFTER_REQUEST_3, size: 164 },
    ];
    check(&[], Kind::Request, examples.each_ref());
}

const DATE: &str = "Mon, 21 Oct 2013 20:13:21 GMT";
const LATER: &str = "Mon, 21 Oct 2013 20:13:22 GMT";
const COOKIE: &str = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";

const RESPONSE_1: Fields = &[
    (":status", "302"),
    ("cache-control", "private"),
    ("date", DATE),
    ("location", "https://www.example.com"),
];
const RESPONSE_2: Fields = &[
    (":status", "307"),
    ("cache-control", "private"),
    ("date", DATE),
    ("location", "https://www.example.com"),
];
const RESPONSE_3: Fields = &[
    (":status", "200"),
    ("cache-control", "private"),
    ("date", LATER),
    ("location", "https://www.example.com"),
    ("content-encoding", "gzip"),
    ("set-cookie", COOKIE),
];
const AFTER_RESPONSE_1: Fields = &[
    ("location", "https://www.example.com"),
    ("date", DATE),
    ("cache-control", "private"),
    (":status", "302"),
];
const AFTER_RESPONSE_2: Fields = &[
    (":status", "307"),
    ("location", "https://www.example.com"),
    ("date", DATE),
    ("cache-control", "private"),
];
const AFTER_RESPONSE_3: Fields = &[("set-cookie", COOKIE), ("content-encoding", "gzip"), ("date", LATER)];

fn responses(blocks: [&'static str; 3]) {
    let [first, second, third] = blocks;
    let examples = [
        Example { block: first, fields: RESPONSE_1, table: AFTER_RESPONSE_1, size: 222 },
        Example { block: second, fields: RESPONSE_2, table: AFTER_RESPONSE_2, size: 222 },
        Example { block: third, fields: RESPONSE_3, table: AFTER_RESPONSE_3, size: 215 },
    ];
    // The table of these examples has 256 bytes.
    check(&[0x3f, 0xe1, 0x01], Kind::Response, examples.each_ref());
}

#[test]
fn single_fields_of_c_2() {
    let mut reader = Reader::new();
    let block = bytes("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572");
    let (verdict, head) = reader.read(&block, Kind::Trailers);
    let custom = owned(&[("custom-key", "custom-header")]);
    assert_eq!((verdict, fields(&head)), (Ok(Verdict::Good), custom.clone()));
    assert_eq!(reader.decoder.entries(), (custom, 55));

    let mut reader = Reader::new();
    let (_, head) = reader.read(&bytes("040c 2f73 616d 706c 652f 7061 7468"), Kind::Request);
    assert_eq!(head.path(), Some(&b"/sample/path"[..]));
    let (verdict, head) = reader.read(&bytes("1008 7061 7373 776f 7264 0673 6563 7265 74"), Kind::Trailers);
    assert_eq!((verdict, head.get_named(b"password")), (Ok(Verdict::Good), Some(&b"secret"[..])));
    assert!(head.iter().all(|field| field.sensitive));
    let (_, head) = reader.read(&bytes("82"), Kind::Request);
    assert_eq!(head.method(), Some(&b"GET"[..]));
    assert_eq!(reader.decoder.entries(), (Vec::new(), 0));
}

#[test]
fn requests_of_c_3_and_c_4() {
    requests([
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]);
    requests([
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ]);
}

#[test]
fn responses_of_c_5_and_c_6() {
    responses([
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0
         5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745
         4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ]);
    responses([
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
         77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160
         65c0 03ed 4ee5 b106 3d50 07",
    ]);
}
