//! The query of a request: the part behind the question mark.

/// The pairs of a query, decoded, in order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Query {
        Query(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// All keys with their values, in order.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The first value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every value of a key.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let query = Query::parse("explain=%2Fa.B%2FC&header=x:1&header=y:a+b&flag&&odd=%zz%4");
        assert_eq!(query.get("explain"), Some("/a.B/C"));
        assert_eq!(query.all("header").collect::<Vec<_>>(), ["x:1", "y:a b"]);
        assert_eq!((query.get("flag"), query.get("odd"), query.get("none")), (Some(""), Some("%zz%4"), None));
    }
}
