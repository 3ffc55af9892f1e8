//! Which rule a request's method and path mean.
//!
//! **Precedence.** Only rules for the request's method compete, compared segment by segment from the left: a literal
//! goes before `*`, `*` before the end before `**`; of two `**` the one with more literals after it. A path that ends in
//! `:verb` is for the templates with that verb, if any fits the rest of it; only else is the colon part of a name. Two
//! rules with one method and one shape are a conflict, whatever their fields are called. The method `*` of a custom
//! rule is for every method that no rule of the same shape has for its own.
//!
//! **Unescaping.** Literals are compared as they stand in the path. A capture of `{field}` is decoded whole, `%2F`
//! included. A capture of several segments (`{field=**}`, `{field=a/*}`) keeps the escapes of reserved characters
//! (RFC 3986 section 2.2) as they are, so that `%2F` stays apart from `/`, and decodes all others. `+` is a plus.
//!
//! **Empty segments.** `**` is any number of segments, empty ones among them: `{name=**}` holds `a//b` and `a/` as they
//! came. Nothing else matches an empty segment, so neither `//` nor a slash at the end is anywhere else. A match is
//! refused if an escape is broken, a capture is not UTF-8, or one holds `.` or `..` between slashes.
//!
//! A search visits a node of the tree at most once, so its time is bounded by the length of the path and the size of
//! the table, whatever the path is.

use super::template::{Segment, Template};
use super::unescape::{Unreadable, escapes_are_whole, leads_out, unescape};

/// Finds rules. Made once, then only read.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// A tree; the first is its root.
    nodes: Vec<Node>,
    /// Names of methods; rules know them by their position.
    methods: Vec<String>,
    /// The captures of each rule, by the number it was given.
    shapes: Vec<Shape>,
}

/// A method and a template that are to be found.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<'a> {
    /// The HTTP method, or `*`.
    pub method: &'a str,
    /// The path.
    pub template: &'a Template,
}

/// Two patterns that mean the same requests, by their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The one that was there.
    pub first: usize,
    /// The one that came later.
    pub second: usize,
}

/// The meaning of a request: its rule, or the reason that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The rule of this number. The captures are filled.
    Rule(usize),
    /// A rule for GET, found for HEAD: the response goes out without its body.
    Head(usize),
    /// The path is known, but not with this method: the value of `Allow`.
    WrongMethod(&'a str),
    /// No rule has this path.
    Nothing,
    /// A rule has it, but what it captures cannot be text.
    Unreadable(Unreadable),
}

/// The values of a path's variables, and the memory to find them. Later requests reuse it, so it stops allocating.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// Where the path's segments begin and end.
    segments: Vec<(usize, usize)>,
    /// The values, one after the other.
    text: String,
    /// Where each value ends in `text`.
    ends: Vec<usize>,
    /// A value while it is decoded.
    bytes: Vec<u8>,
    /// Methods that would have been right.
    allowed: Vec<u16>,
    allow: String,
}

impl Captures {
    /// How many there are: as many as the rule's template has variables.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the rule captures nothing.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The values in the order of the template, unescaped.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut begin = 0;
        self.ends.iter().map(move |end| &self.text[std::mem::replace(&mut begin, *end)..*end])
    }

    fn clear(&mut self) {
        self.segments.clear();
        self.text.clear();
        self.ends.clear();
        self.allowed.clear();
    }
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Sorted.
    literals: Vec<(Box<str>, usize)>,
    /// `*`.
    one: Option<usize>,
    /// Rules whose template ends here.
    ends: Vec<End>,
    /// Rules whose template goes on with `**` here, those with more literals behind it first.
    tails: Vec<Tail>,
}

/// `**` and what follows it.
#[derive(Clone, Debug)]
struct Tail {
    literals: Vec<Box<str>>,
    ends: Vec<End>,
}

/// The rules of one shape.
#[derive(Clone, Debug)]
struct End {
    verb: Option<Box<str>>,
    /// Method and rule.
    rules: Vec<(u16, usize)>,
    /// For every other method.
    any: Option<usize>,
}

/// How a template's variables lie over the segments of a path.
#[derive(Clone, Debug)]
struct Shape {
    segments: usize,
    rest_at: Option<usize>,
    /// First segment, one after the last, and whether there may be several.
    variables: Vec<(usize, usize, bool)>,
}

/// In the order of an `Allow` header.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const GET: u16 = 0;
const HEAD: u16 = 1;

