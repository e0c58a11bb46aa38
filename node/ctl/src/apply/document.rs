//! Reads files and folders into typed documents. Every fault is told with file and line, all of them at once.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use yaml_serde::Deserializer;

use super::spec::{AgentSpec, CredentialSpec, Document, GrantSpec, JobSpec, PersonSpec, RetentionSpec, RoleSpec, TargetSpec, TriggerSpec};
use crate::outcome::Failure;

/// Bytes of one file: a megabyte of YAML is thousands of entities.
const FILE_SIZE_MAX: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) spec: Spec,
    /// Where it stands, `FILE:LINE`.
    pub(crate) place: String,
    /// What relative paths in it are relative to.
    pub(crate) folder: PathBuf,
}

#[derive(Debug)]
pub(crate) enum Spec {
    Agent(AgentSpec),
    Person(PersonSpec),
    Target(TargetSpec),
    Credential(CredentialSpec),
    Role(RoleSpec),
    Job(JobSpec),
    Grant(GrantSpec),
    Retention(RetentionSpec),
    Trigger(Box<TriggerSpec>),
}

impl Spec {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Spec::Agent(_) => "Agent",
            Spec::Person(_) => "Person",
            Spec::Target(_) => "Target",
            Spec::Credential(_) => "Credential",
            Spec::Role(_) => "Role",
            Spec::Job(_) => "Job",
            Spec::Grant(_) => "Grant",
            Spec::Retention(_) => "Retention",
            Spec::Trigger(_) => "Trigger",
        }
    }
}

/// # Errors
/// A usage failure that lists every fault of every file.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Declared>, Failure> {
    let mut all: Vec<Declared> = Vec::new();
    let mut faults = Vec::new();
    for path in files(paths)? {
        let size = std::fs::metadata(&path).map_or(0, |m| m.len());
        if size > FILE_SIZE_MAX {
            faults.push(format!("{}: has {size} bytes; {FILE_SIZE_MAX} at most", path.display()));
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|e| Failure::of_file(&path, e))?;
        for document in parse(&path, &text) {
            match document {
                Ok(declared) => match all.iter().find(|d| d.spec.kind() == declared.spec.kind() && d.name == declared.name) {
                    Some(other) => faults.push(format!(
                        "{}: {} {} is declared twice, first at {}",
                        declared.place,
                        declared.spec.kind(),
                        declared.name,
                        other.place
                    )),
                    None => all.push(declared),
                },
                Err(fault) => faults.push(fault),
            }
        }
    }
    if faults.is_empty() { Ok(all) } else { Err(Failure::usage(faults.join("\n"))) }
}

/// The files themselves, and those of folders in the order of their names.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        if !std::fs::metadata(path).map_err(|e| Failure::of_file(path, e))?.is_dir() {
            all.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|e| Failure::of_file(path, e))? {
            let file = entry.map_err(|e| Failure::of_file(path, e))?.path();
            if file.is_file() && file.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") {
                inside.push(file);
            }
        }
        inside.sort();
        all.extend(inside);
    }
    Ok(all)
}

/// Each document is cut out by its lines, so that a fault in one does not hide the next, and lines count from the
/// beginning of the file.
fn parse(path: &Path, text: &str) -> Vec<Result<Declared, String>> {
    documents(text).into_iter().filter_map(|(first, body)| parse_one(path, first, &body).transpose()).collect()
}

/// The first line of each document, counted from 1, and its text.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut all = vec![(1, String::new())];
    for (number, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            all.push((number + 2, String::new()));
        } else if let Some((_, body)) = all.last_mut() {
            body.push_str(line);
            body.push('\n');
        }
    }
    all
}

#[derive(Deserialize)]
struct Head {
    kind: Option<String>,
}

fn parse_one(path: &Path, first: usize, body: &str) -> Result<Option<Declared>, String> {
    let fault = |e: yaml_serde::Error| {
        let line = e.location().map_or(first, |at| first + at.line().saturating_sub(1));
        // The library's own position counts from the document; ours from the file.
        let text = e.to_string();
        let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
        format!("{}:{line}: {text}", path.display())
    };
    if body.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(None);
    }
    let head = Head::deserialize(Deserializer::from_str(body)).map_err(|e| {
        // The library would show the text; a file given by mistake may be a secret.
        let is_no_mapping = e.to_string().starts_with("invalid type");
        if is_no_mapping { format!("{}:{first}: not a document with kind, name and spec", path.display()) } else { fault(e) }
    })?;
    let kind = head.kind.ok_or_else(|| format!("{}:{first}: the document has no kind", path.display()))?;
    let (name, spec) = match kind.as_str() {
        "Agent" => typed(body, Spec::Agent),
        "Person" => typed(body, Spec::Person),
        "Target" => typed(body, Spec::Target),
        "Credential" => typed(body, Spec::Credential),
        "Role" => typed(body, Spec::Role),
        "Job" => typed(body, Spec::Job),
        "Grant" => typed(body, Spec::Grant),
        "Retention" => typed(body, Spec::Retention),
        "Trigger" => typed(body, |spec| Spec::Trigger(Box::new(spec))),
        other => {
            let kinds = "Agent, Person, Target, Credential, Role, Job, Grant, Retention or Trigger";
            return Err(format!("{}:{first}: the kind {other:?} is not one of {kinds}", path.display()));
        }
    }
    .map_err(fault)?;
    let place = format!("{}:{first}", path.display());
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(Some(Declared { name, spec, place, folder }))
}

fn typed<S: DeserializeOwned>(body: &str, wrap: fn(S) -> Spec) -> Result<(String, Spec), yaml_serde::Error> {
    let document = Document::<S>::deserialize(Deserializer::from_str(body))?;
    Ok((document.name, wrap(document.spec)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        let found: Vec<String> = parse(Path::new("f.yaml"), text)
            .into_iter()
            .map(|d| d.map_or_else(|fault| fault, |d| format!("{} {} at {}", d.spec.kind(), d.name, d.place)))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn a_file_that_is_no_document_is_not_shown() {
        for text in ["hunter2\n", "- hunter2\n"] {
            let found = parse(Path::new("f.yaml"), text).remove(0).expect_err("a fault");
            assert_eq!(found, "f.yaml:1: not a document with kind, name and spec");
        }
    }

    #[test]
    fn documents_know_where_they_stand() {
        check(
            "# people\n---\nkind: Person\nname: alice\nspec: {}\n---\nkind: Role\nname: reader\nspec:\n  permissions: [\"postgres:select on *.*.*\"]\n",
            &["Person alice at f.yaml:3", "Role reader at f.yaml:7"],
        );
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        check(
            "kind: Agent\nname: bot\nspec:\n  owner: alice\n  onwer: bob\n",
            &["f.yaml:5: spec: unknown field `onwer`, expected one of `owner`, `backupOwner`, `job`, `active`, `labels`"],
        );
    }

    #[test]
    fn one_fault_does_not_hide_another() {
        check(
            "kind: Agnet\nname: bot\n---\nname: bot\n---\nkind: Agent\nname: bot\nspec: {}\n",
            &[
                "f.yaml:1: the kind \"Agnet\" is not one of Agent, Person, Target, Credential, Role, Job, Grant, Retention or Trigger",
                "f.yaml:4: the document has no kind",
                "f.yaml:8: spec: missing field `owner`",
            ],
        );
    }
}
