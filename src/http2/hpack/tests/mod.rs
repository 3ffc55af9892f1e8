//! Blocks that are read and written as a connection would.

mod examples;
mod limits;
mod round_trip;
mod rules;
mod size_updates;

use std::rc::Rc;

use super::super::head::{Head, Heads};
use super::super::name::Name;
use super::{Decoder, HpackError, Kind, Limits, Verdict};

const LIMITS: Limits = Limits { list_size: 64 * 1024, fields: 100 };

/// The reading side of a connection.
struct Reader {
    decoder: Decoder,
    heads: Rc<Heads>,
}

impl Reader {
    fn new() -> Reader {
        Reader { decoder: Decoder::new(4096), heads: Heads::new() }
    }

    fn read(&mut self, block: &[u8], kind: Kind) -> (Result<Verdict, HpackError>, Head) {
        self.read_within(block, kind, LIMITS)
    }

    fn read_within(
        &mut self,
        block: &[u8],
        kind: Kind,
        limits: Limits,
    ) -> (Result<Verdict, HpackError>, Head) {
        let mut head = self.heads.head();
        let result = self.decoder.decode(block, kind, limits, &mut head);
        (result, head)
    }
}

/// All that a head says, in order.
fn fields(head: &Head) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pseudo = [
        (Name::METHOD, head.method().map(text)),
        (Name::SCHEME, head.scheme().map(text)),
        (Name::PATH, head.path().map(text)),
        (Name::AUTHORITY, head.authority().map(text)),
        (Name::STATUS, head.status().map(|status| status.to_string())),
    ];
    let mut all: Vec<(String, String)> = Vec::new();
    all.extend(pseudo.into_iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value?))));
    all.extend(head.iter().map(|field| (text(field.name_bytes), text(field.value))));
    all
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A block of literals that stand in no table.
fn plain(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            super::integer::put(&mut block, 0, 7, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// A block of literals, each of which is added to the table.
fn added(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for field in fields {
        let mut one = plain(&[*field]);
        one[0] = 0x40;
        block.append(&mut one);
    }
    block
}