impl Rules {
    /// A table of all patterns, numbered by position.
    ///
    /// # Errors
    /// Every pattern that means the same requests as an earlier one.
    pub fn new(patterns: &[Pattern<'_>]) -> Result<Self, Vec<Conflict>> {
        let mut rules = Self {
            nodes: vec![Node::default()],
            methods: METHODS.map(str::to_owned).to_vec(),
            shapes: Vec::new(),
        };
        let mut conflicts = Vec::new();
        for (number, pattern) in patterns.iter().enumerate() {
            if let Err(first) = rules.add(number, pattern) {
                conflicts.push(Conflict { first, second: number });
            }
        }
        if conflicts.is_empty() { Ok(rules) } else { Err(conflicts) }
    }

    /// Adds one, or says which rule has its place.
    fn add(&mut self, number: usize, pattern: &Pattern<'_>) -> Result<(), usize> {
        let template = pattern.template;
        let variable = |v: &super::template::Variable| (v.segments.start, v.segments.end, v.is_multi);
        self.shapes.push(Shape {
            segments: template.segments.len(),
            rest_at: template.rest_at(),
            variables: template.variables.iter().map(variable).collect(),
        });
        let method = (pattern.method != "*").then(|| self.intern(pattern.method));
        let end = end_for(self.ends_of(&template.segments), template.verb.as_deref());
        let taken = match method {
            None => end.any,
            Some(method) => end.rules.iter().find(|(known, _)| *known == method).map(|(_, rule)| *rule),
        };
        match (taken, method) {
            (Some(taken), _) => return Err(taken),
            (None, None) => end.any = Some(number),
            (None, Some(method)) => end.rules.push((method, number)),
        }
        Ok(())
    }

    fn intern(&mut self, method: &str) -> u16 {
        let known = self.methods.iter().position(|known| known == method).unwrap_or_else(|| {
            self.methods.push(method.to_owned());
            self.methods.len() - 1
        });
        u16::try_from(known).expect("a method has a rule, and nobody writes 65536 rules with a method each")
    }

    /// Where the rules of a template's segments stand; makes the way there.
    fn ends_of(&mut self, segments: &[Segment]) -> &mut Vec<End> {
        let mut at = 0;
        for (position, segment) in segments.iter().enumerate() {
            at = match segment {
                Segment::Rest => return self.tail(at, &segments[position + 1..]),
                Segment::One => match self.nodes[at].one {
                    Some(child) => child,
                    None => {
                        let child = self.node();
                        *self.nodes[at].one.insert(child)
                    }
                },
                Segment::Literal(text) => {
                    let place = self.nodes[at].literals.binary_search_by(|(known, _)| (**known).cmp(text));
                    match place {
                        Ok(found) => self.nodes[at].literals[found].1,
                        Err(place) => {
                            let child = self.node();
                            self.nodes[at].literals.insert(place, (text.as_str().into(), child));
                            child
                        }
                    }
                }
            };
        }
        &mut self.nodes[at].ends
    }

    fn node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn tail(&mut self, at: usize, after: &[Segment]) -> &mut Vec<End> {
        let literal = |segment: &Segment| match segment {
            Segment::Literal(text) => Box::from(text.as_str()),
            Segment::One | Segment::Rest => unreachable!("a template has only literals after `**`"),
        };
        let literals: Vec<Box<str>> = after.iter().map(literal).collect();
        let tails = &mut self.nodes[at].tails;
        let place = tails.iter().position(|tail| tail.literals == literals).unwrap_or_else(|| {
            let place = tails.partition_point(|tail| tail.literals.len() >= literals.len());
            tails.insert(place, Tail { literals, ends: Vec::new() });
            place
        });
        &mut tails[place].ends
    }

    /// The rule for a request. `path` is without query.
    pub fn find<'c>(&self, http_method: &str, path: &str, captures: &'c mut Captures) -> Found<'c> {
        captures.clear();
        if self.nodes.is_empty() || !split(path, &mut captures.segments) {
            return Found::Nothing;
        }
        let known = self.methods.iter().position(|known| known == http_method);
        let method = known.and_then(|position| u16::try_from(position).ok());
        match self.search(method, path, captures) {
            Some((rule, is_head)) => match captures.fill(path, &self.shapes[rule]) {
                Ok(()) if is_head => Found::Head(rule),
                Ok(()) => Found::Rule(rule),
                Err(unreadable) => Found::Unreadable(unreadable),
            },
            None if captures.allowed.is_empty() => Found::Nothing,
            None => Found::WrongMethod(self.allow(captures)),
        }
    }

    /// The rule and whether it is one for GET where HEAD is asked for. Leaves the segments as the rule sees them.
    fn search(&self, method: Option<u16>, path: &str, captures: &mut Captures) -> Option<(usize, bool)> {
        let whole = captures.segments.last().copied();
        let colon = whole.and_then(|(begin, end)| Some(begin + path[begin..end].rfind(':')?));
        if let (Some(colon), Some((begin, end))) = (colon, whole)
            && colon > begin
            && let Some(last) = captures.segments.last_mut()
        {
            last.1 = colon;
            let segments = &captures.segments;
            let verb = Some(&path[colon + 1..end]);
            let mut search =
                Search { rules: self, path, segments, verb, method, allowed: &mut captures.allowed };
            let found = search.visit(0, 0);
            if found.is_some() || !captures.allowed.is_empty() {
                return found;
            }
            captures.segments.pop();
            captures.segments.push((begin, end));
        }
        let segments = &captures.segments;
        Search { rules: self, path, segments, verb: None, method, allowed: &mut captures.allowed }.visit(0, 0)
    }

    fn allow<'c>(&self, captures: &'c mut Captures) -> &'c str {
        let Captures { allowed, allow, .. } = captures;
        if allowed.contains(&GET) {
            allowed.push(HEAD);
        }
        allowed.sort_unstable();
        allowed.dedup();
        allow.clear();
        for method in allowed.iter() {
            let name = &self.methods[usize::from(*method)];
            if name != "OPTIONS" {
                allow.push_str(name);
                allow.push_str(", ");
            }
        }
        allow.push_str("OPTIONS");
        allow
    }
}

