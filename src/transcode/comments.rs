//! Comments of a `.proto` file on its definitions.

use std::collections::HashMap;

use prost_reflect::prost_types::SourceCodeInfo;

/// The comments of a file, by the path of a definition in it.
#[derive(Debug, Default)]
pub(super) struct Comments(HashMap<Vec<i32>, String>);

impl Comments {
    pub(super) fn of(info: Option<&SourceCodeInfo>) -> Self {
        let mut comments = HashMap::new();
        for location in info.into_iter().flat_map(|info| &info.location) {
            let above = tidy(location.leading_comments());
            let text = if above.is_empty() { tidy(location.trailing_comments()) } else { above };
            if !text.is_empty() {
                comments.insert(location.path.clone(), text);
            }
        }
        Self(comments)
    }

    /// The comment above a definition, or else behind it.
    pub(super) fn at(&self, path: &[i32]) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }
}

/// Without the space that follows the slashes.
fn tidy(comment: &str) -> String {
    let lines: Vec<&str> =
        comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}
