//! Commands that documents tell people to type are commands.

use crate::world::{parses, split};

const CONTROLS: &str = include_str!("../../../../deploy/CONTROLS.md");
const EXPORT: &str = include_str!("../../../../deploy/EXPORT.md");

/// Everything in backquotes that begins with the program's name.
fn quoted(document: &str) -> Vec<&str> {
    document.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|text| text.starts_with("assize ")).collect()
}

/// Lines that are commands, without what a shell makes of their ends.
fn lines(document: &str) -> Vec<&str> {
    let lines = document.lines().filter(|line| line.starts_with("assize "));
    lines.map(|line| line.split(" #").next().unwrap_or(line).split(" >").next().unwrap_or(line).trim()).collect()
}

#[test]
fn every_command_in_the_documents_parses() {
    for (found, least) in [(quoted(CONTROLS), 60), (lines(EXPORT), 2)] {
        assert!(found.len() >= least, "{} commands", found.len());
        let refused = |command: &str| {
            // `a|b|c` is a choice: the first will do.
            let words: Vec<String> =
                split(command).into_iter().skip(1).map(|word| word.split('|').next().unwrap_or_default().into()).collect();
            parses(&words).err().map(|why| format!("{command}: {why}"))
        };
        let refused: Vec<String> = found.into_iter().filter_map(refused).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }
}
