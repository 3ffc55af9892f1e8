//! Other paths for calls: what a route gives to its service, or where it sends a caller.

use std::cell::RefCell;

use crate::config::{PathRewrite, Walk};

/// The longest path that a rewrite may make.
const PATH_BYTES_MAX: usize = 16 * 1024;

/// A rewrite, with the memory that it needs.
#[derive(Debug)]
pub struct Rewriter {
    rewrite: PathRewrite,
    memory: Option<RefCell<Walk>>,
}

impl Rewriter {
    /// A rewrite as configured.
    pub fn new(rewrite: &PathRewrite) -> Rewriter {
        let memory = match rewrite {
            PathRewrite::Prefix { .. } => None,
            PathRewrite::Regex(substitution) => Some(RefCell::new(substitution.memory())),
        };
        Rewriter { rewrite: rewrite.clone(), memory }
    }

    /// Puts the path that this one becomes into `out`. `path` is without its query, and matches its route. False where
    /// that is no path.
    pub fn rewrite(&self, path: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        match (&self.rewrite, &self.memory) {
            (PathRewrite::Prefix { matched, by }, _) => {
                let rest = path.get(*matched..).unwrap_or_default();
                // `/api` of `/api/v1` becomes `/`, and not `//v1` the path.
                let rest = if by.ends_with('/') { rest.strip_prefix(b"/").unwrap_or(rest) } else { rest };
                out.extend_from_slice(by.as_bytes());
                out.extend_from_slice(rest);
            }
            (PathRewrite::Regex(substitution), Some(memory)) => {
                substitution.replace(&mut memory.borrow_mut(), path, out);
            }
            (PathRewrite::Regex(_), None) => return false,
        }
        out.first() == Some(&b'/') && out.len() <= PATH_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Substitution;

    #[test]
    fn a_prefix_or_a_pattern_is_replaced() {
        let prefix =
            |matched: &str, by: &str| PathRewrite::Prefix { matched: matched.len(), by: by.to_owned() };
        let pattern = |pattern: &str, by: &str| {
            PathRewrite::Regex(Substitution::new(pattern, by).expect("a pattern of the test"))
        };
        for (rewrite, path, wanted) in [
            (prefix("/api", "/"), "/api/v1/a", Some("/v1/a")),
            (prefix("/api", "/"), "/api", Some("/")),
            (prefix("/api/", "/"), "/api/v1/a", Some("/v1/a")),
            (prefix("/api", "/v2"), "/api/a", Some("/v2/a")),
            (prefix("/", "/x/"), "/a", Some("/x/a")),
            (prefix("/a.B/", "/c.D/"), "/a.B/Get", Some("/c.D/Get")),
            (pattern("^/v1/", "/v2/"), "/v1/v1/a", Some("/v2/v1/a")),
            (pattern(r"^/(\w+)\.v1\.(\w+)/", r"/\1.v2.\2/"), "/a.v1.B/C", Some("/a.v2.B/C")),
            (pattern("/", ""), "/a", None),
            (pattern("a", "aaaaaaaaaa"), "/aaa", Some("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ] {
            let rewriter = Rewriter::new(&rewrite);
            let mut out = b"left over".to_vec();
            let made = rewriter.rewrite(path.as_bytes(), &mut out);
            assert_eq!(made.then(|| String::from_utf8_lossy(&out).into_owned()).as_deref(), wanted, "{path}");
        }
        let long = format!("/{}", "a".repeat(10_000));
        assert!(!Rewriter::new(&pattern("a", "aa")).rewrite(long.as_bytes(), &mut Vec::new()));
    }
}
