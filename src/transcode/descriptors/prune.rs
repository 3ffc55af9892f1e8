//! A file without what names types that nobody has defined: the rest of it can be served.

use super::super::fields::{Field, Fields};
use super::super::wire::put_bytes;
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

/// Entries of a message's maps whose values are of unknown types. The map goes with its entry, which needs a value.
struct Entries<'a> {
    scope: &'a str,
    /// The name of each, and the type.
    unknown: Vec<(&'a str, &'a str)>,
}

fn entries_of_unknown<'a>(
    message: &'a [u8],
    scope: &'a str,
    is_known: &impl Fn(&str) -> bool,
) -> Entries<'a> {
    let nested = Fields(message).flatten().filter(|field| field.number == 3);
    let nested = nested.filter_map(|field| field.payload()).filter(|nested| is_map_entry(nested));
    let unknown = nested.filter_map(|entry| {
        let fields = Fields(entry).flatten().filter(|field| field.number == 2);
        let kind = fields.filter_map(|field| unknown(field.payload()?, &[6], is_known)).next()?;
        Some((name(entry), kind))
    });
    Entries { scope, unknown: unknown.collect() }
}

impl<'a> Entries<'a> {
    fn has(&self, entry: &str) -> bool {
        self.unknown.iter().any(|(name, _)| *name == entry)
    }

    /// The unknown type of the values of the map that this field is.
    fn unknown(&self, field: &[u8]) -> Option<&'a str> {
        let mut names = Fields(field).flatten().filter(|field| field.number == 6);
        let entry = names.find_map(|field| field.text())?.strip_prefix('.')?;
        let entry = entry.strip_prefix(self.scope)?.strip_prefix('.')?;
        self.unknown.iter().find(|(name, _)| *name == entry).map(|(_, kind)| *kind)
    }
}

/// Whether the options of a message say so.
fn is_map_entry(message: &[u8]) -> bool {
    let mut options = Fields(message).flatten().filter(|field| field.number == 7);
    options.any(|options| {
        let options = options.payload().unwrap_or_default();
        Fields(options).flatten().any(|option| option.number == 7 && option.int().is_some_and(|it| it != 0))
    })
}

impl Pruned {
    fn message(&mut self, message: &[u8], scope: &str, is_known: &impl Fn(&str) -> bool) -> Vec<u8> {
        let scope = full_name(scope, name(message));
        let mut out = Vec::with_capacity(message.len());
        let entries = entries_of_unknown(message, &scope, is_known);
        for field in Fields(message).flatten() {
            match (field.number, field.payload()) {
                (2, Some(inner)) => match unknown(inner, &[6], is_known).or(entries.unknown(inner)) {
                    Some(kind) => {
                        self.incomplete.push((scope.clone(), name(inner).to_owned(), kind.to_owned()));
                    }
                    None => out.extend_from_slice(field.whole),
                },
                (3, Some(nested)) if entries.has(name(nested)) => {}
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
