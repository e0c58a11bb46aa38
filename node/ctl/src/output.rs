//! What is printed: tables for people, proto3 JSON for programs. Notes to people go to standard error, so that JSON
//! stays whole.

use std::io::Write;

use serde::Serialize;

use crate::outcome::Failure;
use crate::text::plain;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

pub(crate) struct Output<'a> {
    format: Format,
    out: &'a mut (dyn Write + Send),
}

impl<'a> Output<'a> {
    pub(crate) fn new(format: Format, out: &'a mut (dyn Write + Send)) -> Output<'a> {
        Output { format, out }
    }

    pub(crate) fn writer(&mut self) -> &mut (dyn Write + Send) {
        self.out
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// The message as JSON, or what people read of it.
    pub(crate) fn show<T: Serialize>(&mut self, message: &T, people: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(message).map_err(|e| Failure::failed(format!("JSON: {e}")))? + "\n",
            Format::Table => people(message),
        };
        self.print(&text)
    }

    /// One item of a stream: a line of JSON, or a line for people.
    pub(crate) fn item<T: Serialize>(&mut self, message: &T, people: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let text = match self.format {
            Format::Json => serde_json::to_string(message).map_err(|e| Failure::failed(format!("JSON: {e}")))?,
            Format::Table => people(message),
        };
        self.print(&(text + "\n"))
    }

    /// For people only.
    pub(crate) fn say(&mut self, text: &str) -> Result<(), Failure> {
        if self.is_json() { Ok(()) } else { self.print(&format!("{text}\n")) }
    }

    fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()?;
        Ok(())
    }
}

/// Columns as wide as their widest cell. Cells are made harmless: nothing that a node stored can move the cursor.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|h| (*h).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| if cell.is_empty() { "-".into() } else { plain(&cell) }).collect());
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Name and value, one a line; empty values are left out.
pub(crate) fn fields(pairs: &[(&str, String)]) -> String {
    let shown: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty() && value != "-").collect();
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    shown.iter().fold(String::new(), |text, (name, value)| text + &format!("{name:width$}  {}\n", plain(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_cells_are_harmless() {
        let mut table = Table::new(&["NAME", "OWNER"]);
        table.row(["bot".into(), "alice".into()]);
        table.row(["a\u{1b}[2J".into(), String::new()]);
        assert_eq!(
            table.render(),
            "NAME       OWNER\nbot        alice\na\\u{1b}[2J  -\n"
                .replace("NAME       ", "NAME        ")
                .replace("bot        ", "bot         ")
        );
    }
}
