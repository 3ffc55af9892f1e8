//! Checks the fields that a rule names against the messages.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use super::annotation::HttpRule;
use super::bind::FieldPath;
use super::plan::Schema;
use super::problem::Problem;
use super::rule::{Body, BoundField, Rule, is_one};
use super::template::Template;
use crate::config::nearest;

/// A rule that stands in this file, for people.
pub(super) fn place(file: &str, method: &MethodDescriptor, rule: &HttpRule) -> String {
    let name = method.full_name();
    match &rule.pattern {
        Some((http_method, path)) => format!("{file}: {name}: {http_method} {path}"),
        None => format!("{file}: {name}"),
    }
}

/// The checked rule, without its method's position; `None` adds the problem to `wrong`.
pub(super) fn check(
    schema: &Schema,
    method: &MethodDescriptor,
    written: &HttpRule,
    wrong: &mut Vec<Problem>,
) -> Option<Rule> {
    let Some((http_method, path)) = &written.pattern else {
        let problem = Problem::new("", "google.api.http says neither method nor path");
        wrong.push(problem.hint("write get: \"/path\", put, post, delete, patch or custom"));
        return None;
    };
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if http_method.is_empty() || !http_method.bytes().all(is_token) {
        wrong.push(Problem::new("", format!("{http_method:?} is not the name of an HTTP method")));
    }
    let template = match Template::parse(path) {
        Ok(template) => template,
        Err(error) => {
            wrong.push(Problem::new("", error.to_string()));
            return None;
        }
    };
    let (input, output) = (method.input(), method.output());
    let mut keep = |result: Result<BoundField, Problem>| result.map_err(|problem| wrong.push(problem)).ok();
    let captures: Vec<BoundField> = template
        .variables
        .iter()
        .filter_map(|variable| keep(capture(schema, &input, &variable.field)))
        .collect();
    let body = match written.body.as_str() {
        "" => Some(Body::None),
        "*" => Some(Body::Whole),
        name => keep(top(schema, &input, "body", name)).map(|field| Body::Field(Box::new(field))),
    };
    let response_body = match written.response_body.as_str() {
        "" => None,
        name => keep(top(schema, &output, "response_body", name)),
    };
    if let Some(Body::Field(field)) = &body
        && captures.contains(&**field)
    {
        let name = field.descriptor().name();
        wrong.push(Problem::new("", format!("field {name:?} is bound by the path and by the body")));
    }
    let body = body?;
    let update_mask = if http_method == "PATCH" { update_mask(schema, &input, &body) } else { None };
    let rule = Rule::new(method, (http_method.clone(), template), captures, body, response_body);
    Some(Rule { update_mask, ..rule })
}

/// The field that says what a change changes: the only `FieldMask` beside the message that is the body.
fn update_mask(schema: &Schema, input: &MessageDescriptor, body: &Body) -> Option<BoundField> {
    let Body::Field(body) = body else { return None };
    let body = body.descriptor();
    let mut masks = input.fields().filter(|field| is_one(field, "google.protobuf.FieldMask"));
    let mask = masks.next().filter(|_| masks.next().is_none())?;
    let is_message = !body.is_list() && !body.is_map() && body.kind().as_message().is_some();
    if is_message && mask != *body { bound(schema, input, vec![mask]).ok() } else { None }
}

/// A field of the message itself.
fn top(schema: &Schema, message: &MessageDescriptor, what: &str, name: &str) -> Result<BoundField, Problem> {
    let field = message.get_field_by_name(name).ok_or_else(|| unknown(what, name, message))?;
    bound(schema, message, vec![field])
}

/// Fields that follow each other from a message inwards.
fn bound(
    schema: &Schema,
    message: &MessageDescriptor,
    descriptors: Vec<FieldDescriptor>,
) -> Result<BoundField, Problem> {
    let names: Vec<&str> = descriptors.iter().map(FieldDescriptor::name).collect();
    let id = schema.message_id(message.full_name()).expect("a schema has all messages of its pool");
    match FieldPath::resolve(schema, id, &names.join(".")) {
        Ok(path) => Ok(BoundField { path, descriptors }),
        Err(reason) => Err(Problem::new("", format!("{:?}: {reason}", names.join(".")))),
    }
}

/// The field that a path binds.
fn capture(schema: &Schema, input: &MessageDescriptor, names: &[String]) -> Result<BoundField, Problem> {
    let whole = names.join(".");
    let mut message = Some(input.clone());
    let mut path: Vec<FieldDescriptor> = Vec::new();
    for name in names {
        let Some(inside) = message else {
            let before = path.last().expect("a request is a message, so a field came before");
            return Err(Problem::new("", format!("{whole:?}: {:?} is not a message", before.name())));
        };
        let field = inside.get_field_by_name(name).ok_or_else(|| unknown("path", &whole, &inside))?;
        if field.is_list() || field.is_map() {
            let wrong = format!("{whole:?}: {name:?} is repeated, so a path cannot bind it");
            return Err(Problem::new("", wrong).hint("take it from the query or the body"));
        }
        message = field.kind().as_message().cloned();
        path.push(field);
    }
    match message {
        Some(message) if !is_one_value(&message) => {
            let wrong = format!("{whole:?} is a message, {}, so a path cannot bind it", message.full_name());
            Err(Problem::new("", wrong).hint("bind one of its fields"))
        }
        _ => bound(schema, input, path),
    }
}

/// Whether a message is a single string, number or the like in JSON.
fn is_one_value(message: &MessageDescriptor) -> bool {
    let name = message.full_name().strip_prefix("google.protobuf.");
    let is_wrapper = |name: &str| {
        message.fields().len() == 1
            && name.ends_with("Value")
            && message
                .get_field(1)
                .is_some_and(|field| field.name() == "value" && !matches!(field.kind(), Kind::Message(_)))
    };
    name.is_some_and(|name| matches!(name, "Timestamp" | "Duration" | "FieldMask") || is_wrapper(name))
}

fn unknown(what: &str, name: &str, message: &MessageDescriptor) -> Problem {
    let problem = Problem::new("", format!("{what} {name:?}: {} has no such field", message.full_name()));
    let known: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
    let last = name.rsplit('.').next().unwrap_or(name);
    match nearest(last, known.iter().map(String::as_str)) {
        Some(near) => problem.hint(format!("did you mean {near:?}?")),
        None if name.contains('.') && what != "path" => problem.hint("only fields of the message itself"),
        None => problem,
    }
}
