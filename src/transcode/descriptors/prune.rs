//! A file without what names types that nobody has defined: the rest of it can be served.

use super::super::fields::{Field, Fields, put_bytes};
use super::file::full_name;

/// A pruned file, and a list of the parts that it lost.
#[derive(Debug, Default)]
pub(super) struct Pruned {
    pub(super) bytes: Vec<u8>,
    /// A message, a field that it lacks, and the type of that.
    pub(super) incomplete: Vec<(String, String, String)>,
    /// A method, and the type that it lacks.
    pub(super) methods: Vec<(String, String)>,
}

/// Leaves out each field, extension and method that names a type for which `is_known` is false.
pub(super) fn prune(file: &[u8], package: &str, is_known: &impl Fn(&str) -> bool) -> Pruned {
    let mut pruned = Pruned::default();
    let mut out = Vec::with_capacity(file.len());
    for field in Fields(file).flatten() {
        match (field.number, field.payload()) {
            (4, Some(message)) => {
                let message = pruned.message(message, package, is_known);
                put_bytes(4, &message, &mut out);
            }
            (6, Some(service)) => {
                let service = pruned.service(service, package, is_known);
                put_bytes(6, &service, &mut out);
            }
            (7, Some(extension)) if unknown(extension, &[2, 6], is_known).is_some() => {}
            _ => out.extend_from_slice(field.whole),
        }
    }
    pruned.bytes = out;
    pruned
}

/// The name that a descriptor has.
fn name(descriptor: &[u8]) -> &str {
    let mut fields = Fields(descriptor).flatten();
    fields.find(|field| field.number == 1).and_then(|field| field.text()).unwrap_or_default()
}

/// The type that is named by one of these fields and is not known.
fn unknown<'a>(descriptor: &'a [u8], fields: &[u32], is_known: &impl Fn(&str) -> bool) -> Option<&'a str> {
    let named = |field: Field<'a>| fields.contains(&field.number).then(|| field.text()).flatten();
    let mut names = Fields(descriptor).flatten().filter_map(named);
    names.find_map(|name| name.strip_prefix('.').filter(|name| !is_known(name)))
}

impl Pruned {
    fn message(&mut self, message: &[u8], scope: &str, is_known: &impl Fn(&str) -> bool) -> Vec<u8> {
        let scope = full_name(scope, name(message));
        let mut out = Vec::with_capacity(message.len());
        for field in Fields(message).flatten() {
            match (field.number, field.payload()) {
                (2, Some(inner)) => match unknown(inner, &[6], is_known) {
                    Some(kind) => {
                        self.incomplete.push((scope.clone(), name(inner).to_owned(), kind.to_owned()));
                    }
                    None => out.extend_from_slice(field.whole),
                },
                (3, Some(nested)) => {
                    let nested = self.message(nested, &scope, is_known);
                    put_bytes(3, &nested, &mut out);
                }
                (6, Some(extension)) if unknown(extension, &[2, 6], is_known).is_some() => {}
                _ => out.extend_from_slice(field.whole),
            }
        }
        out
    }

    fn service(&mut self, service: &[u8], scope: &str, is_known: &impl Fn(&str) -> bool) -> Vec<u8> {
        let scope = full_name(scope, name(service));
        let mut out = Vec::with_capacity(service.len());
        for field in Fields(service).flatten() {
            match field.payload() {
                Some(method) if field.number == 2 => match unknown(method, &[2, 3], is_known) {
                    Some(kind) => self.methods.push((full_name(&scope, name(method)), kind.to_owned())),
                    None => out.extend_from_slice(field.whole),
                },
                _ => out.extend_from_slice(field.whole),
            }
        }
        out
    }
}
