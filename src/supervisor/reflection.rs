//! Asks an upstream for its descriptors: `grpc.reflection.v1`, else `v1alpha`, whose messages are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use prost::Message as _;
use prost_types::FileDescriptorProto;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Streaming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

/// From the connect to the last file.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Files that one upstream may have.
const FILES_MAX: usize = 4096;
/// Bytes of all of them.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Why an upstream's descriptors are not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReflectionError {
    /// It cannot be reached.
    Connect(String),
    /// It has no server reflection.
    NotOffered,
    /// It was not done in time.
    TimedOut,
    /// It has more files, or larger ones, than anybody should.
    TooMuch,
    /// It answers something else than it was asked.
    Failed(String),
}

impl fmt::Display for ReflectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReflectionError::Connect(error) => write!(f, "cannot connect: {error}"),
            ReflectionError::NotOffered => f.write_str("it offers no server reflection"),
            ReflectionError::TimedOut => write!(f, "not done after {TIMEOUT:?}"),
            ReflectionError::TooMuch => {
                write!(f, "more than {FILES_MAX} files or {} MiB", BYTES_MAX / 1024 / 1024)
            }
            ReflectionError::Failed(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for ReflectionError {}

/// All files of the services at an address, and what they import: each a `google.protobuf.FileDescriptorProto`, in the
/// order of their names.
///
/// # Errors
/// Why they are not there.
pub async fn ask(address: SocketAddr) -> Result<Vec<Vec<u8>>, ReflectionError> {
    let all = async {
        let channel = connect(address).await?;
        for path in PATHS {
            match files(channel.clone(), path).await {
                Err(ReflectionError::NotOffered) => {}
                done => return done,
            }
        }
        Err(ReflectionError::NotOffered)
    };
    tokio::time::timeout(TIMEOUT, all).await.unwrap_or(Err(ReflectionError::TimedOut))
}

async fn connect(address: SocketAddr) -> Result<Channel, ReflectionError> {
    // The reason stands in the causes: the error itself says "transport error".
    let failed = |error: tonic::transport::Error| {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            reason = error.to_string();
            cause = error.source();
        }
        ReflectionError::Connect(reason)
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(failed)?;
    endpoint.connect().await.map_err(failed)
}

async fn files(channel: Channel, path: &'static str) -> Result<Vec<Vec<u8>>, ReflectionError> {
    let list = MessageRequest::ListServices("*".to_owned());
    let (mut stream, answer) = Stream::open(channel, path, list).await?;
    let services = match answer {
        MessageResponse::ListServicesResponse(list) => list.service,
        other => return Err(unexpected(&other)),
    };
    let mut found = Found::default();
    // Nobody calls the reflection of a service through its own reflection.
    for service in services.iter().filter(|service| !service.name.starts_with("grpc.reflection.")) {
        match stream.ask(MessageRequest::FileContainingSymbol(service.name.clone())).await? {
            MessageResponse::FileDescriptorResponse(answer) => found.add(answer.file_descriptor_proto)?,
            other => return Err(unexpected(&other)),
        }
    }
    while let Some(name) = found.wanted.pop_first() {
        match stream.ask(MessageRequest::FileByFilename(name.clone())).await? {
            MessageResponse::FileDescriptorResponse(answer) => found.add(answer.file_descriptor_proto)?,
            // Some keep the files of google to themselves: they are built in, or it is told with the others.
            MessageResponse::ErrorResponse(_) => drop(found.absent.insert(name)),
            other => return Err(unexpected(&other)),
        }
        found.wanted.retain(|name| !found.files.contains_key(name) && !found.absent.contains(name));
    }
    Ok(found.files.into_values().collect())
}

/// Files on their way here.
#[derive(Default)]
struct Found {
    files: BTreeMap<String, Vec<u8>>,
    bytes: usize,
    /// Imported, and not here yet.
    wanted: BTreeSet<String>,
    /// Imported, and not to be had.
    absent: BTreeSet<String>,
}

impl Found {
    fn add(&mut self, files: Vec<Vec<u8>>) -> Result<(), ReflectionError> {
        for bytes in files {
            let failed = |error| ReflectionError::Failed(format!("it answers no descriptor: {error}"));
            let file = FileDescriptorProto::decode(bytes.as_slice()).map_err(failed)?;
            let name = file.name().to_owned();
            let is_new = |import: &String| !self.files.contains_key(import) && !self.absent.contains(import);
            self.wanted.extend(file.dependency.iter().filter(|import| is_new(import)).cloned());
            self.wanted.remove(&name);
            self.bytes += bytes.len();
            self.files.insert(name, bytes);
            if self.files.len() + self.wanted.len() > FILES_MAX || self.bytes > BYTES_MAX {
                return Err(ReflectionError::TooMuch);
            }
        }
        Ok(())
    }
}

/// A call of `ServerReflectionInfo`: one question after the other.
struct Stream {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Stream {
    /// Opens it with a first question: some services do not even begin to answer without one.
    async fn open(
        channel: Channel,
        path: &'static str,
        first: MessageRequest,
    ) -> Result<(Self, MessageResponse), ReflectionError> {
        let (questions, asked) = mpsc::channel(1);
        let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        client.ready().await.map_err(|error| ReflectionError::Connect(error.to_string()))?;
        let codec = tonic_prost::ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let request = Request::new(ReceiverStream::new(asked));
        questions.try_send(question(first)).expect("the queue is empty");
        let answers = client.streaming(request, path, codec).await.map_err(|status| failed(&status))?;
        let mut answers = answers.into_inner();
        let answer = next(&mut answers).await?;
        Ok((Self { questions, answers }, answer))
    }

    async fn ask(&mut self, next_one: MessageRequest) -> Result<MessageResponse, ReflectionError> {
        if self.questions.send(question(next_one)).await.is_err() {
            return Err(ReflectionError::Failed("it ended the stream of questions".to_owned()));
        }
        next(&mut self.answers).await
    }
}

fn question(message: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest { host: String::new(), message_request: Some(message) }
}

async fn next(answers: &mut Streaming<ServerReflectionResponse>) -> Result<MessageResponse, ReflectionError> {
    let answer = answers.message().await.map_err(|status| failed(&status))?;
    let answer = answer.and_then(|answer| answer.message_response);
    answer.ok_or_else(|| ReflectionError::Failed("it ended the stream of answers".to_owned()))
}

fn failed(status: &Status) -> ReflectionError {
    match status.code() {
        Code::Unimplemented => ReflectionError::NotOffered,
        code => ReflectionError::Failed(format!("it answers {code:?}: {}", status.message())),
    }
}

fn unexpected(answer: &MessageResponse) -> ReflectionError {
    ReflectionError::Failed(match answer {
        MessageResponse::ErrorResponse(error) => {
            format!("it answers {:?}: {}", Code::from(error.error_code), error.error_message)
        }
        _ => "it answers something else than it was asked".to_owned(),
    })
}
