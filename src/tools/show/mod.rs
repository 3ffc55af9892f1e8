//! How results are shown: as aligned text, as JSON, and as one page of HTML with plots.

mod document;
mod html;
pub mod plot;
mod table;
pub mod units;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

pub use document::Document;
pub use plot::Plot;
pub use table::{Align, Cell, Column, Table, Tone, WIDTH_MAX, fold};

/// How a person wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// JSON in place of text.
    pub json: bool,
    /// A file for a page of HTML.
    pub html: Option<PathBuf>,
}

impl Document {
    /// Writes it to standard output, and to the file of HTML if there is to be one.
    ///
    /// # Errors
    /// When either cannot be written.
    pub fn write(&self, output: &Output) -> io::Result<()> {
        if let Some(path) = &output.html {
            std::fs::write(path, html::page(self))?;
        }
        let mut out = io::stdout();
        if output.json {
            writeln!(out, "{:#}", self.json)
        } else {
            let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
            out.write_all(self.text(colour).as_bytes())
        }
    }

    /// The text for a terminal.
    pub fn text(&self, colour: bool) -> String {
        let mut text = format!("{}\n", self.title);
        for fact in &self.facts {
            text += &format!("  {fact}\n");
        }
        for table in &self.tables {
            text += "\n";
            text += &table.text(colour);
        }
        if !self.conclusions.is_empty() {
            text += "\n";
        }
        for conclusion in &self.conclusions {
            text += &format!("{conclusion}\n");
        }
        text
    }
}

/// A bar on standard error, while that is a terminal.
pub fn progress(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} [{bar:40}] {percent:>3} % {eta:>5}");
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    bar.with_style(style.expect("the template is a constant").progress_chars("=> "))
}
