//! Random messages of `tests/protos`, and their bytes: as encoders write them, and as the format allows.

use prost_reflect::prost::encoding::DecodeContext;
use prost_reflect::prost::{self, Message as _};
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage as _, UnknownField, Value,
};
use ringway::random::Random;

/// The descriptors of `tests/protos`.
pub fn pool() -> DescriptorPool {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/protos");
    let files = protox::compile(["kinds.proto"], [folder]).expect("the test's files compile");
    DescriptorPool::from_file_descriptor_set(files).expect("a pool of what was compiled")
}

/// Makes the message of a seed.
pub struct Generator<'a> {
    pool: &'a DescriptorPool,
    random: Random,
    /// How many more fields the message may have.
    fields_left: u32,
}

/// Types that come on their own; `Everything` has all others in it.
const OUTERMOST: [&str; 12] = [
    "test.kinds.Everything",
    "test.kinds.Scalars",
    "test.kinds.Optionals",
    "test.kinds.Lists",
    "test.kinds.Maps",
    "test.kinds.Choice",
    "test.kinds.WellKnown",
    "test.kinds.Names",
    "test.kinds.Tree",
    "test.kinds.Sparse",
    "test.kinds.Leaf",
    "test.kinds2.Old",
];

/// Messages that an `Any` may hold.
const IN_ANY: [&str; 8] = [
    "test.kinds.Scalars",
    "test.kinds.Choice",
    "test.kinds2.Old",
    "google.protobuf.Duration",
    "google.protobuf.Int64Value",
    "google.protobuf.Value",
    "google.protobuf.Empty",
    "google.protobuf.Any",
];

const TEXTS: [&str; 12] = [
    "",
    "a",
    "plain text",
    "sixteen bytes!!!",
    "\"quoted\" and \\ back",
    "line\nbreak\ttab\r\u{8}\u{c}\u{0}\u{1f}\u{7f}",
    "ünïcödé ☃ 𝄞",
    "</script>&\u{2028}",
    "{[,:]}",
    "a longer text that has more than sixty-four bytes, so that it is looked at in several blocks \" one by one",
    "null",
    "-1.5e300",
];

impl<'a> Generator<'a> {
    pub fn new(pool: &'a DescriptorPool, seed: u64) -> Self {
        Self { pool, random: Random::seeded(seed), fields_left: 0 }
    }

