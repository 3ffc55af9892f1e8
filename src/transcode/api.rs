//! The API that is served as JSON: methods, rules and messages, compiled and checked. Made by one thread, read by all.

mod build;

use std::collections::HashMap;
use std::path::Path;

use prost_reflect::{DescriptorPool, FileDescriptor, ServiceDescriptor};

use super::comments::Comments;
pub use super::descriptors::Reflected;
use super::descriptors::{Descriptors, Pool, Pools};
use super::nearest::nearest;
use super::plan::Schema;
use super::problem::Problem;
pub use super::rule::{Body, BoundField, HTTP_BODY, Idempotency, Method, Rule};
use super::rules::{Captures, Found, Rules};
use super::service_config;
use crate::config::Transcoding;

/// The API that is served as JSON: its methods, rules and messages.
#[derive(Debug)]
pub struct Api {
    /// At least one. Each is of descriptors that belong together.
    schemas: Vec<Schema>,
    services: Vec<ServiceDescriptor>,
    methods: Vec<Method>,
    rules: Vec<Rule>,
    table: Rules,
    by_path: HashMap<Box<str>, usize>,
    missing: Vec<Problem>,
    refused: Vec<Problem>,
    /// Comments of sources on their definitions, by file, for each of `schemas`.
    comments: Vec<HashMap<String, Comments>>,
    is_whole: bool,
}

impl Api {
    /// Reads all descriptors that the configuration names and compiles them, with what `reflected` has found. Relative
    /// paths begin at `directory`.
    ///
    /// Parts of reflected descriptors that cannot be described are left out. So are wrong rules, unless `on_bad_rule`
    /// says otherwise. [`Api::refused`] names them.
    ///
    /// # Errors
    /// Everything that is wrong with files and rules.
    pub fn load(
        settings: &Transcoding,
        directory: &Path,
        reflected: &[Reflected],
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let selected = service_config::read(settings, directory, &mut problems);
        let mut descriptors = Descriptors::read(settings, directory);
        for one in reflected {
            descriptors.add_reflected(one);
        }
        let Pools { pools, refused } = match descriptors.into_pools() {
            Ok(pools) if problems.is_empty() => pools,
            Ok(_) => return Err(problems),
            Err(more) => return Err(problems.into_iter().chain(more).collect()),
        };
        let parts = build::build(&pools, refused, &selected, settings)?;
        let comments = pools.into_iter().map(|pool| pool.comments).collect();
        Ok(Self::of(parts, comments, settings.reflection.len() <= reflected.len()))
    }

    /// Whether every cluster that is asked for descriptors has answered. If not, a path without a rule may still get
    /// one.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Compiles the services of a pool.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn build(pool: &DescriptorPool, settings: &Transcoding) -> Result<Self, Vec<Problem>> {
        let pool = Pool { descriptors: pool.clone(), ..Pool::default() };
        Ok(Self::of(build::build(&[pool], Vec::new(), &[], settings)?, Vec::new(), true))
    }

    fn of(parts: build::Parts, comments: Vec<HashMap<String, Comments>>, is_whole: bool) -> Self {
        let build::Parts { schemas, services, methods, rules, table, by_path, missing, refused } = parts;
        Self { schemas, services, methods, rules, table, by_path, missing, refused, comments, is_whole }
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

    /// The messages of the methods that the configuration's descriptors have; with no more than one version of any file,
    /// those of all methods.
    pub fn schema(&self) -> &Schema {
        &self.schemas[0]
    }

    /// The messages of a method of this API.
    pub fn schema_of(&self, method: &Method) -> &Schema {
        &self.schemas[method.schema]
    }

    /// All messages.
    pub fn schemas(&self) -> &[Schema] {
        &self.schemas
    }

    /// A file's comments on its definitions, if the configuration names its source.
    pub(super) fn comments(&self, file: &FileDescriptor) -> Option<&Comments> {
        let of_schema = self.schemas.iter().position(|schema| schema.pool() == file.parent_pool());
        self.comments.get(of_schema?)?.get(file.name())
    }

    /// Services that are configured and not there; empty unless reflection may still bring them.
    pub fn missing_services(&self) -> &[Problem] {
        &self.missing
    }

    /// The parts that are left out, and why: wrong rules, and parts of reflected descriptors that cannot be described.
    pub fn refused(&self) -> &[Problem] {
        &self.refused
    }

    /// The method of a gRPC path, `/{service}/{method}`.
    pub fn method(&self, path: &str) -> Option<&Method> {
        self.by_path.get(path).map(|number| &self.methods[*number])
    }

    /// The rule that a path was probably meant for which none has: `POST /a.B/C`. `path` is without query.
    pub fn nearest(&self, path: &str) -> Option<String> {
        nearest(&self.rules, path)
    }

    /// The rule for a request, by its position in [`Api::rules`]. `path` is without query.
    pub fn find<'c>(&self, http_method: &str, path: &str, captures: &'c mut Captures) -> Found<'c> {
        self.table.find(http_method, path, captures)
    }
}
