//! What is refused, and the words for it: one line for each kind of error.

use super::super::spelling;
use super::{CLUSTER, LISTENER, ROUTE, check, cluster, errors, listener, route, top};

#[test]
fn toml_itself() {
    check(
        top,
        &[
            ("workers = = 3", "1:9: not valid TOML: extra `=`, expected nothing"),
            ("workers = 1\nworkers = 2", "2:1: not valid TOML: duplicate key"),
        ],
    );
}