    pub fn message(&mut self) -> DynamicMessage {
        let name = OUTERMOST[self.below(OUTERMOST.len())];
        self.fields_left = 1 << self.random.below(6);
        let descriptor = self.pool.get_message_by_name(name).expect("it is one of the test's messages");
        self.of(&descriptor, 0)
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n as u32) as usize
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.below(n) == 0
    }

    fn of(&mut self, descriptor: &MessageDescriptor, depth: u32) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        let mut set = |number: u32, value| message.set_field_by_number(number, value);
        match descriptor.full_name() {
            "google.protobuf.Timestamp" => {
                let span = 253_402_300_800 + 62_135_596_800_u64;
                set(1, Value::I64(self.random.below_u64(span) as i64 - 62_135_596_800));
                set(2, Value::I32(self.nanos()));
            }
            "google.protobuf.Duration" => {
                let sign = if self.one_in(2) { -1 } else { 1 };
                set(1, Value::I64(sign * self.random.below_u64(315_576_000_001) as i64));
                set(2, Value::I32(sign as i32 * self.nanos()));
            }
            "google.protobuf.FieldMask" => {
                let paths = ["a", "foo_bar", "foo_bar.baz_qux.x", "f1.g2", "ü.snow_man"];
                let count = self.below(4);
                let paths = (0..count).map(|_| Value::String(paths[self.below(paths.len())].to_owned()));
                set(1, Value::List(paths.collect()));
            }
            "google.protobuf.Any" => {
                let name = if depth > 4 { "test.kinds.Scalars" } else { IN_ANY[self.below(IN_ANY.len())] };
                let inner = self.pool.get_message_by_name(name).expect("it is in the pool");
                let inner = self.of(&inner, depth + 1);
                set(1, Value::String(format!("type.googleapis.com/{name}")));
                set(2, Value::Bytes(self.encode(&inner).into()));
            }
            "google.protobuf.Value" => {
                // Deeper ones have no lists and objects.
                let number = 1 + self.random.below(if depth > 4 { 4 } else { 6 });
                if let Some(field) = descriptor.get_field(number) {
                    let value = match number {
                        2 => Value::F64(self.finite()),
                        _ => self.value(&field.kind(), depth),
                    };
                    set(number, value);
                }
            }
            // prost-reflect writes those that are no number as `null`.
            "google.protobuf.DoubleValue" => set(1, Value::F64(self.finite())),
            "google.protobuf.FloatValue" => set(1, Value::F32(self.random.below(1 << 24) as f32 / 16.0)),
            _ => self.fill(&mut message, depth),
        }
        message
    }

    fn fill(&mut self, message: &mut DynamicMessage, depth: u32) {
        let descriptor = message.descriptor();
        // Some messages are full, most have a field here and there.
        let chance = [1, 2, 4, 10][self.below(4)];
        for field in descriptor.fields() {
            if self.fields_left == 0 || depth > 8 || !self.one_in(chance) {
                continue;
            }
            self.fields_left -= 1;
            let value = if field.is_list() {
                let count = [0, 1, 2, 3, 20][self.below(5)];
                Value::List((0..count).map(|_| self.value(&field.kind(), depth)).collect())
            } else if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
                let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
                let count = self.below(4);
                Value::Map((0..count).map(|_| (self.key(&key), self.value(&value, depth))).collect())
            } else {
                self.value(&field.kind(), depth)
            };
            message.set_field(&field, value);
        }
        for extension in descriptor.extensions().filter(|extension| !extension.is_list()) {
            if self.one_in(chance) && depth < 4 {
                let value = self.value(&extension.kind(), depth);
                message.set_extension(&extension, value);
            }
        }
    }

    fn value(&mut self, kind: &Kind, depth: u32) -> Value {
        match kind {
            Kind::Double => Value::F64(match self.below(8) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                _ => self.finite(),
            }),
            Kind::Float => Value::F32(match self.below(8) {
                0 => f32::NAN,
                1 => f32::INFINITY,
                2 => f32::NEG_INFINITY,
                3 => self.random.below(1 << 20) as f32 / 64.0,
                _ => f32::from_bits(self.random.below(u32::MAX)),
            }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.integer() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.integer() as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.integer() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.integer()),
            Kind::Bool => Value::Bool(self.one_in(2)),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => {
                let count = [0, 1, 2, 3, 4, 100][self.below(6)];
                Value::Bytes((0..count).map(|_| self.random.below(256) as u8).collect())
            }
            Kind::Enum(values) => {
                let known: Vec<i32> = values.values().map(|value| value.number()).collect();
                let is_null = values.full_name() == "google.protobuf.NullValue";
                Value::EnumNumber(match self.below(6) {
                    0 if !is_null => self.integer() as i32,
                    _ => known[self.below(known.len())],
                })
            }
            Kind::Message(descriptor) => Value::Message(self.of(descriptor, depth + 1)),
        }
    }

    fn key(&mut self, kind: &Kind) -> MapKey {
        match self.value(kind, 0) {
            Value::Bool(value) => MapKey::Bool(value),
            Value::I32(value) => MapKey::I32(value),
            Value::I64(value) => MapKey::I64(value),
            Value::U32(value) => MapKey::U32(value),
            Value::U64(value) => MapKey::U64(value),
            Value::String(value) => MapKey::String(value),
            other => panic!("{other:?} is no key"),
        }
    }

    /// Small ones, and those at the ends of what has 32 or 64 bits.
    fn integer(&mut self) -> u64 {
        let near = self.random.below_u64(300);
        match self.below(6) {
            0 => 0,
            1 => near,
            2 => near.wrapping_neg(),
            3 => (1 << 31_u32) + near - 150,
            4 => (1 << 63_u64) + near - 150,
            _ => self.random.below_u64(u64::MAX),
        }
    }

    fn finite(&mut self) -> f64 {
        let value = f64::from_bits(self.random.below_u64(u64::MAX));
        match self.below(3) {
            0 => self.random.below(1 << 20) as f64 / 8.0,
            _ if value.is_finite() => value,
            _ => 0.0,
        }
    }

    fn nanos(&mut self) -> i32 {
        let digit = [1_000_000_000, 1_000_000, 1_000, 1][self.below(4)];
        (self.random.below(1_000_000_000) / digit * digit) as i32
    }

    fn text(&mut self) -> String {
        match self.below(4) {
            0 => {
                (0..self.below(80)).map(|_| char::from_u32(self.random.below(0x300)).unwrap_or(' ')).collect()
            }
            _ => TEXTS[self.below(TEXTS.len())].to_owned(),
        }
    }

    /// The bytes of a message: mostly as encoders write them, else something that means the same.
    pub fn encode(&mut self, message: &DynamicMessage) -> Vec<u8> {
        let canonical = message.encode_to_vec();
        if !self.one_in(3) {
            return canonical;
        }
        let descriptor = message.descriptor();
        let mut fields = fields(&canonical);
        for _ in 0..1 + self.below(3) {
            match self.below(4) {
                0 => self.shuffle(&mut fields),
                1 => self.repeat_a_scalar(&descriptor, &mut fields),
                2 => self.split_a_message(&descriptor, &mut fields),
                _ => self.add_unknown(&mut fields),
            }
        }
        let mut wire = Vec::new();
        fields.iter().for_each(|field| field.encode(&mut wire));
        wire
    }

    /// Changes the order, but not that among the values of one field.
    fn shuffle(&mut self, fields: &mut [UnknownField]) {
        for _ in 0..fields.len() * 2 {
            let at = self.below(fields.len() - 1);
            if fields.get(at + 1).is_some_and(|next| next.number() != fields[at].number()) {
                fields.swap(at, at + 1);
            }
        }
    }

    /// A scalar comes twice; the last one counts.
    fn repeat_a_scalar(&mut self, descriptor: &MessageDescriptor, fields: &mut Vec<UnknownField>) {
        let scalars = indices(descriptor, fields, |kind| !matches!(kind, Kind::Message(_)));
        if !scalars.is_empty() {
            let at = scalars[self.below(scalars.len())];
            fields.insert(self.below(at + 1), fields[at].clone());
        }
    }

    /// A message comes in two parts, which are merged.
    fn split_a_message(&mut self, descriptor: &MessageDescriptor, fields: &mut Vec<UnknownField>) {
        let messages = indices(descriptor, fields, |kind| matches!(kind, Kind::Message(_)));
        if messages.is_empty() {
            return;
        }
        let at = messages[self.below(messages.len())];
        let mut whole = Vec::new();
        fields[at].encode(&mut whole);
        let number = fields[at].number();
        let Some(inner) = bytes_of(&whole) else {
            return;
        };
        let inner = self::fields(&inner);
        let cut = self.below(inner.len() + 1);
        let part = |fields: &[UnknownField]| {
            let mut bytes = Vec::new();
            fields.iter().for_each(|field| field.encode(&mut bytes));
            let mut field = Vec::new();
            prost::encoding::bytes::encode(number, &bytes, &mut field);
            self::fields(&field).remove(0)
        };
        let second = part(&inner[cut..]);
        fields[at] = part(&inner[..cut]);
        // Before the next part, if there are more, for the order among the parts counts.
        let next = fields[at + 1..].iter().position(|field| field.number() == number);
        let second_at = at + 1 + self.below(next.unwrap_or(fields.len() - at - 1) + 1);
        fields.insert(second_at, second);
    }

    fn add_unknown(&mut self, fields: &mut Vec<UnknownField>) {
        // Field 77777 as a varint, a string and a group with a group in it, and an extension that no file has.
        let unknown: [&[u8]; 4] = [
            b"\x88\xfd\x25\x01",
            b"\x8a\xfd\x25\x02{\xff",
            b"\x8b\xfd\x25\x08\x01\x0b\x0c\x8c\xfd\x25",
            b"\x80\x0b\x05",
        ];
        let field = self::fields(unknown[self.below(4)]).remove(0);
        fields.insert(self.below(fields.len() + 1), field);
    }

    /// Changes the bytes so that they may be no message any more.
    pub fn damage(&mut self, wire: &mut Vec<u8>) {
        for _ in 0..1 + self.below(2) {
            let at = self.below(wire.len() + 1);
            match self.below(5) {
                0 => wire.truncate(at),
                1 => wire.insert(at, self.random.below(256) as u8),
                2 if at < wire.len() => drop(wire.remove(at)),
                3 if at < wire.len() => wire[at] ^= 1 << self.below(8),
                _ if at < wire.len() => wire[at] = self.random.below(256) as u8,
                _ => wire.push(0x0c),
            }
        }
    }
}

