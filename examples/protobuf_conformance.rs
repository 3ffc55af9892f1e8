//! A testee of protobuf's conformance suite: JSON to wire and wire to JSON, by the functions that serve calls.
//!
//! `tests/partners/protobuf.sh` runs the suite with it. Arguments are the folder of the suite's `.proto` files, and a file
//! that gets a line with the message's name for each case. Wire to wire and the text format are skipped: the gateway does
//! neither.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write, stdin, stdout};
use std::path::Path;

use ringway::config;
use ringway::config::PrintOptions;
use ringway::transcode::api::Api;
use ringway::transcode::plan::Schema;
use ringway::transcode::read::{ReadOptions, read};
use ringway::transcode::wire::{BadWire, Raw, Wire};
use ringway::transcode::write::{Fault, write};

/// The files whose messages the suite sends.
const FILES: [&str; 5] = ["proto2", "proto3", "proto2_editions", "proto3_editions", "edition2023"];

/// The rest of a configuration, which it needs to be read.
const REST: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\ncluster = \"none\"\n\
    [[clusters]]\nname = \"none\"\nendpoints = [\"127.0.0.1:1\"]\n";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, asked] = arguments.as_slice() else {
        return Err("usage: protobuf_conformance FOLDER FILE".into());
    };
    let api = load(Path::new(folder))?;
    let mut asked = OpenOptions::new().create(true).append(true).open(asked)?;
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    let mut request = Vec::new();
    loop {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            result => result?,
        }
        request.resize(usize::try_from(u32::from_le_bytes(length))?, 0);
        input.read_exact(&mut request)?;
        let request = Request::parse(&request).map_err(|bad| format!("{bad:?}"))?;
        let response = request.answer(api.schema());
        if response.0 != SKIPPED && request.message != FAILURES {
            writeln!(asked, "{}", request.message.escape_ascii())?;
        }
        let response = response.encode();
        output.write_all(&u32::try_from(response.len())?.to_le_bytes())?;
        output.write_all(&response)?;
        output.flush()?;
    }
}

fn load(folder: &Path) -> Result<Api, Box<dyn Error>> {
    let files = FILES.map(|name| format!("\"google/protobuf/test_messages_{name}.proto\"")).join(", ");
    let text = format!("[transcoding]\nprotos = [{files}]\nproto_paths = [\".\"]\n{REST}");
    let settings = config::parse(&text, Path::new("conformance.toml"))?.transcoding;
    Api::load(&settings, folder, &[]).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        problems.join("\n").into()
    })
}

/// A request of the suite; by its field numbers in `ConformanceRequest`.
#[derive(Default)]
struct Request<'a> {
    payload: Payload<'a>,
    wanted: u64,
    message: &'a [u8],
    category: u64,
}

#[derive(Default)]
enum Payload<'a> {
    Wire(&'a [u8]),
    Json(&'a [u8]),
    #[default]
    Other,
}

/// `WireFormat` in the suite.
const WIRE: u64 = 1;
const JSON: u64 = 2;
/// `TestCategory` in the suite.
const IGNORES_UNKNOWN: u64 = 3;

/// The message of the first request: which cases are expected to fail?
const FAILURES: &[u8] = b"conformance.FailureSet";
/// The number of `skipped` in `ConformanceResponse`.
const SKIPPED: u8 = 5;

/// A field of `ConformanceResponse`: its number there, and its bytes.
struct Response(u8, Vec<u8>);

impl Response {
    fn parse_error(error: impl ToString) -> Self {
        Self(1, error.to_string().into_bytes())
    }

    fn runtime_error(error: impl ToString) -> Self {
        Self(2, error.to_string().into_bytes())
    }

    fn wire(bytes: Vec<u8>) -> Self {
        Self(3, bytes)
    }

    fn json(text: Vec<u8>) -> Self {
        Self(4, text)
    }

    fn skipped(reason: &str) -> Self {
        Self(SKIPPED, reason.into())
    }

    fn serialize_error(error: impl ToString) -> Self {
        Self(6, error.to_string().into_bytes())
    }

    fn encode(self) -> Vec<u8> {
        let mut out = vec![self.0 << 3 | 2];
        let mut length = self.1.len();
        while length >= 0x80 {
            out.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        out.push(length.to_le_bytes()[0]);
        out.extend(self.1);
        out
    }
}

impl<'a> Request<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, BadWire> {
        let mut request = Self::default();
        let mut wire = Wire::new(bytes);
        while let Some((number, wire_type)) = wire.tag()? {
            match (number, wire.raw(number, wire_type, 0)?) {
                (1, Raw::Length(bytes)) => request.payload = Payload::Wire(bytes),
                (2, Raw::Length(text)) => request.payload = Payload::Json(text),
                (3, Raw::Varint(format)) => request.wanted = format,
                (4, Raw::Length(name)) => request.message = name,
                (5, Raw::Varint(category)) => request.category = category,
                _ => {}
            }
        }
        Ok(request)
    }

    fn answer(&self, schema: &Schema) -> Response {
        if self.message == FAILURES {
            // None.
            return Response::wire(Vec::new());
        }
        let Some(id) = std::str::from_utf8(self.message).ok().and_then(|name| schema.message_id(name)) else {
            return Response::runtime_error(format!("no message {}", self.message.escape_ascii()));
        };
        let wire = match (&self.payload, self.wanted) {
            (Payload::Wire(bytes), JSON) => bytes.to_vec(),
            (Payload::Json(text), WIRE | JSON) => {
                let options = ReadOptions { ignore_unknown_fields: self.category == IGNORES_UNKNOWN };
                let mut wire = Vec::new();
                match read(schema, id, text, options, &mut wire) {
                    Ok(()) => wire,
                    Err(error) => return Response::parse_error(error),
                }
            }
            _ => return Response::skipped("neither from nor to JSON"),
        };
        if self.wanted == WIRE {
            return Response::wire(wire);
        }
        let mut json = Vec::new();
        match write(schema, id, &wire, &PrintOptions::default(), &mut json) {
            Ok(()) => Response::json(json),
            Err(error) => match error.fault {
                Fault::Malformed | Fault::OtherType | Fault::NotText | Fault::TooDeep => {
                    Response::parse_error(error)
                }
                Fault::OutOfRange | Fault::NotFinite | Fault::BadPath | Fault::UnknownType => {
                    Response::serialize_error(error)
                }
            },
        }
    }
}
