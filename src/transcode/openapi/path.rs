//! A path template as OpenAPI writes it: `/v1/{name=shelves/*}` is `/v1/shelves/{shelf}`.

use super::super::template::{Segment, Template};

/// A path and its parameters.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// As OpenAPI writes it.
    pub(super) text: String,
    /// The text without the names of parameters: two paths of one shape may not both be there.
    pub(super) shape: String,
    /// In the order of the text.
    pub(super) parameters: Vec<Parameter>,
}

/// A segment, or several, that may be anything.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// Which of the template's variables it belongs to.
    pub(super) variable: Option<usize>,
    /// Whether it is all of that variable.
    pub(super) is_whole: bool,
    /// Whether it is `**`.
    pub(super) is_rest: bool,
}

impl Path {
    pub(super) fn new(template: &Template) -> Self {
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut pieces = Vec::new();
        let mut before = "";
        for (at, segment) in template.segments.iter().enumerate() {
            if let Segment::Literal(text) = segment {
                pieces.push(text.clone());
                before = text;
                continue;
            }
            let variable = template.variables.iter().position(|variable| variable.segments.contains(&at));
            let whole = variable.filter(|variable| template.variables[*variable].segments.len() == 1);
            let wanted = match whole {
                Some(whole) => template.variables[whole].field.join("."),
                None if before.is_empty() => "segment".to_owned(),
                None => singular(before),
            };
            let name = unused(&wanted, &parameters);
            pieces.push(format!("{{{name}}}"));
            let (is_whole, is_rest) = (whole.is_some(), *segment == Segment::Rest);
            parameters.push(Parameter { name, variable, is_whole, is_rest });
        }
        let verb = template.verb.as_ref().map_or(String::new(), |verb| format!(":{verb}"));
        let text = format!("/{}{verb}", pieces.join("/"));
        Self { shape: shape(&text), text, parameters }
    }

    /// Takes the names of another path of the same shape.
    pub(super) fn rename(&mut self, first: &Path) {
        self.text.clone_from(&first.text);
        for (mine, theirs) in self.parameters.iter_mut().zip(&first.parameters) {
            mine.name.clone_from(&theirs.name);
        }
    }
}

/// A path with all parameters unnamed.
fn shape(text: &str) -> String {
    let segments = text.split('/').map(|segment| match (segment.find('{'), segment.rfind('}')) {
        (Some(begin), Some(end)) => format!("{}{{}}{}", &segment[..begin], &segment[end + 1..]),
        _ => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// The singular of a word: `universities` is `university`, `boxes` is `box`, `shelves` is `shelf`.
fn singular(many: &str) -> String {
    let ending =
        |ending: &str, instead: &str| many.strip_suffix(ending).map(|stem| format!("{stem}{instead}"));
    let one = ending("ies", "y")
        .or_else(|| ending("lves", "lf"))
        .or_else(|| ["ches", "shes", "sses", "xes"].iter().find_map(|es| ending(es, &es[..es.len() - 2])))
        .or_else(|| ending("s", ""));
    one.filter(|one| !one.is_empty()).unwrap_or_else(|| many.to_owned())
}

fn unused(wanted: &str, taken: &[Parameter]) -> String {
    let is_free = |name: &String| !taken.iter().any(|parameter| parameter.name == *name);
    let numbered = (2..).map(|count| format!("{wanted}_{count}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
}
