//! Comments of the `.proto` files on their definitions, where the descriptors still have them.

use std::collections::HashMap;

use prost_reflect::FileDescriptor;
use serde_json::Value;

use super::super::api::Api;
use super::super::comments::Comments;

/// Comments by file; those that the descriptors have are read when the first of a file is asked for.
#[derive(Debug)]
pub(super) struct AllComments<'a> {
    api: &'a Api,
    files: HashMap<String, Vec<(FileDescriptor, Comments)>>,
}

impl<'a> AllComments<'a> {
    pub(super) fn new(api: &'a Api) -> Self {
        Self { api, files: HashMap::new() }
    }

    /// The comment above a definition, or else behind it.
    pub(super) fn of(&mut self, file: &FileDescriptor, path: &[i32]) -> Option<&str> {
        if let Some(comments) = self.api.comments(file) {
            return comments.at(path);
        }
        let versions = self.files.entry(file.name().to_owned()).or_default();
        let at = versions.iter().position(|(known, _)| known == file).unwrap_or_else(|| {
            let comments = Comments::of(file.file_descriptor_proto().source_code_info.as_ref());
            versions.push((file.clone(), comments));
            versions.len() - 1
        });
        versions[at].1.at(path)
    }
}

/// A value with a description, if there is one.
pub(super) fn described(mut value: Value, comment: Option<&str>) -> Value {
    if let (Some(comment), Some(fields)) = (comment, value.as_object_mut()) {
        fields.insert("description".to_owned(), comment.into());
    }
    value
}
