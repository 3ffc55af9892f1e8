//! Comments of the `.proto` files on their definitions, where the descriptors still have them.

use std::collections::HashMap;

use prost_reflect::FileDescriptor;
use serde_json::Value;

/// By the path of a definition in its file.
type Places = HashMap<Vec<i32>, String>;

/// Comments by file and place in it, read when the first of a file is asked for.
#[derive(Debug, Default)]
pub(super) struct Comments {
    files: HashMap<String, Vec<(FileDescriptor, Places)>>,
}

impl Comments {
    /// What stands above a definition, or else behind it.
    pub(super) fn of(&mut self, file: &FileDescriptor, path: &[i32]) -> Option<&str> {
        let versions = self.files.entry(file.name().to_owned()).or_default();
        let at = versions.iter().position(|(known, _)| known == file).unwrap_or_else(|| {
            versions.push((file.clone(), read(file)));
            versions.len() - 1
        });
        versions[at].1.get(path).map(String::as_str)
    }
}

fn read(file: &FileDescriptor) -> Places {
    let mut comments = HashMap::new();
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    for location in info.into_iter().flat_map(|info| &info.location) {
        let above = tidy(location.leading_comments());
        let text = if above.is_empty() { tidy(location.trailing_comments()) } else { above };
        if !text.is_empty() {
            comments.insert(location.path.clone(), text);
        }
    }
    comments
}

/// Without the space that follows the slashes.
fn tidy(comment: &str) -> String {
    let lines: Vec<&str> =
        comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}

/// A value with a description, if there is one.
pub(super) fn described(mut value: Value, comment: Option<&str>) -> Value {
    if let (Some(comment), Some(fields)) = (comment, value.as_object_mut()) {
        fields.insert("description".to_owned(), comment.into());
    }
    value
}
