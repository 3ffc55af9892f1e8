//! Descriptors that belong together, and what is missing of them.

use std::collections::HashMap;

use prost_reflect::DescriptorPool;

use super::super::comments::Comments;

/// Descriptors that belong together.
#[derive(Debug, Default)]
pub(in crate::transcode) struct Pool {
    pub(in crate::transcode) descriptors: DescriptorPool,
    /// Comments of a source on its definitions, by its name; the descriptors do not have them.
    pub(in crate::transcode) comments: HashMap<String, Comments>,
    /// Messages whose form is not known whole, and why.
    pub(in crate::transcode) incomplete: HashMap<String, String>,
    /// For each reflected file, the service that sent it.
    pub(in crate::transcode) reflected: HashMap<String, String>,
}
