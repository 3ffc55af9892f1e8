//! Asks an upstream for its descriptors: by `grpc.reflection.v1`, or else by `v1alpha`, whose messages do not differ.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost::Message as _;
use prost_types::FileDescriptorProto;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Streaming;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::channel::Target;
use crate::transcode::descriptors::missing_types;

/// The time from the connect to the last file.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Files that one upstream may have.
const FILES_MAX: usize = 4096;
/// Bytes of all of them.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one response.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The reason why an upstream's descriptors are not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReflectionError {
    /// The upstream cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The upstream has no server reflection.
    #[error(
        "it offers no server reflection: switch that on in the service, or name its files in transcoding.protos (docs/CLIENTS.md)"
    )]
    NotOffered,
    /// The upstream did not answer all questions in time.
    #[error("not done after {TIMEOUT:?}")]
    TimedOut,
    /// The upstream has more files, or larger ones, than the bounds allow.
    #[error("more than {FILES_MAX} files or {} MiB", BYTES_MAX / 1024 / 1024)]
    TooMuch,
    /// The upstream has answered, and does so no longer.
    #[error("its answers ended: {0}")]
    Lost(String),
    /// The upstream's answer does not fit the question.
    #[error("{0}")]
    Failed(String),
}

/// A service's description of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerDescriptors {
    /// The files of its services and what they import, each a `google.protobuf.FileDescriptorProto`, in the order of
    /// their names.
    pub files: Vec<Vec<u8>>,
    /// Parts that it lists and does not describe, each as a sentence.
    pub untold: Vec<String>,
}

