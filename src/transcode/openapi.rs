//! The API for people and their tools: OpenAPI 3.1, from the same rules that calls go by.
//!
//! Three things have no form in OpenAPI. `**` becomes a parameter whose description allows slashes. A method without a
//! key of its own stands under `x-`. Of two templates that look alike there, the first one's description names the
//! second.

mod comments;
mod path;
mod schema;

use std::collections::{HashMap, HashSet};

use prost_reflect::{FieldDescriptor, MessageDescriptor};
use serde_json::{Map, Value, json};

use self::comments::{AllComments, described};
use self::path::{Parameter, Path};
use self::schema::Schemas;
use super::api::{Api, Body, Method, Rule};
use crate::config::PrintOptions;

/// The document's statements about itself.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// Its title.
    pub title: &'a str,
    /// The version of the API, in whatever form.
    pub version: &'a str,
    /// How the responses are written.
    pub print_options: PrintOptions,
    /// Whether each message of a stream is `{"result": ...}`.
    pub wraps_stream_messages: bool,
}

/// Messages inside messages that query parameters reach into.
const QUERY_DEPTH_MAX: usize = 5;
/// Query parameters of one operation that are listed.
const QUERY_PARAMETERS_MAX: usize = 200;
/// Methods that OpenAPI has a key for.
const KEYS: &[&str] = &["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];
const ERROR: &str = "google.rpc.Status";

/// The document.
pub fn document(api: &Api, about: &About<'_>) -> Value {
    let mut writer = Writer {
        api,
        wraps_stream_messages: about.wraps_stream_messages,
        comments: AllComments::new(api),
        schemas: Schemas::new(about.print_options),
        ids: HashSet::new(),
        paths: Map::new(),
        by_shape: HashMap::new(),
    };
    // Rules that the API's owner has written go first, and have the plain names.
    let (auto, own): (Vec<&Rule>, Vec<&Rule>) = api.rules().iter().partition(|rule| rule.is_auto);
    for rule in own.into_iter().chain(auto) {
        writer.rule(rule);
    }
    let tags: Vec<Value> = api
        .services()
        .iter()
        .map(|service| {
            let comment = writer.comments.of(&service.parent_file(), service.path());
            described(json!({ "name": service.full_name() }), comment)
        })
        .collect();
    let Writer { mut comments, schemas, paths, .. } = writer;
    let mut schemas = schemas.finish(&mut comments);
    schemas.entry(ERROR).or_insert_with(error);
    let mut info = json!({ "title": about.title, "version": about.version });
    if api.rules().iter().any(|rule| rule.is_auto) {
        info["description"] =
            "Every method takes `POST /{service}/{method}` with its whole request as JSON.".into();
    }
    let failed = json!({
        "description": "The call failed.",
        "content": { "application/json": { "schema": { "$ref": format!("#/components/schemas/{ERROR}") } } },
    });
    json!({
        "openapi": "3.1.0",
        "info": info,
        "tags": tags,
        "paths": paths,
        "components": { "schemas": schemas, "responses": { "Error": failed } },
    })
}

/// `google.rpc.Status`, which is the body of every error.
fn error() -> Value {
    let any = json!({
        "type": "object",
        "properties": { "@type": { "type": "string" } },
        "additionalProperties": true,
    });
    json!({
        "type": "object",
        "description": "An error.",
        "properties": {
            "code": { "type": "integer", "format": "int32", "description": "The gRPC status." },
            "message": { "type": "string" },
            "details": { "type": "array", "items": any },
        },
    })
}

struct Writer<'a> {
    api: &'a Api,
    wraps_stream_messages: bool,
    comments: AllComments<'a>,
    schemas: Schemas,
    /// Of operations.
    ids: HashSet<String>,
    paths: Map<String, Value>,
    /// The path that stands for all that look like it but for the names of parameters.
    by_shape: HashMap<String, Path>,
}

