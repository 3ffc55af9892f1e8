//! The API as one worker has it, and memory that JSON requests use one after the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::buffer::Blocks;
use crate::config::Transcoding;
use crate::transcode::api::{Api, Method, Rule};
use crate::transcode::query::{Query, QueryOptions};
use crate::transcode::rule::Idempotency;
use crate::transcode::rules::{Captures, Found};

/// The API as one worker has it.
pub(in crate::worker) struct Transcoder {
    pub(in crate::worker) api: Arc<Api>,
    pub(in crate::worker) settings: Transcoding,
    /// Paths of methods, each with whether it takes one message and answers with one.
    unary: FxHashMap<Box<str>, bool>,
    pub(in crate::worker) captures: RefCell<Captures>,
    pub(in crate::worker) query: RefCell<Query>,
    /// Memory for messages and answers.
    pub(in crate::worker) blocks: Blocks,
    /// How many streams of answers are compressed at this time.
    pub(in crate::worker) compressed_streams: Rc<Cell<u32>>,
    /// Memory of calls that have ended, for those that begin.
    spare: RefCell<Vec<Vec<u8>>>,
}

/// Bounds of that memory: pieces, and bytes of one.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 4096;

impl Transcoder {
    /// The transcoder of this API. Streams that began with the one `before` count on.
    pub(in crate::worker) fn new(
        api: Arc<Api>,
        settings: Transcoding,
        before: Option<&Transcoder>,
    ) -> Rc<Transcoder> {
        let is_unary = |method: &Method| !method.client_streaming && !method.server_streaming;
        let unary = api.methods().iter().map(|method| (method.path.as_str().into(), is_unary(method)));
        let unary = unary.collect();
        let compressed_streams =
            before.map(|before| Rc::clone(&before.compressed_streams)).unwrap_or_default();
        let (captures, query, blocks, spare) = Default::default();
        Rc::new(Transcoder { api, settings, unary, captures, query, blocks, compressed_streams, spare })
    }

    /// Whether the method of this path takes one message and answers with one; `None` for one that is not known.
    pub(in crate::worker) fn is_unary(&self, path: &str) -> Option<bool> {
        self.unary.get(path).copied()
    }

    /// Whether a POST of JSON to a method's own path calls it.
    pub(in crate::worker) fn is_mapped(&self, path: &str) -> bool {
        matches!(self.of_path(path), Some(method) if method.path.as_str() == path)
    }

    /// Whether this is the path of a method that says it has no side effects.
    pub(in crate::worker) fn has_no_side_effects(&self, path: &str) -> bool {
        let method = self.of_path(path).filter(|method| method.path.as_str() == path);
        method.is_some_and(|method| method.idempotency == Idempotency::NoSideEffects)
    }

    /// The method that a POST to this path calls.
    fn of_path(&self, path: &str) -> Option<&Method> {
        match self.api.find("POST", path, &mut self.captures.borrow_mut()) {
            Found::Rule(rule) => Some(self.method(rule)),
            _ => None,
        }
    }

    /// The rule at this position.
    pub(in crate::worker) fn rule(&self, rule: usize) -> &Rule {
        &self.api.rules()[rule]
    }

    /// The method that the rule at this position maps to.
    pub(in crate::worker) fn method(&self, rule: usize) -> &Method {
        &self.api.methods()[self.rule(rule).method]
    }

    /// The methods that a path allows; `None` if no rule has this path.
    pub(in crate::worker) fn allowed(&self, path: &str) -> Option<String> {
        match self.api.find("OPTIONS", path, &mut self.captures.borrow_mut()) {
            Found::WrongMethod(allow) => Some(allow.to_owned()),
            _ => None,
        }
    }

    /// How queries and forms are read.
    pub(in crate::worker) fn query_options(&self) -> QueryOptions {
        QueryOptions {
            ignore_unknown_parameters: self.settings.ignore_unknown_query_parameters,
            ignore_taken: self.settings.compatibility.ignore_bound_query_parameters,
            takes_entries: self.settings.compatibility.map_query_parameters,
        }
    }

    /// An empty buffer, of memory that a call used before if there is any.
    pub(in crate::worker) fn take_buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes the memory of a buffer back.
    pub(in crate::worker) fn give_buffer(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            spare.push(buffer);
        }
    }
}
