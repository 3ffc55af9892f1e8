//! The results of a measurement, before they are written.

use serde_json::Value;

use super::plot::Plot;
use super::table::Table;

/// What a measurement has to say.
#[derive(Debug, Default)]
pub struct Document {
    /// What was measured.
    pub title: String,
    /// Sentences above the tables: where and how.
    pub facts: Vec<String>,
    /// The tables.
    pub tables: Vec<Table>,
    /// Sentences below the tables: what it means.
    pub conclusions: Vec<String>,
    /// The plots, for HTML only.
    pub plots: Vec<Plot>,
    /// All of it for programs.
    pub json: Value,
}
