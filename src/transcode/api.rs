//! All that is served as JSON: methods, rules and messages, compiled and checked. Made by one thread, read by all.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use http::uri::PathAndQuery;
use prost_reflect::{
    DescriptorPool, FieldDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};

use super::annotation::{self, HttpRule};
use super::bind::FieldPath;
use super::binding::{check, place};
use super::descriptors::Descriptors;
use super::plan::{MessageId, Schema};
use super::problem::Problem;
use super::rules::{Captures, Found, Pattern, Rules};
use super::template::Template;
use crate::config::{Transcoding, nearest};

/// What is served as JSON.
#[derive(Debug)]
pub struct Api {
    schema: Schema,
    services: Vec<ServiceDescriptor>,
    methods: Vec<Method>,
    rules: Vec<Rule>,
    table: Rules,
    by_path: HashMap<Box<str>, usize>,
    missing: Vec<Problem>,
    is_whole: bool,
}

/// A method of a service.
#[derive(Clone, Debug)]
pub struct Method {
    /// `/{service}/{method}`, ready to be sent.
    pub path: PathAndQuery,
    /// The request's message.
    pub input: MessageId,
    /// The answer's message.
    pub output: MessageId,
    /// Whether it takes a stream of requests.
    pub client_streaming: bool,
    /// Whether it answers with a stream.
    pub server_streaming: bool,
    /// What calling it twice does.
    pub idempotency: Idempotency,
    /// Where it is defined.
    pub descriptor: MethodDescriptor,
}

/// What calling a method twice does: its option `idempotency_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing is said.
    Unknown,
    /// It changes nothing.
    NoSideEffects,
    /// No more than calling it once.
    Idempotent,
}

/// An HTTP request that means a method.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Position in [`Api::methods`].
    pub method: usize,
    /// The HTTP method, or `*`.
    pub http_method: String,
    /// The path.
    pub template: Template,
    /// The field that each of the template's variables is.
    pub captures: Vec<BoundField>,
    /// What the HTTP body is.
    pub body: Body,
    /// Fields of the request that the path or the body has; the query may not bind them.
    pub taken: Vec<FieldPath>,
    /// The field that becomes the answer's body; `None` for the whole message.
    pub response_body: Option<BoundField>,
    /// Whether the HTTP body is not JSON but what a `google.api.HttpBody` holds.
    pub takes_http_body: bool,
    /// The same of the answer.
    pub gives_http_body: bool,
    /// Made by `auto_mapping`.
    pub is_auto: bool,
}

/// A field that a rule names.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundField {
    /// For calls.
    pub path: FieldPath,
    /// For people: from the message inwards, never empty.
    pub descriptors: Vec<FieldDescriptor>,
}

/// What the HTTP body of a request is.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// There is none; fields that the path does not bind come from the query.
    None,
    /// The whole message; nothing comes from the query.
    Whole,
    /// One field; others come from the query.
    Field(Box<BoundField>),
}

impl BoundField {
    /// The field itself.
    pub fn descriptor(&self) -> &FieldDescriptor {
        self.descriptors.last().expect("a rule names at least one field")
    }

    /// Whether it is one `google.api.HttpBody`.
    fn is_http_body(&self) -> bool {
        let field = self.descriptor();
        !field.is_list() && field.kind().as_message().is_some_and(|message| message.full_name() == HTTP_BODY)
    }
}

/// The message that stands for a body of any type.
pub const HTTP_BODY: &str = "google.api.HttpBody";

impl Rule {
    /// A rule that is whole once its method is known.
    pub(super) fn new(
        method: &MethodDescriptor,
        (http_method, template): (String, Template),
        captures: Vec<BoundField>,
        body: Body,
        response_body: Option<BoundField>,
    ) -> Self {
        let takes_http_body = match &body {
            Body::None => false,
            Body::Whole => method.input().full_name() == HTTP_BODY,
            Body::Field(field) => field.is_http_body(),
        };
        let gives_http_body = match &response_body {
            None => method.output().full_name() == HTTP_BODY,
            Some(field) => field.is_http_body(),
        };
        let in_body = match &body {
            Body::Field(field) => Some(field.path),
            Body::None | Body::Whole => None,
        };
        let taken = captures.iter().map(|field| field.path).chain(in_body).collect();
        let (method, is_auto) = (0, false);
        Self {
            method,
            http_method,
            template,
            captures,
            body,
            taken,
            response_body,
            takes_http_body,
            gives_http_body,
            is_auto,
        }
    }
}

