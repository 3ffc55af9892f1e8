//! Descriptor sets and `.proto` files that are damaged, and services that answer anything: an API or problems, never a
//! panic, and soon. `ringway check` says the same of every tenth file, with exit code 0 or 1.
//!
//! By default few are tried; `RINGWAY_MUTATIONS=10000` tries so many of each kind, `RINGWAY_MUTATIONS=7452..7453` that one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test measures how long a load takes")]
#![allow(clippy::disallowed_types, reason = "a test is not on a call's way")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message as _;
use prost_types::FileDescriptorProto;
use ringway::config::{self, Transcoding};
use ringway::supervisor::reflection::{ServerDescriptors, ask};
use ringway::transcode::api::{Api, Reflected};
use ringway::transcode::openapi;
use ringway::transcode::problem::Problem;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::server_reflection_server::{ServerReflection, ServerReflectionServer};
use tonic_reflection::pb::v1::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};

use crate::support::edits::Dice;

/// No load may use more of a CPU, whatever is in it. Builds for tests are slow.
const AT_MOST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
/// A process that does the same is timed by the clock, beside whatever else the machine does.
const BY_THE_CLOCK: Duration = AT_MOST.saturating_mul(4);

const REST: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\ncluster = \"echo\"\n\
    [[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";

fn settings(transcoding: &str) -> Transcoding {
    let text = format!("[transcoding]\n{transcoding}\n{REST}");
    config::parse(&text, Path::new("r.toml")).unwrap_or_else(|errors| panic!("{errors}")).transcoding
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ringway-mutated-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const COMMON: &str = "import \"google/api/annotations.proto\"; import \"google/protobuf/struct.proto\";\n\
    service S { rpc M(Q) returns (A) { option (google.api.http) = { post: \"/v1/{name=a/**}:go\" body: \"inner\" \
      additional_bindings { get: \"/v1/{inner.id}\" response_body: \"list\" } }; }\n\
      rpc N(stream Q) returns (stream A); }\n";

/// A file of each kind, with most of what a file can have.
fn sources() -> [(&'static str, String); 4] {
    let body = |label: &str| {
        format!(
            "message Q {{ {label} string name = 1; {label} Inner inner = 2; repeated E many = 3; map<int32, Inner> map = 4;\n\
               oneof choice {{ string a = 5; bytes b = 6; }} {label} google.protobuf.Struct any = 7; reserved 20 to 30, 40; reserved \"old\"; }}\n\
             message Inner {{ {label} string id = 1; repeated Inner inner = 2; message Deep {{ enum F {{ Z = 0; }} {label} F f = 1; }} }}\n\
             message A {{ repeated Inner list = 1; {label} double d = 2; }} enum E {{ ZERO = 0; MINUS = -1; }}\n"
        )
    };
    let proto2 = "message X { extensions 100 to 200; optional bytes b = 1 [default = \"\\001\\x02a\"]; optional float f = 2 [default = inf];\n\
        required group G = 3 { optional int32 x = 1; } } extend X { optional int32 ext = 100; repeated E es = 101 [packed = true]; }\n";
    let edition = "message Y { repeated int32 r = 1 [features.repeated_field_encoding = EXPANDED]; Y y = 2 [features.message_encoding = DELIMITED];\n\
        int32 i = 3 [features.field_presence = IMPLICIT]; int32 q = 4 [features.field_presence = LEGACY_REQUIRED, default = 5]; reserved foo, bar; }\n\
        enum C { option features.enum_type = CLOSED; ONE = 1; }\n";
    let common = |path: &str| COMMON.replace("/v1/", path);
    [
        ("p3.proto", format!("syntax = \"proto3\"; package p3;\n{}{}", common("/p3/"), body(""))),
        (
            "p2.proto",
            format!("syntax = \"proto2\"; package p2;\n{}{}{proto2}", common("/p2/"), body("optional")),
        ),
        ("e3.proto", format!("edition = \"2023\"; package e3;\n{}{}{edition}", common("/e3/"), body(""))),
        (
            "e4.proto",
            format!(
                "edition = \"2024\"; package e4;\n{}option features.field_presence = IMPLICIT;\n{}{edition}",
                common("/e4/"),
                body("")
            ),
        ),
    ]
}

/// The set of all files, as another build of it would be.
fn set(scratch: &Scratch) -> Vec<Vec<u8>> {
    let mut protos = Vec::new();
    for (name, text) in sources() {
        fs::write(scratch.0.join(name), text).unwrap();
        protos.push(format!("{name:?}"));
    }
    let settings = settings(&format!("protos = [{}]", protos.join(", ")));
    let api = Api::load(&settings, &scratch.0, &[]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(api.refused().is_empty(), "{:#?}", api.refused());
    assert_eq!((api.services().len(), api.rules().len()), (4, 16));
    api.schema().pool().files().map(|file| file.encode_to_vec()).collect()
}

/// Changes bytes, cuts pieces out, doubles them, and puts those of others in.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        let end = (at + 1 + dice.below(40)).min(bytes.len());
        match dice.below(7) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.below(256).to_le_bytes()[0],
            2 => bytes.truncate(at.max(1)),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            5 => bytes[at] = b"\0\x01\x7f\x80\xff\"\\{}[];.*/"[dice.below(15)],
            _ => {
                let other = dice.below(bytes.len());
                bytes.swap(at, other);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

/// Loads, and holds what comes out to be an API that can be described, or problems that are none of ours.
fn try_out(
    what: &str,
    settings: &Transcoding,
    directory: &Path,
    reflected: &[Reflected],
    longest: &mut Duration,
) -> bool {
    let began = used();
    let loaded = Api::load(settings, directory, reflected);
    let problems: Vec<Problem> = match &loaded {
        Ok(api) => {
            let print_options = settings.print_options;
            let about =
                openapi::About { title: "t", version: "1", print_options, wraps_stream_messages: false };
            assert!(openapi::document(api, &about).is_object());
            api.refused().to_vec()
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "{what}: refused without a reason");
            assert!(reflected.is_empty(), "{what}: it is fatal: {problems:#?}");
            problems.clone()
        }
    };
    for problem in problems {
        assert!(!problem.is_defect, "{what}: {problem}");
        assert!(!problem.place.is_empty() && !problem.wrong.is_empty(), "{what}: {problem:?}");
    }
    let took = used() - began;
    assert!(took < AT_MOST, "{what}: {took:?}");
    *longest = took.max(*longest);
    loaded.is_ok()
}

/// Which of these to try.
fn seeds(default: usize) -> Range<usize> {
    let Ok(wanted) = std::env::var("RINGWAY_MUTATIONS") else { return 0..default };
    match wanted.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..wanted.parse().unwrap(),
    }
}

/// Holds `ringway check` to say the same of the files in a directory, each tenth time. Says how long it took.
fn check(seed: usize, scratch: &Scratch, transcoding: &str, is_good: bool) -> Duration {
    if !seed.is_multiple_of(10) {
        return Duration::ZERO;
    }
    let path = scratch.0.join("r.toml");
    fs::write(&path, format!("[transcoding]\n{transcoding}\n{REST}")).unwrap();
    let began = Instant::now();
    let program =
        Command::new(env!("CARGO_BIN_EXE_ringway")).arg("check").arg("--config").arg(&path).output();
    let (output, took) = (program.unwrap(), began.elapsed());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(!is_good)), "seed {seed}: {said}");
    assert!(took < BY_THE_CLOCK, "seed {seed}: {took:?}");
    took
}

