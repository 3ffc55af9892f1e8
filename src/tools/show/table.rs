//! Tables whose columns stand under each other.

use std::fmt::Write as _;

/// On which side a column's texts end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// The meaning of a cell, for readers that look for trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// As it should not be.
    Bad,
    /// Of little weight.
    Dim,
}

/// A column's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its words.
    pub name: &'static str,
    /// How it is aligned.
    pub align: Align,
}

/// A place of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The cell's text.
    pub text: String,
    /// The cell's meaning.
    pub tone: Tone,
}

impl Cell {
    /// A cell with a meaning.
    pub fn new(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.into(), tone: Tone::Plain }
    }
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The heading; may be empty.
    pub title: String,
    /// The heads.
    pub columns: Vec<Column>,
    /// As many cells in each as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows. `columns` are names; one that begins with `>` is of numbers.
    pub fn new(title: impl Into<String>, columns: &[&'static str]) -> Table {
        let columns = columns.iter().map(|name| match name.strip_prefix('>') {
            Some(name) => Column { name, align: Align::Right },
            None => Column { name, align: Align::Left },
        });
        Table { title: title.into(), columns: columns.collect(), rows: Vec::new() }
    }

    /// Aligned text, with colours or without.
    pub fn text(&self, colour: bool) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.chars().count());
            cells.fold(self.columns[at].name.chars().count(), usize::max)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        if !self.title.is_empty() {
            let _ = writeln!(text, "{}", self.title);
        }
        let heads: Vec<Cell> = self.columns.iter().map(|column| Cell::new(column.name, Tone::Dim)).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, column), width) in row.iter().zip(&self.columns).zip(&widths) {
                let blanks = " ".repeat(width.saturating_sub(cell.text.chars().count()));
                let painted = paint(cell, colour);
                line += "  ";
                line += &match column.align {
                    Align::Left => painted + &blanks,
                    Align::Right => blanks + &painted,
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let row = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        let mut text = row(self.columns.iter().map(|column| column.name).collect());
        text += &row(self
            .columns
            .iter()
            .map(|column| if column.align == Align::Left { "---" } else { "---:" })
            .collect());
        for cells in &self.rows {
            text += &row(cells.iter().map(|cell| cell.text.as_str()).collect());
        }
        text
    }
}

fn paint(cell: &Cell, colour: bool) -> String {
    let code = match cell.tone {
        _ if !colour || cell.text.is_empty() => return cell.text.clone(),
        Tone::Plain => return cell.text.clone(),
        Tone::Good => "32",
        Tone::Bad => "1;31",
        Tone::Dim => "2",
    };
    format!("\x1b[{code}m{}\x1b[0m", cell.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("T", &["name", ">n"]);
        table.rows.push(vec!["a".into(), Cell::new("1", Tone::Good)]);
        table.rows.push(vec!["µs longer".into(), "23".into()]);
        table
    }

    #[test]
    fn columns_stand_under_each_other() {
        assert_eq!(table().text(false), "T\n  name        n\n  a           1\n  µs longer  23\n");
    }

    #[test]
    fn colours_change_no_width() {
        let mut painted = table().text(true);
        for code in ["\x1b[32m", "\x1b[2m", "\x1b[0m"] {
            assert!(painted.contains(code));
            painted = painted.replace(code, "");
        }
        assert_eq!(painted, table().text(false));
    }

    #[test]
    fn markdown_has_a_line_for_each_row() {
        assert_eq!(table().markdown(), "| name | n |\n| --- | ---: |\n| a | 1 |\n| µs longer | 23 |\n");
    }
}
