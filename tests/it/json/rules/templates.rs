//! Templates, and texts that are none.

use ringway::transcode::template::{Segment, Template};

/// Text of a template, its segments with `verb` behind a colon, and its variables as `field=from..to`, `!` for several
/// segments.
pub const TEMPLATES: &[(&str, &str, &str)] = &[
    ("/", "", ""),
    ("/a", "a", ""),
    ("/a/b/c", "a b c", ""),
    ("/*", "*", ""),
    ("/**", "**", ""),
    ("/*/**", "* **", ""),
    ("/*/a/**", "* a **", ""),
    ("/**/a", "** a", ""),
    ("/a/**/b/c", "a ** b c", ""),
    ("/a:verb", "a :verb", ""),
    ("/*:verb", "* :verb", ""),
    ("/**:verb", "** :verb", ""),
    ("/a/b:verb", "a b :verb", ""),
    ("/{x}", "*", "x=0..1"),
    ("/{x}:verb", "* :verb", "x=0..1"),
    ("/{x.y.z}", "*", "x.y.z=0..1"),
    ("/{x=*}", "*", "x=0..1"),
    ("/{x=a}", "a", "x=0..1"),
    ("/{x=**}", "**", "x=0..1!"),
    ("/{x=a/*}", "a *", "x=0..2!"),
    ("/{x=a/*/b/*}", "a * b *", "x=0..4!"),
    ("/{x.y=a/**}", "a **", "x.y=0..2!"),
    ("/{x.y=**/a/b}", "** a b", "x.y=0..3!"),
    ("/{x.y=a/**}:verb", "a ** :verb", "x.y=0..2!"),
    ("/v1/{x}/{y=**}", "v1 * **", "x=1..2 y=2..3!"),
    ("/v1/{x=a/*}/b/{y}", "v1 a * b *", "x=1..3! y=4..5"),
    ("/{x}/{y}", "* *", "x=0..1 y=1..2"),
    ("/{a.b}/{a.c}", "* *", "a.b=0..1 a.c=1..2"),
    ("/{_x1}", "*", "_x1=0..1"),
    ("/a-b._~!$&'()+,;=@", "a-b._~!$&'()+,;=@", ""),
    ("/a%20b", "a%20b", ""),
    ("/bench.v1.Echo/Unary", "bench.v1.Echo Unary", ""),
];

/// A text that is no template, the column of its fault, and a part of the reason.
pub const NO_TEMPLATES: &[(&str, usize, &str)] = &[
    ("", 1, "begins with `/`"),
    ("a", 1, "begins with `/`"),
    ("{x}", 1, "begins with `/`"),
    ("a/b", 1, "begins with `/`"),
    ("http://a/b", 1, "begins with `/`"),
    ("//", 2, "empty"),
    ("/a/", 4, "a segment was wanted"),
    ("/a//b", 4, "empty"),
    (":verb", 1, "begins with `/`"),
    (":", 1, "begins with `/`"),
    ("/:", 2, "a segment was wanted"),
    ("/:verb", 2, "a segment was wanted"),
    ("/a:", 4, "a verb is needed"),
    ("/*:", 4, "a verb is needed"),
    ("/{x}:", 6, "a verb is needed"),
    ("/a/:verb", 4, "a segment was wanted"),
    ("/a:b:c", 5, "nothing may follow the verb"),
    ("/a:b/c", 5, "nothing may follow the verb"),
    ("/a:*", 4, "a verb is needed"),
    ("/{", 3, "name of a field"),
    ("/{}", 3, "name of a field"),
    ("/{=*}", 3, "name of a field"),
    ("/{x", 4, "end of the variable"),
    ("/{x.", 5, "name of a field"),
    ("/{x.}", 5, "name of a field"),
    ("/{.x}", 3, "name of a field"),
    ("/{x..y}", 5, "name of a field"),
    ("/{1x}", 3, "name of a field"),
    ("/{x-y}", 4, "end of the variable"),
    ("/{x=}", 5, "a segment was wanted"),
    ("/{x=/a}", 5, "empty"),
    ("/{x=a/}", 7, "a segment was wanted"),
    ("/{x=a:verb}", 6, "after the variable"),
    ("/{x=a/{y}}", 7, "in another one"),
    ("/{x={y}}", 5, "in another one"),
    ("/a{x}", 3, "`/`, `:` or the end"),
    ("/{x}a", 5, "`/`, `:` or the end"),
    ("/{x}{y}", 5, "`/`, `:` or the end"),
    ("/a}", 3, "`}` without its `{`"),
    ("/}", 2, "a segment was wanted"),
    ("/a*", 3, "`/`, `:` or the end"),
    ("/*a", 3, "`/`, `:` or the end"),
    ("/***", 4, "`/`, `:` or the end"),
    ("/**/**", 5, "only literals may follow"),
    ("/**/*", 5, "only literals may follow"),
    ("/**/{x}", 5, "only literals may follow"),
    ("/{x=**}/{y=*}", 12, "only literals may follow"),
    ("/a b", 3, "`/`, `:` or the end"),
    ("/a?b=c", 3, "`/`, `:` or the end"),
    ("/a#b", 3, "`/`, `:` or the end"),
    ("/a%2", 3, "hexadecimal"),
    ("/a%zz", 3, "hexadecimal"),
    ("/é", 2, "percent-encoded"),
    ("/aé", 3, "percent-encoded"),
    ("/.", 2, "not segments"),
    ("/a/../b", 4, "not segments"),
    ("/{x}/{x}", 6, "bound only once"),
    ("/{x.y}/{x}", 8, "bound only once"),
    ("/{x}/{x.y}", 6, "bound only once"),
];

#[test]
fn templates_are_read() {
    for (text, segments, variables) in TEMPLATES {
        let template = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut shown: Vec<String> = template.segments.iter().map(segment).collect();
        shown.extend(template.verb.iter().map(|verb| format!(":{verb}")));
        assert_eq!(shown.join(" "), *segments, "{text}");
        let shown: Vec<String> = template
            .variables
            .iter()
            .map(|v| format!("{}={:?}{}", v.field.join("."), v.segments, if v.is_multi { "!" } else { "" }))
            .collect();
        assert_eq!(shown.join(" "), *variables, "{text}");
        assert_eq!(template.to_string(), *text);
    }
    let long = format!("/{}", vec!["a"; 64].join("/"));
    assert!(Template::parse(&long).is_ok());
    assert_eq!(Template::parse(&format!("{long}/a")).unwrap_err().wanted, "at most 64 segments");
}

fn segment(segment: &Segment) -> String {
    match segment {
        Segment::Literal(text) => text.clone(),
        Segment::One => "*".to_owned(),
        Segment::Rest => "**".to_owned(),
    }
}

#[test]
fn what_is_no_template_is_refused_at_its_column() {
    for (text, column, wanted) in NO_TEMPLATES {
        let error = Template::parse(text).map(|template| panic!("{text}: {template:?}")).unwrap_err();
        assert!(error.column == *column && error.wanted.contains(wanted), "{text}: {error}");
    }
}
