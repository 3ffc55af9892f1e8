//! `google.api.http` as the descriptors carry it.

use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, Kind, MethodDescriptor, Value};

/// A rule as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HttpRule {
    /// Method and template; `None` where neither is given.
    pub(super) pattern: Option<(String, String)>,
    pub(super) body: String,
    pub(super) response_body: String,
    pub(super) additional: Vec<HttpRule>,
}

/// The option's number in `google.protobuf.MethodOptions`.
const NUMBER: u32 = 72_295_728;

/// The option, if some file defines it.
pub(super) fn option(pool: &DescriptorPool) -> Option<ExtensionDescriptor> {
    let option = pool.get_extension_by_name("google.api.http")?;
    let is_of_methods = option.containing_message().full_name() == "google.protobuf.MethodOptions";
    let is_it = is_of_methods && option.number() == NUMBER && !option.is_list();
    (is_it && matches!(option.kind(), Kind::Message(_))).then_some(option)
}

/// The HTTP rule in a method's options, if there is one.
pub(super) fn of(method: &MethodDescriptor, option: &ExtensionDescriptor) -> Option<HttpRule> {
    let options = method.options();
    if !options.has_extension(option) {
        return None;
    }
    match options.get_extension(option).as_ref() {
        Value::Message(rule) => Some(read(rule)),
        _ => None,
    }
}

fn read(rule: &DynamicMessage) -> HttpRule {
    let of_field = |(field, method): (&str, &str)| {
        rule.has_field_by_name(field).then(|| (method.to_owned(), text(rule, field)))
    };
    let verbs = [("get", "GET"), ("put", "PUT"), ("post", "POST"), ("delete", "DELETE"), ("patch", "PATCH")];
    let custom =
        || match rule.has_field_by_name("custom").then(|| rule.get_field_by_name("custom"))??.as_ref() {
            Value::Message(custom) => Some((text(custom, "kind"), text(custom, "path"))),
            _ => None,
        };
    let additional = match rule.get_field_by_name("additional_bindings").as_deref() {
        Some(Value::List(items)) => items.iter().filter_map(Value::as_message).map(read).collect(),
        _ => Vec::new(),
    };
    HttpRule {
        pattern: verbs.into_iter().find_map(of_field).or_else(custom),
        body: text(rule, "body"),
        response_body: text(rule, "response_body"),
        additional,
    }
}

/// A field that an old version of the message may not have.
fn text(message: &DynamicMessage, field: &str) -> String {
    match message.get_field_by_name(field).as_deref() {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    }
}