/// How long this thread has been on a CPU.
fn used() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("its first number"))
}

fn encoded(files: &[Vec<u8>]) -> Vec<u8> {
    let set = files.iter().flat_map(|file| {
        let mut head = vec![0x0a];
        let mut length = file.len();
        while length >= 0x80 {
            head.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        head.push(length.to_le_bytes()[0]);
        head.into_iter().chain(file.iter().copied())
    });
    set.collect()
}

#[test]
fn a_damaged_descriptor_set_is_an_api_or_problems() {
    let scratch = Scratch::new("sets");
    let files = set(&scratch);
    let transcoding = "descriptor_sets = [\"a.protoset\"]";
    let settings = settings(transcoding);
    let (mut good, mut longest) = (0, Duration::ZERO);
    let (seeds, mut checked) = (seeds(200), Duration::ZERO);
    let count = seeds.len();
    for seed in seeds {
        let mut dice = Dice(seed as u64);
        let mut files = files.clone();
        let mut bytes = if seed % 3 == 0 {
            encoded(&files)
        } else {
            // A single file is damaged and framed as if it were right.
            let at = dice.below(files.len());
            damage(&mut files[at], &mut dice);
            encoded(&files)
        };
        if seed % 3 == 0 {
            damage(&mut bytes, &mut dice);
        }
        fs::write(scratch.0.join("a.protoset"), &bytes).unwrap();
        let is_good = try_out(&format!("seed {seed}"), &settings, &scratch.0, &[], &mut longest);
        checked = checked.max(check(seed, &scratch, transcoding, is_good));
        good += usize::from(is_good);
    }
    println!(
        "{count} sets, {good} of them served, {longest:?} at most, {checked:?} with a start of the program"
    );
}

#[test]
fn what_a_service_answers_is_never_fatal() {
    let scratch = Scratch::new("reflected");
    let files = set(&scratch);
    let settings = settings("reflection = [\"echo\"]");
    let mut longest = Duration::ZERO;
    let seeds = seeds(40);
    let count = seeds.len();
    for seed in seeds {
        let mut dice = Dice(1_000_000 + seed as u64);
        let mut answers = Vec::new();
        for cluster in 0..2 {
            let mut files = files.clone();
            for _ in 0..dice.below(3) {
                let at = dice.below(files.len());
                if dice.below(3) == 0 { drop(files.remove(at)) } else { damage(&mut files[at], &mut dice) }
            }
            answers.push(Reflected { origin: format!("cluster {cluster}"), files, untold: Vec::new() });
        }
        let what = format!("seed {seed}");
        try_out(&what, &settings, &scratch.0, &answers, &mut longest);
    }
    println!("{count} answers, {longest:?} at most");
}

/// A service whose every answer is drawn: mostly true, else damaged, about something else, of another kind, or none.
struct Drawn {
    dice: Arc<Mutex<Dice>>,
    files: Arc<Vec<Vec<u8>>>,
}

impl Drawn {
    fn answer(
        dice: &mut Dice,
        files: &[Vec<u8>],
        question: &MessageRequest,
    ) -> Option<Result<MessageResponse, Status>> {
        let described = |files: Vec<Vec<u8>>| {
            Some(Ok(MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto: files,
            })))
        };
        let one = files[dice.below(files.len())].clone();
        match (dice.below(24), question) {
            (0, _) => return None,
            (1, _) => return Some(Err(Status::new(Code::from(dice.below(17) as i32), "drawn"))),
            (2, _) => {
                let (error_code, error_message) = (dice.below(20) as i32 - 2, "drawn".to_owned());
                return Some(Ok(MessageResponse::ErrorResponse(ErrorResponse { error_code, error_message })));
            }
            (3, _) => return described(Vec::new()),
            (4, _) => return described(files.to_vec()),
            (5, _) => return described(vec![one.clone(), one]),
            (6, _) => return described(vec![one]),
            (7 | 8, MessageRequest::ListServices(_)) | (9, _) => {
                let mut names = vec![String::new(), "p3.S".repeat(1 + dice.below(2000)), "p3.Q".to_owned()];
                names.truncate(dice.below(4));
                return Some(Ok(listed(names.iter().map(String::as_str).chain(["p2.S", "e3.S", "e3.S"]))));
            }
            (10..=14, MessageRequest::FileByFilename(_) | MessageRequest::FileContainingSymbol(_)) => {
                let mut file = one;
                damage(&mut file, dice);
                return described(vec![file]);
            }
            _ => {}
        }
        let found = match question {
            MessageRequest::ListServices(_) => return Some(Ok(listed(["p2.S", "p3.S", "e3.S", "e4.S"]))),
            MessageRequest::FileByFilename(name) | MessageRequest::FileContainingSymbol(name) => {
                let package = name.split('.').next().unwrap_or_default();
                files.iter().find(|file| {
                    let file = FileDescriptorProto::decode(file.as_slice()).unwrap();
                    file.name() == name || file.package() == package
                })
            }
            _ => None,
        };
        described(found.into_iter().cloned().collect())
    }
}

fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> MessageResponse {
    let service = names.into_iter().map(|name| ServiceResponse { name: name.to_owned() }).collect();
    MessageResponse::ListServicesResponse(ListServiceResponse { service })
}

#[tonic::async_trait]
impl ServerReflection for Drawn {
    type ServerReflectionInfoStream = ReceiverStream<Result<ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        request: tonic::Request<tonic::Streaming<ServerReflectionRequest>>,
    ) -> Result<tonic::Response<Self::ServerReflectionInfoStream>, Status> {
        let (dice, files) = (Arc::clone(&self.dice), Arc::clone(&self.files));
        let mut questions = request.into_inner();
        let (tell, told) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            while let Ok(Some(asked)) = questions.message().await {
                let question = asked.message_request.unwrap();
                let (answer, count) = {
                    let mut dice = dice.lock().unwrap();
                    // Now and then it answers twice, and what comes next is the answer to what was asked before.
                    (Self::answer(&mut dice, &files, &question), if dice.below(30) == 0 { 2 } else { 1 })
                };
                let Some(answer) = answer else { return };
                for _ in 0..count {
                    let answer = answer.clone().map(|answer| ServerReflectionResponse {
                        message_response: Some(answer),
                        ..Default::default()
                    });
                    let is_end = answer.is_err();
                    if tell.send(answer).await.is_err() || is_end {
                        return;
                    }
                }
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(told)))
    }
}