/// All files of the services at an endpoint, and their imports, as far as it gives them.
///
/// # Errors
/// The reason why there are none.
pub async fn ask(target: impl Into<Target>) -> Result<ServerDescriptors, ReflectionError> {
    let target = target.into();
    let all = async {
        let channel = connect(&target).await?;
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

async fn connect(target: &Target) -> Result<Channel, ReflectionError> {
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
    target.connect().await.map_err(failed)
}

async fn files(channel: Channel, path: &'static str) -> Result<ServerDescriptors, ReflectionError> {
    let mut questions = Questions::new(channel, path);
    let services = match questions.ask(MessageRequest::ListServices("*".to_owned())).await? {
        MessageResponse::ListServicesResponse(list) => list.service,
        other => return Err(unexpected(&other)),
    };
    let mut found = Found::default();
    let mut untold = Vec::new();
    // No caller needs the reflection service through its own reflection.
    for service in services.iter().filter(|service| !service.name.starts_with("grpc.reflection.")) {
        let question = MessageRequest::FileContainingSymbol(service.name.clone());
        if let Err(reason) = found.take(questions.ask(question).await, None)? {
            untold.push(format!("the service {} is listed and not described: {reason}", service.name));
        }
    }
    found.imports(&mut questions).await?;
    // Types that stand in files which the service does not know by their imported names.
    let mut asked = BTreeSet::new();
    loop {
        let wanted: Vec<String> =
            found.unknown_types().into_iter().filter(|name| asked.insert(name.clone())).collect();
        if wanted.is_empty() {
            break;
        }
        for name in wanted {
            // A failure costs only the methods that need the symbol; they are reported later.
            let _ = found.take(questions.ask(MessageRequest::FileContainingSymbol(name)).await, None)?;
        }
        found.imports(&mut questions).await?;
    }
    Ok(ServerDescriptors { files: found.files.into_values().collect(), untold })
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
    /// Takes an answer with files, of which one should have this name. Gives the reason if it has none, where only this
    /// question fails.
    fn take(
        &mut self,
        answer: Result<MessageResponse, ReflectionError>,
        asked: Option<&str>,
    ) -> Result<Result<(), String>, ReflectionError> {
        match answer {
            Ok(MessageResponse::FileDescriptorResponse(answer)) => {
                self.add(answer.file_descriptor_proto, asked).map(Ok)
            }
            Ok(other) => Ok(Err(unexpected(&other).to_string())),
            Err(ReflectionError::Failed(reason)) => Ok(Err(reason)),
            Err(error) => Err(error),
        }
    }

    /// Asks for all imports.
    async fn imports(&mut self, questions: &mut Questions) -> Result<(), ReflectionError> {
        while let Some(name) = self.wanted.pop_first() {
            let answer = questions.ask(MessageRequest::FileByFilename(name.clone())).await;
            let _ = self.take(answer, Some(&name))?;
            if !self.files.contains_key(&name) {
                // Some services leave out the files of google: these are built in, or come with other files.
                self.absent.insert(name);
            }
            self.wanted.retain(|name| !self.files.contains_key(name) && !self.absent.contains(name));
        }
        Ok(())
    }

    fn add(&mut self, files: Vec<Vec<u8>>, asked: Option<&str>) -> Result<(), ReflectionError> {
        let mut is_first = true;
        let is_asked = |bytes: &Vec<u8>| {
            FileDescriptorProto::decode(bytes.as_slice()).is_ok_and(|file| Some(file.name()) == asked)
        };
        let has_asked = files.iter().any(is_asked);
        for bytes in files {
            // A file that is no descriptor is reported when the descriptors are put together.
            let file = FileDescriptorProto::decode(bytes.as_slice()).unwrap_or_default();
            self.bytes += bytes.len();
            if let Some(asked) = asked.filter(|_| is_first && !has_asked) {
                // The service knows the file by another name than that of the import.
                let other = FileDescriptorProto { name: Some(asked.to_owned()), ..Default::default() };
                self.files.insert(asked.to_owned(), [bytes.as_slice(), &other.encode_to_vec()].concat());
            }
            is_first = false;
            let name = file.name().to_owned();
            self.files.entry(name.clone()).or_insert(bytes);
            let is_new = |import: &String| !self.files.contains_key(import) && !self.absent.contains(import);
            self.wanted.extend(file.dependency.iter().filter(|import| is_new(import)).cloned());
            self.wanted.remove(&name);
            if self.files.len() + self.wanted.len() > FILES_MAX || self.bytes > BYTES_MAX {
                return Err(ReflectionError::TooMuch);
            }
        }
        Ok(())
    }

    /// Types that a file without one of its imports names, and that no file defines.
    fn unknown_types(&self) -> BTreeSet<String> {
        if self.absent.is_empty() {
            return BTreeSet::new();
        }
        missing_types(self.files.values().map(Vec::as_slice), &self.absent)
    }
}

/// The questions to one service, one after the other.
struct Questions {
    channel: Channel,
    path: &'static str,
    stream: Option<Stream>,
    has_answered: bool,
}

impl Questions {
    fn new(channel: Channel, path: &'static str) -> Self {
        Self { channel, path, stream: None, has_answered: false }
    }

    /// Asks a question. A stream that a service ends with a failure is replaced for the next one.
    async fn ask(&mut self, question: MessageRequest) -> Result<MessageResponse, ReflectionError> {
        let answer = match self.stream.as_mut() {
            Some(stream) => stream.ask(question).await,
            None => match Stream::open(self.channel.clone(), self.path, question).await {
                Ok((stream, answer)) => {
                    self.stream = Some(stream);
                    Ok(answer)
                }
                Err(error) => Err(error),
            },
        };
        match answer {
            Ok(answer) => {
                self.has_answered = true;
                Ok(answer)
            }
            Err(error) if !self.has_answered => Err(error),
            Err(error) => self.again(&error).await,
        }
    }

    /// Whether a question has failed, or the service is gone: it is asked something that it has answered.
    async fn again(&mut self, error: &ReflectionError) -> Result<MessageResponse, ReflectionError> {
        self.stream = None;
        let list = MessageRequest::ListServices("*".to_owned());
        match Stream::open(self.channel.clone(), self.path, list).await {
            Ok((stream, _)) => {
                self.stream = Some(stream);
                Err(ReflectionError::Failed(error.to_string()))
            }
            Err(_) => Err(ReflectionError::Lost(error.to_string())),
        }
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
