//! A page that needs nothing beside it.

use super::document::Document;
use super::plot::escape;
use super::table::{Align, Table, Tone};

const STYLE: &str = "
:root { color-scheme: light dark; --fg: #1c2430; --bg: #ffffff; --dim: #66707f; --rule: #d9dee6; --good: #13733c;
  --bad: #b3261e; --s0: #2563c9; --s1: #c2410c; --s2: #15803d; --s3: #7c3aed; --s4: #be185d; --s5: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --fg: #e3e8f0; --bg: #12161c; --dim: #98a3b3; --rule: #2b333f;
  --good: #4ade80; --bad: #f87171; --s0: #6ea8fe; --s1: #fb923c; --s2: #4ade80; --s3: #b794f6; --s4: #f472b6;
  --s5: #22d3ee; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); max-width: 1100px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } p { margin: .3rem 0; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--rule); text-align: left; white-space: nowrap; }
th { color: var(--dim); font-weight: 600; } .right { text-align: right; } .good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; } .dim { color: var(--dim); } svg { width: 100%; max-width: 720px; }
svg text { font-size: 12px; fill: var(--fg); } .grid { stroke: var(--rule); } .line { fill: none; stroke-width: 2; }
.ends { stroke: var(--fg); stroke-width: 2; }
.line.s0 { stroke: var(--s0); } .line.s1 { stroke: var(--s1); } .line.s2 { stroke: var(--s2); }
.line.s3 { stroke: var(--s3); } .line.s4 { stroke: var(--s4); } .line.s5 { stroke: var(--s5); }
svg .s0 { fill: var(--s0); } svg .s1 { fill: var(--s1); } svg .s2 { fill: var(--s2); } svg .s3 { fill: var(--s3); }
svg .s4 { fill: var(--s4); } svg .s5 { fill: var(--s5); } svg .line { fill: none; }
";

/// The page of a document.
pub(super) fn page(document: &Document) -> String {
    let title = escape(&document.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n"
    );
    for fact in &document.facts {
        page += &format!("<p class=\"dim\">{}</p>\n", escape(fact));
    }
    for table in &document.tables {
        page += &table_html(table);
    }
    for conclusion in &document.conclusions {
        page += &format!("<p>{}</p>\n", escape(conclusion));
    }
    for plot in &document.plots {
        page += &format!("<h2>{}</h2>\n{}\n", escape(plot.title()), plot.svg());
    }
    page + "</body></html>\n"
}

fn table_html(table: &Table) -> String {
    let mut html = String::new();
    if !table.title.is_empty() {
        html += &format!("<h2>{}</h2>\n", escape(&table.title));
    }
    html += "<div class=\"table\"><table><tr>";
    let side = |align| if align == Align::Right { "right" } else { "" };
    for column in &table.columns {
        html += &format!("<th class=\"{}\">{}</th>", side(column.align), escape(column.name));
    }
    html += "</tr>\n";
    for row in &table.rows {
        html += "<tr>";
        for (cell, column) in row.iter().zip(&table.columns) {
            let tone = match cell.tone {
                Tone::Plain => "",
                Tone::Good => "good",
                Tone::Bad => "bad",
                Tone::Dim => "dim",
            };
            html += &format!("<td class=\"{} {tone}\">{}</td>", side(column.align), escape(&cell.text));
        }
        html += "</tr>\n";
    }
    html + "</table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::super::plot::Bar;
    use super::super::{Cell, Plot};
    use super::*;

    #[test]
    fn a_page_holds_everything_and_refers_to_nothing() {
        let mut table = Table::new("Steps & more", &["name", ">n"]);
        table.rows.push(vec!["<a>".into(), Cell::new("7", Tone::Bad)]);
        let plot =
            Plot::Bars { title: "Bars".into(), bars: vec![Bar { name: "x".into(), value: 1.0, ends: None }] };
        let document = Document {
            title: "Load".into(),
            facts: vec!["on a machine".into()],
            tables: vec![table],
            conclusions: vec!["done".into()],
            plots: vec![plot],
            json: serde_json::Value::Null,
        };
        let page = page(&document);
        for part in
            ["Steps &amp; more", "&lt;a&gt;", "on a machine", "done", "<svg", "prefers-color-scheme: dark"]
        {
            assert!(page.contains(part), "no {part}");
        }
        for reference in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(reference), "{reference} in the page");
        }
    }
}
