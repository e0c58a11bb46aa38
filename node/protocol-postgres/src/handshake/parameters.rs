//! Start-up parameters: an allow-list (THREATS 28). What is not on it is refused by name, so that nothing reaches the
//! target that nobody looked at.

use std::collections::BTreeMap;

use domain::id::{Name, RunId};
use domain::refusal::Refusal;

use super::Listening;

/// Settings a client may choose for its session: how values look, how long it waits. None changes how statements are
/// read, whose they are, or what is logged. `search_path` changes what names mean: the session counts it as context.
const SETTINGS: &[&str] = &[
    "bytea_output",
    "client_min_messages",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "plan_cache_mode",
    "search_path",
    "statement_timeout",
    "timezone",
    "transaction_timeout",
    "xmlbinary",
];
/// Characters of `application_name` that are kept; PostgreSQL's own limit (`NAMEDATALEN` − 1).
const APPLICATION_LENGTH_MAX: usize = 63;

/// The gateway's own setting, in the start-up packet or in `options`. It ends here: no target is told of it.
const RUN_SETTING: &str = "assize.run";
/// What an `application_name` begins with that names a run: `run:ID`, or `run:ID` and a space before the client's own name.
const RUN_PREFIX: &str = "run:";

/// A start-up packet that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// As sent. Whether there is such a principal is for login to find out.
    pub user: String,
    /// `None`: nothing that could be a target was named. Only said after login.
    pub target: Option<Name>,
    /// `None`: the target's default.
    pub database: Option<String>,
    /// Printable ASCII, at most 63 characters; not trusted.
    pub application: String,
    /// The run of the agent's loop, where the client names one.
    pub run: Option<RunId>,
    /// Allowed settings by their lower-case names, from the packet and from `options`. Encoding and lexing are not
    /// here: the gateway pins them.
    pub settings: BTreeMap<String, String>,
    pub replication: bool,
    /// `_pq_.` parameters that we do not know.
    pub unrecognized: Vec<String>,
}

impl Opening {
    /// # Errors
    /// [`Refusal::Pinned`] for a setting that may not be chosen or a value of it, [`Refusal::Protocol`] for a packet
    /// without a user, options that do not parse, or a replication start-up; [`Refusal::InvalidRun`] for a run that
    /// is none, or two that differ.
    pub fn check(parameters: Vec<(String, String)>, listening: &Listening) -> Result<Opening, Refusal> {
        let mut opening = Opening {
            user: String::new(),
            target: None,
            database: None,
            application: String::new(),
            run: None,
            settings: BTreeMap::new(),
            replication: false,
            unrecognized: Vec::new(),
        };
        let mut database = None;
        for (name, value) in parameters {
            match name.as_str() {
                "user" => opening.user = value,
                "database" => database = Some(value),
                "options" => {
                    for (name, value) in options(&value)? {
                        opening.setting(&name, value)?;
                    }
                }
                "replication" => opening.replication = replication(&value)?,
                other if other.starts_with("_pq_.") => opening.unrecognized.push(name),
                other => opening.setting(other, value)?,
            }
        }
        if opening.user.is_empty() {
            return Err(Refusal::Protocol { message: "no user name in the start-up packet".into() });
        }
        if opening.replication && !listening.replication {
            return Err(Refusal::Protocol { message: "replication start-ups are not taken here".into() });
        }
        opening.destination(database.filter(|name| !name.is_empty()), listening.target.as_ref());
        Ok(opening)
    }

    /// On a shared listener the database is `TARGET` or `TARGET/DATABASE`; on one bound to a target it passes through.
    fn destination(&mut self, named: Option<String>, bound: Option<&Name>) {
        match (bound, named) {
            (Some(target), named) => {
                self.target = Some(target.clone());
                self.database = named;
            }
            (None, None) => {}
            (None, Some(named)) => match named.split_once('/') {
                None => self.target = named.parse().ok(),
                Some((_, "")) => {}
                Some((target, database)) => {
                    self.target = target.parse().ok();
                    self.database = Some(database.to_owned());
                }
            },
        }
    }

    /// PostgreSQL takes setting names in any case.
    fn setting(&mut self, name: &str, value: String) -> Result<(), Refusal> {
        let name = name.to_ascii_lowercase();
        let pinned = |name| Err(Refusal::Pinned { setting: name });
        match name.as_str() {
            "application_name" => {
                if let Some(named) = value.strip_prefix(RUN_PREFIX) {
                    self.name_run(named.split(' ').next().unwrap_or_default())?;
                }
                let printable = value.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
                self.application = printable.take(APPLICATION_LENGTH_MAX).collect();
                Ok(())
            }
            RUN_SETTING => self.name_run(&value),
            "client_encoding" if is_utf8(&value) => Ok(()),
            "standard_conforming_strings" if is_on(&value) => Ok(()),
            "backslash_quote" if value.eq_ignore_ascii_case("safe_encoding") => Ok(()),
            known if SETTINGS.contains(&known) => {
                self.settings.insert(name, value);
                Ok(())
            }
            _ => pinned(name),
        }
    }

    fn name_run(&mut self, text: &str) -> Result<(), Refusal> {
        let run: RunId = text.parse().map_err(|e: domain::id::InvalidRun| Refusal::InvalidRun { message: e.to_string() })?;
        match &self.run {
            Some(other) if *other != run => {
                Err(Refusal::InvalidRun { message: format!("application_name and {RUN_SETTING} name two: {other} and {run}") })
            }
            Some(_) | None => {
                self.run = Some(run);
                Ok(())
            }
        }
    }
}

/// UTF-8 in any of the spellings PostgreSQL takes. `SQL_ASCII` asks for "whatever there is", which psql does in a C
/// locale; it gets UTF-8 and is told so by ParameterStatus.
fn is_utf8(value: &str) -> bool {
    let clean: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    matches!(clean.to_ascii_lowercase().as_str(), "utf8" | "unicode" | "sqlascii")
}

fn is_on(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1")
}

fn replication(value: &str) -> Result<bool, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "database" | "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(Refusal::Protocol { message: "invalid value for \"replication\"".into() }),
    }
}

/// Command-line options as PostgreSQL splits them: `-c name=value`, `-cname=value`, `--name=value`, with backslash
/// before a space that belongs to a value. Any other switch is refused.
fn options(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let invalid = || Refusal::Protocol { message: "only -c NAME=VALUE and --NAME=VALUE are taken in \"options\"".into() };
    let mut words = split(text).into_iter();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next().ok_or_else(invalid)?
        } else if let Some(rest) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            rest.to_owned()
        } else {
            return Err(invalid());
        };
        let (name, value) = setting.split_once('=').ok_or_else(invalid)?;
        // As PostgreSQL: a dash in a name stands for an underscore.
        found.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(found)
}

fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests;
