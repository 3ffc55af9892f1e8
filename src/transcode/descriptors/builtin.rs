//! Files that need not be in any source.

use std::sync::LazyLock;

use protox::file::{File, FileResolver as _, GoogleFileResolver};

/// The file of the option that makes rules.
pub(super) const ANNOTATIONS: &str = "google/api/annotations.proto";

/// Features of languages, which are of no concern here: their options are not read.
const OF_A_LANGUAGE: &str = "syntax = \"proto2\"; package pb;";

/// Files that services import for their options.
const EMBEDDED: &[(&str, &str)] = &[
    (ANNOTATIONS, include_str!("../../../proto/google/api/annotations.proto")),
    ("google/api/http.proto", include_str!("../../../proto/google/api/http.proto")),
    ("google/api/httpbody.proto", include_str!("../../../proto/google/api/httpbody.proto")),
    ("google/api/field_behavior.proto", include_str!("../../../proto/google/api/field_behavior.proto")),
    ("google/api/resource.proto", include_str!("../../../proto/google/api/resource.proto")),
    ("google/api/client.proto", include_str!("../../../proto/google/api/client.proto")),
    ("google/protobuf/cpp_features.proto", OF_A_LANGUAGE),
    ("google/protobuf/java_features.proto", OF_A_LANGUAGE),
    ("google/protobuf/go_features.proto", OF_A_LANGUAGE),
];

/// The built-in files, parsed once.
static PARSED: LazyLock<Vec<File>> = LazyLock::new(|| {
    EMBEDDED.iter().filter_map(|(name, source)| File::from_source(name, source).ok()).collect()
});

/// A file that is built in, as it is parsed.
pub(super) fn open(name: &str) -> Option<File> {
    match PARSED.iter().find(|file| file.name() == name) {
        Some(file) => Some(file.clone()),
        None => GoogleFileResolver::new().open_file(name).ok(),
    }
}

/// Whether there is one of this name.
pub(super) fn has(name: &str) -> bool {
    let is_known = EMBEDDED.iter().any(|(known, _)| *known == name);
    is_known || (is_built_in(name) && GoogleFileResolver::new().open_file(name).is_ok())
}

/// Whether everybody has a file of this name, in versions that need not be the same.
pub(super) fn is_built_in(name: &str) -> bool {
    name.starts_with("google/protobuf/") || name.starts_with("google/api/")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_that_is_built_in_can_be_parsed() {
        for (name, _) in super::EMBEDDED {
            assert!(super::open(name).is_some() && super::has(name), "{name}");
        }
        assert!(super::open("google/protobuf/any.proto").is_some());
        assert!(super::open("nowhere.proto").is_none() && !super::has("nowhere.proto"));
    }
}
