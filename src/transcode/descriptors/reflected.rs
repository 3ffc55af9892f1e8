//! Files that server reflection has answered.

/// Files that server reflection has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reflected {
    /// The answering cluster, for people: `reflection of cluster "echo"`.
    pub origin: String,
    /// Each a `google.protobuf.FileDescriptorProto`.
    pub files: Vec<Vec<u8>>,
    /// Gaps in the answers, each as a sentence.
    pub untold: Vec<String>,
}
