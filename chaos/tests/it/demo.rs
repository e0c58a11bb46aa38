//! What a stranger runs first: the story checks what it shows, so it has only to end well, and to leave nothing behind.

use std::process::Command;

use anyhow::{Result, ensure};
use chaos::cluster::binary;
use chaos::process::run;

#[test]
fn the_demo_holds_what_it_tells_and_cleans_up() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let told = run(Command::new(binary()).arg("demo").env("TMPDIR", folder.path()))?;
    for chapter in ["The agent loop", "Asking for more", "A review", "Revoked means out", "Every step is on record", "Done"] {
        ensure!(told.contains(chapter), "{chapter} is missing in {told}");
    }
    ensure!(std::fs::read_dir(folder.path())?.next().is_none(), "it left files behind");
    Ok(())
}
