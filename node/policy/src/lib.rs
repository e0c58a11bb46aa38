//! Policy in Rego: bundles in OPA's layout, checked when they are published, evaluated within a budget.
//!
//! The only crate that knows `regorus`. What it must **not** know: sockets, files, tokio, tonic, the replicated state's
//! making. It is handed bundles and questions, and answers with a [`Ruling`](domain::policy::Ruling), which can only
//! take away. What it cannot tell it refuses. The documents a policy reads and writes are described in the README
//! beside this crate.

pub mod bundle;
pub mod document;
pub mod limits;
pub mod recorded;

mod answer;
mod check;
mod compiled;
mod engine;
mod value;

pub use bundle::Bundle;
pub use check::{Checked, check};
pub use compiled::{Compiled, TestResult};
pub use engine::Engine;

/// What is wrong with a bundle: where, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// Path in the bundle; empty for the bundle as a whole.
    pub file: String,
    /// From 1; 0 where it is about the whole file.
    pub line: u32,
    pub message: String,
}

impl Fault {
    pub(crate) fn whole(message: impl Into<String>) -> Fault {
        Fault { file: String::new(), line: 0, message: message.into() }
    }

    pub(crate) fn of(file: &str, message: impl Into<String>) -> Fault {
        Fault { file: file.to_owned(), line: 0, message: message.into() }
    }

    pub(crate) fn at(file: &str, line: u32, message: impl Into<String>) -> Fault {
        Fault { file: file.to_owned(), line, message: message.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => f.write_str(&self.message),
            (file, 0) => write!(f, "{file}: {}", self.message),
            (file, line) => write!(f, "{file}:{line}: {}", self.message),
        }
    }
}
