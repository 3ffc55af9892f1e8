//! Files that server reflection has sent.

/// Files that server reflection has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reflected {
    /// The cluster that sent them, for people: `reflection of cluster "echo"`.
    pub origin: String,
    /// Each a `google.protobuf.FileDescriptorProto`.
    pub files: Vec<Vec<u8>>,
    /// Gaps in the responses, each as a sentence.
    pub untold: Vec<String>,
}