impl Api {
    /// Reads all descriptors that the configuration names and compiles them, with what `reflected` has found. Relative
    /// paths begin at `directory`.
    ///
    /// # Errors
    /// Everything that is wrong with files and rules.
    pub fn load(
        settings: &Transcoding,
        directory: &Path,
        reflected: &[Reflected],
    ) -> Result<Self, Vec<Problem>> {
        let mut descriptors = Descriptors::read(settings, directory);
        for Reflected { origin, files } in reflected {
            for file in files {
                descriptors.add_file(origin, file);
            }
        }
        let api = Self::build(&descriptors.into_pool()?, settings)?;
        Ok(Self { is_whole: settings.reflection.len() <= reflected.len(), ..api })
    }

    /// Whether every cluster that is asked for descriptors has answered. What is not known otherwise may still come.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Compiles the services of a pool.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn build(pool: &DescriptorPool, settings: &Transcoding) -> Result<Self, Vec<Problem>> {
        let (services, missing) = select(pool, &settings.services);
        let mut builder = Builder::new(pool);
        // Reflection may still bring what is not there.
        if settings.reflection.is_empty() {
            builder.problems.clone_from(&missing);
        }
        for method in services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            builder.method(&method);
        }
        if settings.auto_mapping {
            builder.auto_mapping();
        }
        builder.finish(services, missing)
    }

    /// All methods that are served.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// All rules, those that `auto_mapping` made at the end.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// All services that are served.
    pub fn services(&self) -> &[ServiceDescriptor] {
        &self.services
    }

    /// The messages of all methods.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Services that are configured and not there; empty unless reflection may still bring them.
    pub fn missing_services(&self) -> &[Problem] {
        &self.missing
    }

    /// The method of a gRPC path, `/{service}/{method}`.
    pub fn method(&self, path: &str) -> Option<&Method> {
        self.by_path.get(path).map(|number| &self.methods[*number])
    }

    /// The rule for a request, by its position in [`Api::rules`]. `path` is without query.
    pub fn find<'c>(&self, http_method: &str, path: &str, captures: &'c mut Captures) -> Found<'c> {
        self.table.find(http_method, path, captures)
    }
}

/// Files that server reflection has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reflected {
    /// Who, for people: `reflection of cluster "echo"`.
    pub origin: String,
    /// Each a `google.protobuf.FileDescriptorProto`.
    pub files: Vec<Vec<u8>>,
}

/// The services of these names, or all; and what is wrong with the names.
fn select(pool: &DescriptorPool, names: &[String]) -> (Vec<ServiceDescriptor>, Vec<Problem>) {
    if names.is_empty() {
        // Nobody means these by "all".
        let is_served = |service: &ServiceDescriptor| !service.full_name().starts_with("grpc.reflection.");
        return (pool.services().filter(is_served).collect(), Vec::new());
    }
    let mut missing = Vec::new();
    let mut services = Vec::new();
    for name in names {
        match pool.get_service_by_name(name) {
            Some(service) => services.push(service),
            None => {
                let known: Vec<String> =
                    pool.services().map(|service| service.full_name().to_owned()).collect();
                let problem =
                    Problem::new("transcoding.services", format!("no service {name:?} in the descriptors"));
                missing.push(match nearest(name, known.iter().map(String::as_str)) {
                    Some(near) => problem.hint(format!("did you mean {near:?}?")),
                    None if known.is_empty() => problem,
                    None => problem.hint(format!("known are {}", known[..known.len().min(10)].join(", "))),
                });
            }
        }
    }
    (services, missing)
}

/// An API while it is made.
struct Builder {
    schema: Schema,
    option: Option<prost_reflect::ExtensionDescriptor>,
    methods: Vec<Method>,
    rules: Vec<Rule>,
    /// For each rule, who it is: file, method, HTTP method and path.
    places: Vec<String>,
    problems: Vec<Problem>,
}