#[tokio::test]
async fn a_service_that_answers_anything_is_taken_as_far_as_it_goes() {
    let scratch = Scratch::new("drawn");
    let files = Arc::new(set(&scratch));
    let settings = settings("reflection = [\"echo\"]");
    let dice = Arc::new(Mutex::new(Dice(0)));
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let drawn = Drawn { dice: Arc::clone(&dice), files };
    let server = Server::builder().add_service(ServerReflectionServer::new(drawn));
    tokio::spawn(server.serve_with_incoming(incoming));
    let (mut told, mut longest, mut loaded) = (0, Duration::ZERO, Duration::ZERO);
    let seeds = seeds(100);
    let count = seeds.len();
    for seed in seeds {
        *dice.lock().unwrap() = Dice(3_000_000 + seed as u64);
        let began = Instant::now();
        let answer = ask(address).await;
        longest = longest.max(began.elapsed());
        assert!(began.elapsed() < AT_MOST, "seed {seed}: {:?}", began.elapsed());
        let Ok(ServerDescriptors { files, untold }) = answer else { continue };
        told += 1;
        let answers = [Reflected { origin: "cluster 0".to_owned(), files, untold }];
        let what = format!("seed {seed}");
        try_out(&what, &settings, &scratch.0, &answers, &mut loaded);
    }
    // Both are seen: those who tell something, and those who do not.
    assert!(count < 20 || (told > count / 4 && told < count), "{told} of {count} told something");
    println!("{count} services, {told} told something; {longest:?} to ask, {loaded:?} to load at most");
}

