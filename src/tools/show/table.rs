//! Tables whose columns stand under each other. Words are folded and numbers never, and Markdown aligns numbers to the
//! right: `comfy-table` does neither.

use std::fmt::Write as _;

/// The columns of a terminal that a table takes at most.
pub const WIDTH_MAX: usize = 100;

/// The narrowest that a column of words becomes.
const NARROWEST: usize = 12;

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

    /// Aligned text of at most [`WIDTH_MAX`] columns, with colours or without. Where words do not fit they go on in the
    /// next line.
    pub fn text(&self, colour: bool) -> String {
        let widths = self.widths();
        let mut text = String::new();
        if !self.title.is_empty() {
            let _ = writeln!(text, "{}", self.title);
        }
        let heads: Vec<Cell> = self.columns.iter().map(|column| Cell::new(column.name, Tone::Dim)).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let cells = row.iter().zip(&widths);
            let cells: Vec<Vec<Cell>> = cells.map(|(cell, width)| folded(cell, *width)).collect();
            for number in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
                let mut line = String::new();
                for ((cell, column), width) in cells.iter().zip(&self.columns).zip(&widths) {
                    let nothing = Cell::default();
                    let cell = cell.get(number).unwrap_or(&nothing);
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
        }
        text
    }

    /// The widths of the columns. Those of the widest words give way until all fit.
    fn widths(&self) -> Vec<usize> {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.chars().count());
            cells.fold(self.columns[at].name.chars().count(), usize::max)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        loop {
            let all: usize = widths.iter().map(|width| width + 2).sum();
            let words = (0..widths.len()).filter(|at| self.columns[*at].align == Align::Left);
            let widest = words.max_by_key(|at| widths[*at]).filter(|at| widths[*at] > NARROWEST);
            let Some(widest) = widest.filter(|_| all > WIDTH_MAX) else { return widths };
            widths[widest] -= (all - WIDTH_MAX).min(widths[widest] - NARROWEST).clamp(1, 8);
        }
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

fn folded(cell: &Cell, width: usize) -> Vec<Cell> {
    fold(&cell.text, width).into_iter().map(|text| Cell { text, tone: cell.tone }).collect()
}

/// The lines of a text, none of them wider than this. A word that is wider is cut, behind a slash if it has one.
pub fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        if line.chars().count() + word.trim_end().chars().count() > width && !line.trim().is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        line += word;
        while line.trim_end().chars().count() > width.max(1) {
            let most = line.char_indices().nth(width.max(1)).map_or(line.len(), |(at, _)| at);
            let rest = line.split_off(line[..most].rfind('/').map_or(most, |slash| slash + 1));
            lines.push(std::mem::replace(&mut line, rest));
        }
    }
    lines.push(line);
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
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
    fn a_wide_table_is_folded() {
        let mut table = Table::new("", &["check", "how", ">n"]);
        let how = "in an open loop of so many calls that the sentence about it does not fit on one line of a terminal";
        table.rows.push(vec!["latency".into(), how.into(), "1,000".into()]);
        table.rows.push(vec!["a-word-without-a-blank-".repeat(6).into(), "short".into(), "2".into()]);
        let text = table.text(false);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH_MAX), "{text}");
        let joined: String = text.split_whitespace().collect();
        assert!(joined.contains(&how.replace(' ', "")[..20]) && joined.contains("1,000"), "{text}");
    }

    #[test]
    fn a_long_path_is_cut_behind_a_slash() {
        assert_eq!(fold("GET /a.b.C/Method as x", 12), ["GET", "/a.b.C/", "Method as x"]);
        assert_eq!(fold("/a.b.C/Method", 9), ["/a.b.C/", "Method"]);
        assert_eq!(fold("abcdefgh", 3), ["abc", "def", "gh"]);
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
