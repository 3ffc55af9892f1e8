//! The query of a URL into the fields of a message.

use thiserror::Error;

use super::bind::{FieldPath, bind, bind_entry};
use super::plan::{MessageId, Schema};
use super::read::shortened;

/// How many parameters a query may have.
pub const PARAMETERS_MAX: usize = 1_000;

/// How to read a query.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryOptions {
    /// Passes over parameters that name no field.
    pub ignore_unknown_parameters: bool,
    /// Passes over parameters that name a field which the path or the body has.
    pub ignore_taken: bool,
    /// Takes `labels[key]=value` as an entry of a map.
    pub takes_entries: bool,
}

/// Why a query cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("query parameter `{parameter}`: {reason}")]
pub struct QueryError {
    /// The parameter's name, as far as an error repeats it.
    pub parameter: String,
    /// The fault of the parameter.
    pub reason: String,
}

/// A summary of the fields that a query has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// A member of a oneof is set, so the rest of the request needs a check for other members.
    pub has_oneof: bool,
}

/// Reads queries. It keeps the memory for parameters with escapes.
#[derive(Debug, Default)]
pub struct Query {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Query {
    /// Appends each parameter of `a=1&b.c=x%20y&tags=1&tags=2` to the message: several with the same name are a list,
    /// or the last one counts. `taken` are the fields that the path or the body has. After an error `out` is as it was.
    pub fn bind(
        &mut self,
        schema: &Schema,
        message: MessageId,
        query: &str,
        taken: &[FieldPath],
        options: QueryOptions,
        out: &mut Vec<u8>,
    ) -> Result<Bound, QueryError> {
        let mut all = Bound::default();
        let length = out.len();
        let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
        for (count, parameter) in parameters.enumerate() {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let bound = if count < PARAMETERS_MAX {
                self.bind_one(schema, message, (name, value), taken, options, out)
            } else {
                Err(format!("there are more than {PARAMETERS_MAX}"))
            };
            match bound {
                Ok(bound) => all.has_oneof |= bound.has_oneof,
                Err(reason) => {
                    out.truncate(length);
                    let name = decode(name, &mut self.name).unwrap_or(name);
                    return Err(QueryError { parameter: shortened(name).into_owned(), reason });
                }
            }
        }
        Ok(all)
    }

    fn bind_one(
        &mut self,
        schema: &Schema,
        message: MessageId,
        (name, value): (&str, &str),
        taken: &[FieldPath],
        options: QueryOptions,
        out: &mut Vec<u8>,
    ) -> Result<Bound, String> {
        let name = decode(name, &mut self.name)?;
        let entry = if options.takes_entries { entry(name) } else { None };
        let (name, key) = entry.map_or((name, None), |(name, key)| (name, Some(key)));
        let path = match FieldPath::resolve(schema, message, name) {
            Ok(path) => path,
            Err(_) if options.ignore_unknown_parameters => return Ok(Bound::default()),
            Err(reason) => return Err(reason),
        };
        if taken.iter().any(|taken| taken.contains(&path)) {
            if options.ignore_taken {
                return Ok(Bound::default());
            }
            return Err("the path or the body has this field".to_owned());
        }
        let value = decode(value, &mut self.value)?;
        match key {
            Some(key) => bind_entry(schema, &path, (key, value), out)?,
            None => bind(schema, &path, value, out)?,
        }
        Ok(Bound { has_oneof: path.is_of_oneof(schema) })
    }
}

/// `labels[key]` as the name of a map and a key of it.
fn entry(name: &str) -> Option<(&str, &str)> {
    name.strip_suffix(']')?.split_once('[')
}

/// The text with `+` and `%20` resolved, in `memory` if there are any. Unlike `form_urlencoded` it refuses an escape that is
/// none, and bytes that are not UTF-8.
fn decode<'t>(text: &'t str, memory: &'t mut Vec<u8>) -> Result<&'t str, String> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(text);
    }
    memory.clear();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        memory.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let value = digit().and_then(|high| Some(high << 4 | digit()?));
                let value = value.and_then(|value| u8::try_from(value).ok());
                value.ok_or("`%` without two hexadecimal digits")?
            }
            byte => byte,
        });
    }
    std::str::from_utf8(memory).map_err(|_| "not UTF-8".to_owned())
}
