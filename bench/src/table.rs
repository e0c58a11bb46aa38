//! Markdown tables of medians with their spread.

use std::collections::BTreeMap;

/// Samples by row and column, both kept in the order in which they first came.
pub(crate) struct Table {
    title: String,
    rows: Vec<String>,
    columns: Vec<String>,
    samples: BTreeMap<(String, String), Vec<f64>>,
}

impl Table {
    pub(crate) fn new(title: &str) -> Self {
        Table { title: title.to_owned(), rows: Vec::new(), columns: Vec::new(), samples: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, row: &str, column: &str, value: f64) {
        for (names, name) in [(&mut self.rows, row), (&mut self.columns, column)] {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        self.samples.entry((row.to_owned(), column.to_owned())).or_default().push(value);
    }

    /// Prints the table: the median of each cell's rounds, and the least and greatest.
    pub(crate) fn print(&self) {
        println!("\n### {}\n\n| | {} |\n|---|{}", self.title, self.columns.join(" | "), "---|".repeat(self.columns.len()));
        for row in &self.rows {
            let cells: Vec<String> = self
                .columns
                .iter()
                .map(|column| self.samples.get(&(row.clone(), column.clone())).map_or_else(|| "–".to_owned(), |values| cell(values)))
                .collect();
            println!("| {row} | {} |", cells.join(" | "));
        }
    }
}

fn cell(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = quantile(&sorted, 0.5);
    match (sorted.first(), sorted.last()) {
        (Some(least), Some(greatest)) if sorted.len() > 1 => format!("{} ({}–{})", number(median), number(*least), number(*greatest)),
        _ => number(median),
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Of values in ascending order; the lower middle one for the median of two.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part) as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_shows_the_median_and_the_spread() {
        assert_eq!(cell(&[3.0, 1.0, 2.0]), "2.00 (1.00–3.00)");
        assert_eq!(cell(&[1234.5]), "1234");
        assert_eq!(cell(&[45.67, 12.0, 150.4]), "45.7 (12.0–150)");
    }

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let sorted: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&sorted, 0.5), 50.0);
        assert_eq!(quantile(&sorted, 0.99), 99.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
