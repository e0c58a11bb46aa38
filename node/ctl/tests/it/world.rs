//! One served cluster, and a way to type commands at it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use admin_api::in_memory::{InMemory, Running};
use clap::Parser;
use ctl::{Failure, InitArgs, JoinArgs, LocalOps, RecoverArgs, WitnessInitArgs, WitnessServeArgs};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: ctl::Options,
    #[command(subcommand)]
    command: ctl::Command,
}

/// Prints what it was asked.
pub(crate) struct Echo;

impl LocalOps for Echo {
    fn init(&self, args: InitArgs, out: &mut dyn Write) -> anyhow::Result<()> {
        Ok(writeln!(out, "init {} {}", args.config.display(), args.admin)?)
    }

    fn join(&self, args: JoinArgs, out: &mut dyn Write) -> anyhow::Result<()> {
        Ok(writeln!(out, "join {}", args.peer)?)
    }

    fn recover(&self, _: RecoverArgs, _: &mut dyn Write) -> anyhow::Result<()> {
        anyhow::bail!("no")
    }

    fn witness_init(&self, _: WitnessInitArgs, _: &mut dyn Write) -> anyhow::Result<()> {
        anyhow::bail!("no")
    }

    fn witness_serve(&self, _: WitnessServeArgs, _: &mut dyn Write) -> anyhow::Result<()> {
        anyhow::bail!("no")
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) out: String,
    pub(crate) failure: Option<Failure>,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.failure.is_none(), "{:?}\n{}", self.failure, self.out);
        self.out
    }

    /// The exit status and the words.
    #[track_caller]
    pub(crate) fn failed(self) -> (u8, String) {
        let failure = self.failure.expect("it must fail");
        (failure.exit_code(), failure.to_string())
    }
}

/// Types a command, word by word.
pub(crate) async fn typed(words: &[&str]) -> Ran {
    let cli = match Cli::try_parse_from(std::iter::once("assize").chain(words.iter().copied())) {
        Ok(cli) => cli,
        Err(error) => return Ran { out: String::new(), failure: Some(Failure::usage(error.to_string())) },
    };
    let mut out = Vec::new();
    let failure = ctl::run_to(cli.options, cli.command, &Echo, &mut out).await.err();
    Ran { out: String::from_utf8(out).expect("commands print text"), failure }
}

/// Whether the words after the program's name are a command.
pub(crate) fn parses(words: &[String]) -> Result<(), String> {
    Cli::try_parse_from(std::iter::once("assize").chain(words.iter().map(String::as_str))).map(drop).map_err(|e| e.to_string())
}

pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) token: String,
    pub(crate) addr: String,
}

impl World {
    pub(crate) async fn new() -> World {
        let running = Arc::new(InMemory::found()).serve().await;
        let token = running.cluster.admin_token("admin");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("ca.pem"), &running.certificates.ca_pem).expect("written");
        let addr = running.address.to_string();
        World { running, folder, token, addr }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    /// Types a command as the admin.
    pub(crate) async fn run(&self, words: &[&str]) -> Ran {
        self.run_as(&self.token, words).await
    }

    pub(crate) async fn run_as(&self, token: &str, words: &[&str]) -> Ran {
        let ca = self.path("ca.pem").display().to_string();
        let mut all = vec!["--addr", &self.addr, "--token", token, "--ca", &ca];
        all.extend_from_slice(words);
        typed(&all).await
    }

    /// A person with these grants on `assize`, and their admin token.
    pub(crate) async fn person(&self, name: &str, permission: &str) -> String {
        self.run(&["person", "create", name]).await.ok();
        self.run(&["grant", "create", "--principal", name, "--target", "assize", "-p", permission]).await.ok();
        self.running.cluster.admin_token(name)
    }

    /// The words of a shell line, with `'…'` kept together.
    pub(crate) async fn line(&self, line: &str) -> Ran {
        let words = split(line);
        self.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
    }
}

pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

/// Times of today, and numbers that depend on how many commands came before, made the same.
pub(crate) fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split(' ').map(steady_word).collect();
        out.push_str(&words.join(" "));
        out.push('\n');
    }
    out
}

fn steady_word(word: &str) -> String {
    let is_time = word.len() == 20 && word.ends_with('Z') && word.as_bytes().get(10) == Some(&b'T');
    if is_time {
        return "TIME".into();
    }
    for prefix in ["grant-", "lock-", "token-", "request-", "revocation-"] {
        let digits = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
        if word.strip_prefix(prefix).is_some_and(digits) {
            return format!("{prefix}N");
        }
    }
    word.to_owned()
}