impl Writer<'_> {
    fn rule(&mut self, rule: &Rule) {
        let method = &self.api.methods()[rule.method];
        let mut path = Path::new(&rule.template);
        match self.by_shape.get(&path.shape) {
            Some(first) => path.rename(first),
            None => drop(self.by_shape.insert(path.shape.clone(), path.clone())),
        }
        let key = match KEYS.contains(&rule.http_method.as_str()) {
            true => rule.http_method.to_ascii_lowercase(),
            false if rule.http_method == "*" => "x-any".to_owned(),
            false => format!("x-{}", rule.http_method.to_ascii_lowercase()),
        };
        if let Some(taken) = self.paths.get_mut(&path.text).and_then(|item| item.get_mut(&key)) {
            let before = taken["description"].as_str().map_or(String::new(), |text| format!("{text}\n\n"));
            let more = format!("{} {} looks the same here.", rule.http_method, rule.template);
            taken["description"] = format!("{before}{more}").into();
            return;
        }
        let operation = self.operation(rule, method, &path);
        let item = self.paths.entry(path.text).or_insert_with(|| Value::Object(Map::new()));
        item[key] = operation;
    }

    fn operation(&mut self, rule: &Rule, method: &Method, path: &Path) -> Value {
        let descriptor = &method.descriptor;
        let mut operation = json!({
            "operationId": self.id(method),
            "tags": [descriptor.parent_service().full_name()],
            "responses": { "200": self.answer(rule, method), "default": { "$ref": "#/components/responses/Error" } },
        });
        if let Some(comment) = self.comments.of(&descriptor.parent_file(), descriptor.path()) {
            let first = comment.lines().next().unwrap_or_default();
            operation["summary"] = first.trim_end_matches('.').into();
            operation["description"] = comment.into();
        }
        let options = descriptor.method_descriptor_proto().options.as_ref();
        if options.is_some_and(|options| options.deprecated()) {
            operation["deprecated"] = true.into();
        }
        let mut parameters: Vec<Value> =
            path.parameters.iter().map(|parameter| self.path_parameter(rule, parameter)).collect();
        if rule.body != Body::Whole {
            let input = descriptor.input();
            let mut query = Query { writer: self, rule, found: Vec::new(), around: Vec::new() };
            query.fields(&input, "", "");
            parameters.append(&mut query.found);
        }
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = self.body(rule, method) {
            operation["requestBody"] = body;
        }
        operation
    }

    /// A name that no operation has yet.
    fn id(&mut self, method: &Method) -> String {
        let (service, name) = (method.descriptor.parent_service(), method.descriptor.name());
        let same = |other: &&prost_reflect::ServiceDescriptor| other.name() == service.name();
        let service = match self.api.services().iter().filter(same).count() {
            1 => service.name().to_owned(),
            _ => service.full_name().replace('.', "_"),
        };
        let first = format!("{service}_{name}");
        let ids = std::iter::once(first.clone()).chain((2..).map(|count| format!("{first}_{count}")));
        let id = ids.into_iter().find(|id| !self.ids.contains(id)).unwrap_or(first);
        self.ids.insert(id.clone());
        id
    }

    fn path_parameter(&mut self, rule: &Rule, parameter: &Parameter) -> Value {
        let bound = parameter.variable.map(|variable| rule.captures[variable].descriptor());
        let mut value = json!({ "name": parameter.name, "in": "path", "required": true });
        let comment = bound.and_then(|field| {
            self.comments.of(&field.parent_message().parent_file(), field.path()).map(str::to_owned)
        });
        value["schema"] = match bound {
            Some(field) if parameter.is_whole && !parameter.is_rest => self.schemas.of_value(field),
            _ => json!({ "type": "string" }),
        };
        let mut words: Vec<String> = comment.into_iter().collect();
        if let (Some(field), false) = (bound, parameter.is_whole) {
            words.push(format!("A part of `{}`.", field.name()));
        }
        if parameter.is_rest {
            words.push("Any number of segments; slashes between them are sent as they are.".to_owned());
        }
        described(value, (!words.is_empty()).then(|| words.join("\n\n")).as_deref())
    }

    fn body(&mut self, rule: &Rule, method: &Method) -> Option<Value> {
        let schema = match &rule.body {
            Body::None => return None,
            _ if rule.takes_http_body => {
                return Some(json!({ "required": true, "content": { "*/*": {} } }));
            }
            Body::Whole => self.schemas.of_message(&method.descriptor.input()),
            Body::Field(field) => self.schemas.of_field(field.descriptor()),
        };
        let content = match method.client_streaming {
            true => json!({ "application/x-ndjson": { "schema": schema } }),
            false => json!({ "application/json": { "schema": schema } }),
        };
        let body = json!({ "required": true, "content": content });
        Some(described(body, method.client_streaming.then_some("One message a line.")))
    }

    fn answer(&mut self, rule: &Rule, method: &Method) -> Value {
        let schema = match &rule.response_body {
            _ if rule.gives_http_body => {
                return json!({ "description": "The body that the service sends.", "content": { "*/*": {} } });
            }
            None => self.schemas.of_message(&method.descriptor.output()),
            Some(field) => self.schemas.of_field(field.descriptor()),
        };
        match method.server_streaming {
            false => {
                json!({ "description": "The answer.", "content": { "application/json": { "schema": schema } } })
            }
            true if self.wraps_stream_messages => {
                let failed = json!({ "$ref": format!("#/components/schemas/{ERROR}") });
                let line = json!({ "type": "object", "properties": { "result": schema, "error": failed } });
                json!({
                    "description": "A stream: one line for each message, or one event with its data.",
                    "content": {
                        "application/json": { "schema": line },
                        "text/event-stream": { "schema": schema },
                    },
                })
            }
            true => json!({
                "description": "A stream: one message a line, or one in each event's data.",
                "content": {
                    "application/x-ndjson": { "schema": schema },
                    "text/event-stream": { "schema": schema },
                },
            }),
        }
    }
}

