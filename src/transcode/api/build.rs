//! Descriptors to an API.

use std::collections::{HashMap, HashSet};

use prost_reflect::{ExtensionDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use super::super::annotation::{self, HttpRule};
use super::super::binding::{check, place};
use super::super::descriptors::Pool;
use super::super::plan::Schema;
use super::super::problem::{Problem, guarded};
use super::super::rule::{Body, Idempotency, Method, Rule};
use super::super::rules::{Pattern, Rules};
use super::super::service_config::Selected;
use super::super::template::Template;
use crate::config::{OnBadRule, Transcoding, nearest};

/// The parts of an API.
pub(super) struct Parts {
    pub(super) schemas: Vec<Schema>,
    pub(super) services: Vec<ServiceDescriptor>,
    pub(super) methods: Vec<Method>,
    pub(super) rules: Vec<Rule>,
    pub(super) table: Rules,
    pub(super) by_path: HashMap<Box<str>, usize>,
    pub(super) missing: Vec<Problem>,
    pub(super) refused: Vec<Problem>,
}

/// Compiles the services of all pools. `refused` is what was left out before.
pub(super) fn build(
    pools: &[Pool],
    refused: Vec<Problem>,
    selected: &[Selected],
    settings: &Transcoding,
) -> Result<Parts, Vec<Problem>> {
    let mut builder = Builder::new(pools, refused, settings);
    let (services, missing) = builder.select(pools, &settings.services);
    // Reflection may still bring what is not there.
    if settings.reflection.is_empty() {
        builder.problems.clone_from(&missing);
    }
    for (pool, service) in &services {
        for method in service.methods() {
            match lacks(&pools[*pool], &method) {
                Some(reason) => builder.leave_out(&pools[*pool], &method, &reason),
                None => builder.method(*pool, &method, selected),
            }
        }
    }
    // Reflection may still bring what is not there.
    if settings.reflection.is_empty() {
        builder.unselected(pools, selected);
    }
    if settings.auto_mapping {
        builder.auto_mapping();
    }
    let services = services.into_iter().map(|(_, service)| service).collect();
    builder.finish(services, missing)
}

/// Why a method's messages are not known whole, if they are not.
fn lacks(pool: &Pool, method: &MethodDescriptor) -> Option<String> {
    if pool.incomplete.is_empty() {
        return None;
    }
    let mut seen = HashSet::new();
    let mut next = vec![method.input(), method.output()];
    while let Some(message) = next.pop() {
        if let Some(reason) = pool.incomplete.get(message.full_name()) {
            return Some(format!("of {} {reason}", message.full_name()));
        }
        if seen.insert(message.full_name().to_owned()) {
            next.extend(message.fields().filter_map(|field| field.kind().as_message().cloned()));
        }
    }
    None
}

/// An API while it is made.
struct Builder {
    schemas: Vec<Schema>,
    options: Vec<Option<ExtensionDescriptor>>,
    methods: Vec<Method>,
    rules: Vec<Rule>,
    /// For each rule, who it is: file, method, HTTP method and path.
    places: Vec<String>,
    on_bad_rule: OnBadRule,
    problems: Vec<Problem>,
    refused: Vec<Problem>,
}

impl Builder {
    fn new(pools: &[Pool], refused: Vec<Problem>, settings: &Transcoding) -> Self {
        Self {
            schemas: pools.iter().map(|pool| Schema::new(&pool.descriptors)).collect(),
            options: pools.iter().map(|pool| annotation::option(&pool.descriptors)).collect(),
            methods: Vec::new(),
            rules: Vec::new(),
            places: Vec::new(),
            on_bad_rule: settings.on_bad_rule,
            problems: Vec::new(),
            refused,
        }
    }

    /// The services of these names, or all, each with its pool; and what is wrong with the names.
    fn select(
        &mut self,
        pools: &[Pool],
        names: &[String],
    ) -> (Vec<(usize, ServiceDescriptor)>, Vec<Problem>) {
        let mut known: Vec<(usize, ServiceDescriptor)> = Vec::new();
        let mut first: HashMap<String, usize> = HashMap::new();
        for (number, pool) in pools.iter().enumerate() {
            for service in pool.descriptors.services() {
                if !first.contains_key(service.full_name()) {
                    first.insert(service.full_name().to_owned(), known.len());
                    known.push((number, service));
                } else if let Some(origin) = pool.reflected.get(service.parent_file().name()) {
                    let wrong = format!(
                        "{} is told by another one, too, in another version: that one counts",
                        service.full_name()
                    );
                    self.refused.push(Problem::new(origin, wrong));
                }
            }
        }
        if names.is_empty() {
            // Nobody means these by "all".
            known.retain(|(_, service)| !service.full_name().starts_with("grpc.reflection."));
            return (known, Vec::new());
        }
        let mut missing = Vec::new();
        let mut services = Vec::new();
        for name in names {
            match first.get(name) {
                Some(at) => services.push(known[*at].clone()),
                None => {
                    let known: Vec<&str> = known.iter().map(|(_, service)| service.full_name()).collect();
                    let problem = Problem::new(
                        "transcoding.services",
                        format!("no service {name:?} in the descriptors"),
                    );
                    missing.push(match nearest(name, known.iter().copied()) {
                        Some(near) => problem.hint(format!("did you mean {near:?}?")),
                        None if known.is_empty() => problem,
                        None => {
                            problem.hint(format!("known are {}", known[..known.len().min(10)].join(", ")))
                        }
                    });
                }
            }
        }
        (services, missing)
    }

    /// A method that cannot be served.
    fn leave_out(&mut self, pool: &Pool, method: &MethodDescriptor, reason: &str) {
        let file = method.parent_file();
        let place = match pool.reflected.get(file.name()) {
            Some(origin) => format!("{origin}: {}", file.name()),
            None => file.name().to_owned(),
        };
        self.refused.push(Problem::new(place, format!("{} is not served: {reason}", method.full_name())));
    }

    /// A rule that is wrong.
    fn refuse(&mut self, problem: Problem) {
        match self.on_bad_rule {
            OnBadRule::Skip => self.refused.push(problem),
            OnBadRule::Fail => self.problems.push(problem),
        }
    }

    /// Names the rules whose method is nowhere. Those of a method that is not served are of no use, and right.
    fn unselected(&mut self, pools: &[Pool], selected: &[Selected]) {
        if selected.is_empty() {
            return;
        }
        let services = pools.iter().flat_map(|pool| pool.descriptors.services());
        let known: HashSet<String> = services
            .flat_map(|service| {
                service.methods().map(|method| method.full_name().to_owned()).collect::<Vec<_>>()
            })
            .collect();
        for one in selected.iter().filter(|one| !known.contains(&one.selector)) {
            let wrong = format!("no method {:?} in the descriptors", one.selector);
            let problem = Problem::new(&one.origin, wrong);
            self.refuse(match nearest(&one.selector, known.iter().map(String::as_str)) {
                Some(near) => problem.hint(format!("did you mean {near:?}?")),
                None => problem,
            });
        }
    }

    /// Adds a method and its rules: those it carries, and those that are selected for it.
    fn method(&mut self, schema: usize, descriptor: &MethodDescriptor, selected: &[Selected]) {
        use prost_reflect::prost_types::method_options::IdempotencyLevel;
        let path = format!("/{}/{}", descriptor.parent_service().full_name(), descriptor.name());
        // Reflection may send what no compiler would let pass.
        if !is_name(descriptor.parent_service().full_name()) || !is_name(descriptor.name()) {
            let file = descriptor.parent_file();
            self.problems.push(Problem::new(file.name(), format!("{path:?} is not the path of a method")));
            return;
        }
        let id = |message: MessageDescriptor| {
            self.schemas[schema]
                .message_id(message.full_name())
                .expect("a schema has all messages of its pool")
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
            schema,
        });
        // The library decodes options as late as this, with extensions that other files bring.
        let carried = self.options[schema]
            .as_ref()
            .map(|option| guarded(descriptor.full_name(), || annotation::of(descriptor, option)));
        match carried.transpose().map(Option::flatten) {
            Ok(Some(written)) => {
                self.all_written(schema, descriptor, descriptor.parent_file().name(), &written);
            }
            Ok(None) => {}
            Err(_) => self.refuse(Problem::new(descriptor.full_name(), "its options cannot be decoded")),
        }
        for one in selected.iter().filter(|one| one.selector == descriptor.full_name()) {
            self.all_written(schema, descriptor, &one.origin, &one.rule);
        }
    }

    /// Adds a rule with its additional bindings. `file` is where it stands.
    fn all_written(&mut self, schema: usize, method: &MethodDescriptor, file: &str, written: &HttpRule) {
        self.written(schema, method, file, written);
        for additional in &written.additional {
            if !additional.additional.is_empty() {
                let wrong = "an additional binding may have no additional bindings";
                self.refuse(Problem::new(place(file, method, additional), wrong));
            }
            self.written(schema, method, file, additional);
        }
    }

    /// Adds a rule of the method that was added last, or says what is wrong with it.
    fn written(&mut self, schema: usize, method: &MethodDescriptor, file: &str, written: &HttpRule) {
        let place = place(file, method, written);
        let mut wrong = Vec::new();
        match check(&self.schemas[schema], method, written, &mut wrong) {
            Some(rule) if wrong.is_empty() => {
                self.rules.push(Rule { method: self.methods.len() - 1, ..rule });
                self.places.push(place);
            }
            _ => {
                for problem in wrong {
                    self.refuse(Problem { place: place.clone(), ..problem });
                }
            }
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

    /// The table of all rules. Of two that mean the same requests the first counts.
    fn table(&mut self) -> Rules {
        loop {
            let patterns: Vec<Pattern<'_>> = self
                .rules
                .iter()
                .map(|rule| Pattern { method: &rule.http_method, template: &rule.template })
                .collect();
            let conflicts = match Rules::new(&patterns) {
                Ok(table) => return table,
                Err(conflicts) => conflicts,
            };
            let mut out = HashSet::new();
            for conflict in conflicts {
                let wrong = format!("means the same requests as {}", self.places[conflict.first]);
                let problem = Problem::new(&self.places[conflict.second], wrong);
                self.refuse(problem.hint("take one of them out, or change its path"));
                out.insert(conflict.second);
            }
            let mut numbers = 0..;
            self.rules.retain(|_| numbers.next().is_some_and(|number| !out.contains(&number)));
            let mut numbers = 0..;
            self.places.retain(|_| numbers.next().is_some_and(|number| !out.contains(&number)));
        }
    }

    fn finish(
        mut self,
        services: Vec<ServiceDescriptor>,
        missing: Vec<Problem>,
    ) -> Result<Parts, Vec<Problem>> {
        let table = self.table();
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let by_path = |(number, method): (usize, &Method)| (method.path.as_str().into(), number);
        Ok(Parts {
            by_path: self.methods.iter().enumerate().map(by_path).collect(),
            schemas: self.schemas,
            services,
            methods: self.methods,
            rules: self.rules,
            table,
            missing,
            refused: self.refused,
        })
    }
}

/// Whether a name is one that protobuf has.
fn is_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.split('.').all(|part| !part.is_empty() && part.bytes().all(is_allowed))
}