impl Builder {
    fn new(pool: &DescriptorPool) -> Self {
        Self {
            schema: Schema::new(pool),
            option: annotation::option(pool),
            methods: Vec::new(),
            rules: Vec::new(),
            places: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Adds a method and the rules it carries.
    fn method(&mut self, descriptor: &MethodDescriptor) {
        use prost_reflect::prost_types::method_options::IdempotencyLevel;
        let path = format!("/{}/{}", descriptor.parent_service().full_name(), descriptor.name());
        // Reflection may answer what no compiler would let pass.
        if !is_name(descriptor.parent_service().full_name()) || !is_name(descriptor.name()) {
            let file = descriptor.parent_file();
            self.problems.push(Problem::new(file.name(), format!("{path:?} is not the path of a method")));
            return;
        }
        let id = |message: MessageDescriptor| {
            self.schema.message_id(message.full_name()).expect("a schema has all messages of its pool")
        };
        let level = descriptor.method_descriptor_proto().options.as_ref().map(|it| it.idempotency_level());
        self.methods.push(Method {
            path: path.parse().expect("names were checked: letters, digits, `_` and dots"),
            input: id(descriptor.input()),
            output: id(descriptor.output()),
            client_streaming: descriptor.is_client_streaming(),
            server_streaming: descriptor.is_server_streaming(),
            idempotency: match level {
                Some(IdempotencyLevel::NoSideEffects) => Idempotency::NoSideEffects,
                Some(IdempotencyLevel::Idempotent) => Idempotency::Idempotent,
                Some(IdempotencyLevel::IdempotencyUnknown) | None => Idempotency::Unknown,
            },
            descriptor: descriptor.clone(),
        });
        let Some(written) = self.option.as_ref().and_then(|option| annotation::of(descriptor, option)) else {
            return;
        };
        self.written(descriptor, &written);
        for additional in &written.additional {
            if !additional.additional.is_empty() {
                let wrong = "an additional binding may have no additional bindings";
                self.problems.push(Problem::new(place(descriptor, additional), wrong));
            }
            self.written(descriptor, additional);
        }
    }

    /// Adds a rule of the method that was added last, or says what is wrong with it.
    fn written(&mut self, method: &MethodDescriptor, written: &HttpRule) {
        let place = place(method, written);
        let mut wrong = Vec::new();
        match check(&self.schema, method, written, &mut wrong) {
            Some(rule) if wrong.is_empty() => {
                self.rules.push(Rule { method: self.methods.len() - 1, ..rule });
                self.places.push(place);
            }
            _ => self
                .problems
                .extend(wrong.into_iter().map(|problem| Problem { place: place.clone(), ..problem })),
        }
    }

    /// Adds `POST /{service}/{method}` for every method, where no rule has that for its own.
    fn auto_mapping(&mut self) {
        let is_post = |rule: &&Rule| matches!(rule.http_method.as_str(), "POST" | "*");
        let taken: HashSet<String> =
            self.rules.iter().filter(is_post).map(|rule| rule.template.to_string()).collect();
        for (number, method) in self.methods.iter().enumerate() {
            let path = method.path.as_str();
            if taken.contains(path) {
                continue;
            }
            let template = Template::parse(path).expect("names were checked: the path is two literals");
            let pattern = ("POST".to_owned(), template);
            let rule = Rule::new(&method.descriptor, pattern, Vec::new(), Body::Whole, None);
            self.rules.push(Rule { method: number, is_auto: true, ..rule });
            self.places.push(format!("auto_mapping of POST {path}"));
        }
    }

    fn finish(
        mut self,
        services: Vec<ServiceDescriptor>,
        missing: Vec<Problem>,
    ) -> Result<Api, Vec<Problem>> {
        let patterns: Vec<Pattern<'_>> = self
            .rules
            .iter()
            .map(|rule| Pattern { method: &rule.http_method, template: &rule.template })
            .collect();
        let table = Rules::new(&patterns).unwrap_or_else(|conflicts| {
            for conflict in conflicts {
                let wrong = format!("means the same requests as {}", self.places[conflict.first]);
                let problem = Problem::new(&self.places[conflict.second], wrong);
                self.problems.push(problem.hint("take one of them out, or change its path"));
            }
            Rules::default()
        });
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let by_path = |(number, method): (usize, &Method)| (method.path.as_str().into(), number);
        Ok(Api {
            by_path: self.methods.iter().enumerate().map(by_path).collect(),
            schema: self.schema,
            services,
            methods: self.methods,
            rules: self.rules,
            table,
            missing,
            is_whole: true,
        })
    }
}

/// Whether a name is one that protobuf has.
fn is_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.split('.').all(|part| !part.is_empty() && part.bytes().all(is_allowed))
}
