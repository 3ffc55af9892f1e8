//! The plan of one exchange: the messages to send, and the results to see.

use ringway::random::Random;

/// A field: its name, its value, and whether no table may hold it.
pub(crate) type Field = (String, Vec<u8>, bool);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The head is all.
    Head,
    /// With the last bytes.
    Data,
    /// With a frame of its own.
    Empty,
    Trailers(Vec<Field>),
    Reset(u32),
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) fields: Vec<Field>,
    pub(crate) body: Vec<u8>,
    /// Bytes that are sent at once.
    pub(crate) piece: usize,
    pub(crate) end: End,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) path: String,
    pub(crate) request: Message,
    pub(crate) response: Message,
    /// The response begins before the request has ended.
    pub(crate) is_early: bool,
}

/// A message as its receiver saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReceivedMessage {
    pub(crate) fields: Vec<Field>,
    pub(crate) body: Vec<u8>,
    /// None while it has not ended.
    pub(crate) end: Option<SeenEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SeenEnd {
    End,
    Trailers(Vec<Field>),
    Reset(u32),
    Other(String),
}

const NAMES: [&str; 14] = [
    "content-type",
    "user-agent",
    "grpc-timeout",
    "grpc-encoding",
    "authorization",
    "cookie",
    "accept-encoding",
    "x-request-id",
    "x-a",
    "x-a-longer-name-that-no-table-knows",
    "grpc-status",
    "grpc-message",
    "traceparent",
    "bin-bin",
];

fn fields(random: &mut Random, most: u32) -> Vec<Field> {
    (0..random.below(most)).map(|_| field(random)).collect()
}

fn field(random: &mut Random) -> Field {
    let name = match random.below(4) {
        0 => format!("x-{}", random.below(50)),
        _ => NAMES[random.below(NAMES.len() as u32) as usize].to_owned(),
    };
    let length = match random.below(40) {
        0 => random.below(3_000),
        1..4 => random.below(200),
        _ => random.below(20),
    };
    let kind = random.below(4);
    let byte = |random: &mut Random| match kind {
        // Bytes that Huffman's code makes short, bytes that it makes long, and any bytes.
        0 => b'a' + random.below(26) as u8,
        1 => b"~}{|<>^`"[random.below(8) as usize],
        2 => b'0',
        _ => Some(random.bits() as u8).filter(|byte| *byte > 0x20 && *byte != 0x7f).unwrap_or(b'_'),
    };
    let value = (0..length).map(|_| byte(random)).collect();
    (name, value, random.below(10) == 0)
}

impl Message {
    fn random(random: &mut Random, resets: bool) -> Message {
        let length = match random.below(50) {
            0 => random.below(200_000),
            1..10 => random.below(20_000),
            _ => random.below(200),
        };
        let salt = random.below(251) as usize;
        let mut body: Vec<u8> = (0..length as usize).map(|at| ((at + salt) % 251) as u8).collect();
        let end = match random.below(16) {
            0 if resets => End::Reset(1 + random.below(13)),
            0..3 => End::Head,
            3..7 => End::Data,
            7..9 => End::Empty,
            _ => End::Trailers(fields(random, 5)),
        };
        if end == End::Head {
            body.clear();
        }
        let piece = [1, 10, 1_000, 16_384, 70_000][random.below(5) as usize].max(body.len() / 20).max(1);
        Message { fields: fields(random, 12), body, piece, end }
    }
}

impl Plan {
    pub(crate) fn random(random: &mut Random) -> Plan {
        let length = random.below(30) as usize;
        let path = format!("/{}", "p/%20~x?".repeat(4).get(..length).expect("it is that long"));
        let request = Message::random(random, true);
        let resets = !matches!(request.end, End::Reset(_));
        let response = Message::random(random, resets);
        Plan { path, request, response, is_early: random.below(3) == 0 }
    }
}

/// Fields with one name stand in order; h2 sorts the names in its own way.
fn sorted(fields: &[Field], sensitive: bool) -> Vec<Field> {
    let mut fields = fields.to_vec();
    for field in &mut fields {
        field.2 &= sensitive;
    }
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

/// Compares what was sent with what was seen. h2 does not tell which fields were sensitive: those that ours saw have been
/// compared when they came.
pub(crate) fn check(plan: &Plan, request: Option<&ReceivedMessage>, response: Option<&ReceivedMessage>) {
    let is_cut = [&plan.request, &plan.response].iter().any(|message| matches!(message.end, End::Reset(_)));
    for (planned, seen) in [(&plan.request, request), (&plan.response, response)] {
        let Some(seen) = seen else {
            assert!(is_cut, "nothing was seen of {planned:?}");
            continue;
        };
        assert_eq!(sorted(&planned.fields, false), sorted(&seen.fields, false));
        assert!(planned.body.starts_with(&seen.body), "other bytes came");
        if let End::Reset(code) = planned.end {
            // Either may close the connection before the other has seen its last reset.
            let own = match &seen.end {
                Some(SeenEnd::Reset(seen)) => *seen == code,
                Some(SeenEnd::Other(_)) => true,
                _ => false,
            };
            assert!(own, "{:?} for {:?}", seen.end, planned.end);
        } else if !is_cut {
            assert_eq!(seen.body.len(), planned.body.len(), "{:?} {:?} {plan:?}", seen.end, planned.end);
            let expected = match &planned.end {
                End::Trailers(fields) => SeenEnd::Trailers(sorted(fields, false)),
                _ => SeenEnd::End,
            };
            let end = seen.end.clone().map(|end| match end {
                SeenEnd::Trailers(fields) => SeenEnd::Trailers(sorted(&fields, false)),
                end => end,
            });
            assert_eq!(end, Some(expected), "{planned:?}");
        }
    }
}

/// Fields as ours saw them: none is sensitive that was not sent so. h2 forgets it of a field that its table holds.
pub(crate) fn check_sensitive(planned: &[Field], seen: &[Field]) {
    let (planned, seen) = (sorted(planned, true), sorted(seen, true));
    assert_eq!(planned.len(), seen.len());
    for (planned, seen) in planned.iter().zip(&seen) {
        assert!(
            (&planned.0, &planned.1) == (&seen.0, &seen.1) && planned.2 >= seen.2,
            "{planned:?} {seen:?}"
        );
    }
}
