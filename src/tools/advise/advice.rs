//! A piece of advice, and the place in the configuration that it is for.

/// A piece of advice.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// The table it goes into.
    pub place: Place,
    /// The key, and the value in TOML; `None` when nothing can be said, or nothing needs to be set.
    pub setting: Option<(&'static str, String)>,
    /// The subject, in a word.
    pub about: &'static str,
    /// The observation, in words.
    pub seen: String,
    /// The rule that leads from the observation to the value.
    pub rule: String,
}

/// A table of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `[[routes]]` of this name, for this cluster.
    Route(String, String),
    /// `[[clusters]]` of this name, and the table within it, if any.
    Cluster(String, &'static str),
    /// `[[clusters.methods]]` of this cluster and path, and the table within it, if any.
    Method(String, String, &'static str),
}
