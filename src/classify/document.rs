//! `docs/classification.md`, written from the tables.

/// The document.
pub fn document() -> String {
    String::new()
}
