//! The results of a measurement, before they are written.

use serde_json::Value;

use super::plot::Plot;
use super::table::Table;

/// The document of a measurement: its facts, tables and plots.
#[derive(Debug, Default)]
pub struct Document {
    /// The subject of the measurement.
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