/// The rules of a verb; makes room for them.
fn end_for<'a>(ends: &'a mut Vec<End>, verb: Option<&str>) -> &'a mut End {
    let place = ends.iter().position(|end| end.verb.as_deref() == verb).unwrap_or_else(|| {
        ends.push(End { verb: verb.map(Box::from), rules: Vec::new(), any: None });
        ends.len() - 1
    });
    &mut ends[place]
}

/// Where the segments of a path are; two slashes have an empty one between them. False if it is no path.
fn split(path: &str, segments: &mut Vec<(usize, usize)>) -> bool {
    if !path.starts_with('/') {
        return false;
    }
    if path == "/" {
        return true;
    }
    let mut begin = 1;
    for segment in path[1..].split('/') {
        let end = begin + segment.len();
        segments.push((begin, end));
        begin = end + 1;
    }
    true
}

/// A walk through the tree.
struct Search<'a> {
    rules: &'a Rules,
    path: &'a str,
    segments: &'a [(usize, usize)],
    verb: Option<&'a str>,
    /// `None` if no rule names it.
    method: Option<u16>,
    allowed: &'a mut Vec<u16>,
}

impl Search<'_> {
    fn visit(&mut self, node: usize, depth: usize) -> Option<(usize, bool)> {
        let rules = self.rules;
        let node = &rules.nodes[node];
        if depth == self.segments.len() {
            if let Some(found) = self.end(&node.ends) {
                return Some(found);
            }
        } else {
            let segment = self.segment(depth);
            if let Ok(place) = node.literals.binary_search_by(|(known, _)| (**known).cmp(segment))
                && let Some(found) = self.visit(node.literals[place].1, depth + 1)
            {
                return Some(found);
            }
            let one = node.one.filter(|_| !self.segment(depth).is_empty());
            if let Some(one) = one
                && let Some(found) = self.visit(one, depth + 1)
            {
                return Some(found);
            }
        }
        node.tails.iter().find_map(|tail| if self.fits(tail, depth) { self.end(&tail.ends) } else { None })
    }

    fn segment(&self, at: usize) -> &str {
        let (begin, end) = self.segments[at];
        &self.path[begin..end]
    }

    /// Whether the path ends in the literals of a tail, which begins at `depth`.
    fn fits(&self, tail: &Tail, depth: usize) -> bool {
        let Some(begin) = self.segments.len().checked_sub(tail.literals.len()) else { return false };
        begin >= depth && (begin..).zip(&tail.literals).all(|(at, literal)| self.segment(at) == &**literal)
    }

    /// The rule for the method among those of this shape.
    fn end(&mut self, ends: &[End]) -> Option<(usize, bool)> {
        let end = ends.iter().find(|end| end.verb.as_deref() == self.verb)?;
        let of = |wanted| end.rules.iter().find(|(method, _)| *method == wanted).map(|(_, rule)| *rule);
        let exact = self.method.and_then(of).map(|rule| (rule, false));
        let found = exact
            .or_else(|| if self.method == Some(HEAD) { of(GET).map(|rule| (rule, true)) } else { None })
            .or_else(|| end.any.map(|rule| (rule, false)));
        if found.is_none() {
            self.allowed.extend(end.rules.iter().map(|(method, _)| *method));
        }
        found
    }
}

impl Captures {
    fn fill(&mut self, path: &str, shape: &Shape) -> Result<(), Unreadable> {
        let is_escaped = path.contains('%');
        if is_escaped && !escapes_are_whole(path.as_bytes()) {
            return Err(Unreadable::Escape);
        }
        // Behind `**`, positions are counted from the end.
        let place = |at: usize| match shape.rest_at {
            Some(rest) if at > rest => at + self.segments.len() - shape.segments,
            _ => at,
        };
        for (first, after_last, is_multi) in &shape.variables {
            let covered = &self.segments[place(*first)..place(*after_last)];
            let value = match (covered.first(), covered.last()) {
                (Some((begin, _)), Some((_, end))) => &path[*begin..*end],
                _ => "",
            };
            let before = self.text.len();
            if is_escaped {
                self.bytes.clear();
                unescape(value.as_bytes(), *is_multi, &mut self.bytes);
                self.text.push_str(std::str::from_utf8(&self.bytes).map_err(|_| Unreadable::NotUtf8)?);
            } else {
                self.text.push_str(value);
            }
            if leads_out(&self.text[before..]) {
                return Err(Unreadable::LeadsOut);
            }
            self.ends.push(self.text.len());
        }
        Ok(())
    }
}