#[test]
fn a_damaged_source_is_an_api_or_problems() {
    let scratch = Scratch::new("sources");
    let sources = sources();
    let (mut good, mut longest) = (0, Duration::ZERO);
    let (seeds, mut checked) = (seeds(60), Duration::ZERO);
    let count = seeds.len();
    for seed in seeds {
        let mut dice = Dice(2_000_000 + seed as u64);
        let (name, text) = &sources[seed % sources.len()];
        let mut bytes = text.clone().into_bytes();
        damage(&mut bytes, &mut dice);
        fs::write(scratch.0.join(name), &bytes).unwrap();
        let transcoding = format!("protos = [{name:?}]");
        let settings = settings(&transcoding);
        let is_good = try_out(&format!("seed {seed}"), &settings, &scratch.0, &[], &mut longest);
        checked = checked.max(check(seed, &scratch, &transcoding, is_good));
        good += usize::from(is_good);
    }
    println!(
        "{count} sources, {good} of them served, {longest:?} at most, {checked:?} with a start of the program"
    );
}

/// Time grows with the size of a file, not with its square: also where each field has a oneof or options of its own.
#[test]
fn a_file_with_20_000_fields_is_read_soon() {
    let scratch = Scratch::new("large");
    let deprecated = " [deprecated = true]; // As it is.";
    for (label, kind, end) in
        [("", "string", ";"), ("optional", "int32", ";"), ("repeated", "Big", ";"), ("", "Big", deprecated)]
    {
        let mut text =
            "syntax = \"proto3\"; service S { rpc M(Big) returns (Big); } message Big {\n".to_owned();
        for number in (1..=18_999).chain(20_000..=21_000) {
            text += &format!("{label} {kind} field_{number} = {number}{end}\n");
        }
        text += "}";
        fs::write(scratch.0.join("large.proto"), text).unwrap();
        let settings = settings("protos = [\"large.proto\"]");
        let mut took = Duration::ZERO;
        assert!(try_out(label, &settings, &scratch.0, &[], &mut took));
        let checked = check(0, &scratch, "protos = [\"large.proto\"]", true);
        println!("{label} {kind} {end}: {took:?}, {checked:?} with a start of the program");
    }
}

/// The library compares each field with each range of numbers that is reserved or left to extensions.
#[test]
fn a_file_with_20_000_ranges_is_read_or_refused_soon() {
    let scratch = Scratch::new("ranges");
    let lines = |line: &dyn Fn(u32) -> String| (0..20_000).map(line).collect::<String>();
    let fields = lines(&|number| format!("optional int32 f{number} = {};\n", number + 100_000));
    let reserved = lines(&|number| format!("reserved {};\n", 2 * number + 200_000));
    let left = lines(&|number| format!("extensions {};\n", 2 * number + 200_000));
    let added = lines(&|number| format!("optional int32 e{number} = {};\n", 2 * number + 200_000));
    let values = lines(&|number| format!("V{number} = {number};\n"));
    let unused = lines(&|number| format!("reserved {};\n", 2 * number + 200_000));
    let texts = [
        ("reserved", false, format!("message Big {{ {fields}{reserved} }}")),
        ("extensions", false, format!("message Big {{ {fields}{left} }}")),
        ("extended", false, format!("message Big {{ {left} }} extend Big {{ {added} }}")),
        ("an enum", false, format!("message Big {{ optional E e = 1; }} enum E {{ {values}{unused} }}")),
        ("ranges alone", true, format!("message Big {{ optional int32 f = 1; {reserved} }}")),
    ];
    for (what, is_good, text) in texts {
        let text = format!("syntax = \"proto2\"; service S {{ rpc M(Big) returns (Big); }}\n{text}");
        fs::write(scratch.0.join("ranges.proto"), text).unwrap();
        let settings = settings("protos = [\"ranges.proto\"]");
        let mut took = Duration::ZERO;
        assert_eq!(try_out(what, &settings, &scratch.0, &[], &mut took), is_good, "{what}");
        let checked = check(0, &scratch, "protos = [\"ranges.proto\"]", is_good);
        println!("{what}: {took:?}, {checked:?} with a start of the program");
    }
}