/// A message's fields, as they lie.
fn fields(mut wire: &[u8]) -> Vec<UnknownField> {
    let mut fields = Vec::new();
    while !wire.is_empty() {
        fields.push(UnknownField::decode(&mut wire, DecodeContext::default()).expect("an encoder wrote it"));
    }
    fields
}

/// The payload of a field that has a length; none of a group.
fn bytes_of(mut field: &[u8]) -> Option<Vec<u8>> {
    use prost_reflect::prost::encoding::{WireType, bytes, decode_key};
    let (_, wire_type) = decode_key(&mut field).expect("an encoder wrote it");
    let mut payload = Vec::new();
    (wire_type == WireType::LengthDelimited).then(|| {
        let merged = bytes::merge(wire_type, &mut payload, &mut field, DecodeContext::default());
        merged.expect("an encoder wrote it");
        payload
    })
}

/// Where the singular fields of some kinds are.
fn indices(descriptor: &MessageDescriptor, fields: &[UnknownField], of: fn(&Kind) -> bool) -> Vec<usize> {
    let is_wanted = |number| {
        let field = descriptor.get_field(number);
        field.is_some_and(|field| !field.is_list() && !field.is_map() && of(&field.kind()))
    };
    fields.iter().enumerate().filter(|(_, field)| is_wanted(field.number())).map(|(at, _)| at).collect()
}