/// The query parameters of a rule, while they are gathered.
struct Query<'a, 'w> {
    writer: &'a mut Writer<'w>,
    rule: &'a Rule,
    found: Vec<Value>,
    /// Messages that the current one stands in: none may stand in itself.
    around: Vec<String>,
}

impl Query<'_, '_> {
    /// Adds the fields of a message that nothing else binds. `prefix` is as in JSON, `path` as in the .proto file.
    fn fields(&mut self, message: &MessageDescriptor, prefix: &str, path: &str) {
        if self.around.len() == QUERY_DEPTH_MAX || self.around.iter().any(|name| name == message.full_name())
        {
            return;
        }
        self.around.push(message.full_name().to_owned());
        for field in message.fields() {
            let path = format!("{path}{}", field.name());
            let name = format!("{prefix}{}", self.writer.schemas.name(&field));
            if !self.is_taken(&path) {
                self.field(&field, &name, &path);
            }
        }
        self.around.pop();
    }

    fn field(&mut self, field: &FieldDescriptor, name: &str, path: &str) {
        if field.is_map() || self.found.len() == QUERY_PARAMETERS_MAX {
            return;
        }
        let message = field.kind().as_message().filter(|message| !schema::is_text(message)).cloned();
        match message {
            Some(_) if field.is_list() => {}
            Some(message) if schema::is_plain(&message) => {
                self.fields(&message, &format!("{name}."), &format!("{path}."));
            }
            Some(_) => {}
            None => {
                let file = field.parent_message().parent_file();
                let comment = self.writer.comments.of(&file, field.path());
                let value =
                    json!({ "name": name, "in": "query", "schema": self.writer.schemas.of_field(field) });
                self.found.push(described(value, comment));
            }
        }
    }

    fn is_taken(&self, path: &str) -> bool {
        let names = |bound: &super::api::BoundField| {
            let names: Vec<&str> = bound.descriptors.iter().map(FieldDescriptor::name).collect();
            names.join(".")
        };
        let body = match &self.rule.body {
            Body::Field(field) => Some(&**field),
            Body::None | Body::Whole => None,
        };
        self.rule.captures.iter().chain(body).any(|bound| names(bound) == path)
    }
}
