//! What names mean in the session: asked of the server, forgotten when a statement may have changed it.
//!
//! The question goes over the session's own connection as messages of the extended protocol under reserved names, so
//! that it can stand inside a pipeline (ended by Flush) as well as between statements (ended by Sync), and leaves the
//! client's unnamed statement alone. The client sees nothing of it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use ::session::road::Road;
use bytes::{Bytes, BytesMut};

use super::Session;
use super::pipeline::Expect;
use crate::codec::frontend::Subject;
use crate::codec::{Backend, Frontend, TransactionStatus};
use crate::operation::settings::PINNED;
use crate::operation::{CONTEXT_QUERY, Context};

const CONTEXT_NAME: &str = "assize:context";

/// The question, with what else an approval is bound to: effective role and search path.
static QUESTION: LazyLock<Bytes> = LazyLock::new(|| {
    let text = format!("{CONTEXT_QUERY}, current_user::pg_catalog.text, pg_catalog.current_setting('search_path')");
    let mut out = BytesMut::new();
    let (parse, bind) = (bare(b'P', &[CONTEXT_NAME, &text], 1), bare(b'B', &[CONTEXT_NAME, CONTEXT_NAME], 3));
    out.extend_from_slice(&parse);
    out.extend_from_slice(&bind);
    let rest = [
        Frontend::Execute { portal: CONTEXT_NAME, rows: 0 },
        Frontend::Close { subject: Subject::Portal, name: CONTEXT_NAME },
        Frontend::Close { subject: Subject::Statement, name: CONTEXT_NAME },
    ];
    rest.iter().for_each(|message| message.write(&mut out).expect("short messages"));
    out.freeze()
});

/// A message of strings followed by empty lists, each a count of zero.
fn bare(tag: u8, strings: &[&str], empty_lists: usize) -> Bytes {
    let mut out = BytesMut::new();
    crate::codec::write::message(&mut out, tag, |out| {
        strings.iter().for_each(|s| crate::codec::write::cstr(out, s));
        out.extend_from_slice(&[0, 0].repeat(empty_lists));
    });
    out.freeze()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Unknown,
    Asked,
    Known,
}

/// What is known of the session at the server.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) context: Arc<Context>,
    /// Counts changes of `context`: what was read under an older one is read again.
    pub(super) generation: u64,
    freshness: Freshness,
    /// It changed inside the transaction that is open, so its end may change it back.
    changed_in_transaction: bool,
    role: String,
    search_path: String,
    /// As the server reports them.
    parameters: BTreeMap<String, String>,
    /// Name and value of what an approval is bound to, in a fixed order.
    bound: Vec<(String, String)>,
}

impl Known {
    pub(super) fn new(database: &str, parameters: Vec<(String, String)>) -> Self {
        Known {
            context: Arc::new(Context::unknown(database)),
            generation: 0,
            freshness: Freshness::Unknown,
            changed_in_transaction: false,
            role: String::new(),
            search_path: String::new(),
            parameters: parameters.into_iter().collect(),
            bound: Vec::new(),
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.freshness == Freshness::Known
    }

    pub(super) fn is_asked(&self) -> bool {
        self.freshness == Freshness::Asked
    }

    /// A statement may have changed it.
    pub(super) fn forget(&mut self) {
        self.freshness = Freshness::Unknown;
        self.changed_in_transaction = true;
    }

    /// The question did not reach the server, or was not answered.
    pub(super) fn not_asked(&mut self) {
        if self.is_asked() {
            self.freshness = Freshness::Unknown;
        }
    }

    /// What the end of the open transaction, or of a part of it, may take back.
    pub(super) fn may_be_taken_back(&self) -> bool {
        self.changed_in_transaction
    }

    /// A transaction is over.
    pub(super) fn transaction_over(&mut self) {
        if self.changed_in_transaction {
            self.changed_in_transaction = false;
            self.freshness = Freshness::Unknown;
        }
    }

    /// Until the server was asked, every unqualified name may mean anything.
    pub(super) fn unknown_context(&self) -> Arc<Context> {
        Arc::new(Context::unknown(self.context.database.clone()))
    }

    /// One row: database, schemas, temporary relations, shadowed functions, role, search path; all as text.
    /// `false` if it is not that.
    pub(super) fn learn(&mut self, row: &[Option<&str>]) -> bool {
        let [Some(database), Some(schemas), Some(temporary), Some(shadowed), Some(role), Some(search_path)] = row else { return false };
        let (Some(schemas), Some(temporary), Some(shadowed)) = (array(schemas), array(temporary), array(shadowed)) else { return false };
        let mut context = Context::with_schemas(*database, schemas);
        context.temporary = temporary.into_iter().map(Arc::from).collect();
        // Any text that could place the temporary schema, however it is quoted or spelt (`pg_temp`, `pg_temp_3`).
        context.temporary_first = !search_path.to_ascii_lowercase().contains("pg_temp");
        context.shadowed = shadowed.into_iter().map(Arc::from).collect();
        if context != *self.context {
            self.context = Arc::new(context);
            self.generation += 1;
        }
        (*role).clone_into(&mut self.role);
        (*search_path).clone_into(&mut self.search_path);
        self.freshness = Freshness::Known;
        self.bind();
        true
    }

    /// The server says that a parameter has a new value.
    ///
    /// # Errors
    /// The name, if that breaks a pin.
    pub(super) fn reported<'a>(&mut self, name: &'a str, value: &str) -> Result<(), &'a str> {
        let value_read = value.to_ascii_lowercase();
        let breaks = PINNED.iter().any(|(pinned, allowed)| *pinned == name && !allowed.contains(&value_read.as_str()));
        self.parameters.insert(name.to_owned(), value.to_owned());
        self.bind();
        if breaks { Err(name) } else { Ok(()) }
    }

    fn bind(&mut self) {
        let reported = |name: &str| self.parameters.get(name).cloned().unwrap_or_default();
        self.bound = binding(&self.context.database, &self.role, &self.search_path, reported);
    }

    /// What an approval is bound to beside the statement.
    pub(super) fn bound(&self) -> Vec<(&str, &str)> {
        self.bound.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
    }
}

/// Database, role, search path and pinned settings, in the order of a digest.
fn binding(database: &str, role: &str, search_path: &str, reported: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let pinned = ["client_encoding", "standard_conforming_strings", "session_authorization"];
    let first = [("database", database), ("role", role), ("search_path", search_path)].map(|(name, value)| (name, value.to_owned()));
    let rest = pinned.map(|name| (name, reported(name)));
    first.into_iter().chain(rest).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What an approval is bound to in a session that changed nothing, of a user for whom the target changed nothing: a
/// statement can be asked for before there is a session. Where the target has it otherwise, the approval fits no
/// session, and the statement is held as if nobody had asked.
pub fn ordinary_context(database: &str, username: &str) -> Vec<(String, String)> {
    binding(database, username, "\"$user\", public", |name| match name {
        "client_encoding" => "UTF8".to_owned(),
        "standard_conforming_strings" => "on".to_owned(),
        _ => username.to_owned(),
    })
}

impl Session {
    /// Is it certain what names mean to the next statement? If not, asks, and the client's messages wait.
    pub(super) fn meaning_is_settled(&mut self, road: &mut Road) -> bool {
        if self.pipeline.changes_meaning() || (self.known.may_be_taken_back() && self.pipeline.may_take_back()) {
            if !self.flush_sent && !self.pipeline.changes_settle_by_themselves() {
                self.flush_sent = true;
                road.outward.tie(0);
                road.outward.push(&message(Frontend::Flush), 0);
            }
            return false;
        }
        if self.known.is_fresh() {
            return true;
        }
        if self.status == TransactionStatus::Failed && !self.group_open && !self.pipeline.has_running() {
            // The server answers no question now. Names stay unknown, which needs the widest permission; ROLLBACK
            // needs none.
            return true;
        }
        if !self.known.is_asked() {
            self.ask(road);
        }
        false
    }

    fn ask(&mut self, road: &mut Road) {
        self.known.freshness = Freshness::Asked;
        let sync = !self.group_open;
        road.outward.tie(0);
        road.outward.push(&QUESTION, 0);
        road.outward.push(&message(if sync { Frontend::Sync } else { Frontend::Flush }), 0);
        self.pipeline.push(Expect::Context { sync, closes: 2 });
    }

    /// A reply that belongs to the question. `false` if it cannot.
    pub(super) fn context_reply(&mut self, tag: u8, body: &[u8]) -> bool {
        match Backend::parse_parts(tag, body) {
            Ok(Backend::DataRow(values)) => {
                let row: Option<Vec<Option<&str>>> = values.iter().map(|v| v.map(|v| std::str::from_utf8(v)).transpose().ok()).collect();
                row.is_some_and(|row| self.known.learn(&row))
            }
            Ok(Backend::ParseComplete | Backend::BindComplete | Backend::CommandComplete { .. } | Backend::CloseComplete) => true,
            Ok(_) | Err(_) => false,
        }
    }
}

pub(super) fn message(message: Frontend<'_>) -> Bytes {
    let mut out = BytesMut::new();
    message.write(&mut out).expect("a short message");
    out.freeze()
}

/// A `text[]` in PostgreSQL's text form: `{a,"b \"c\"",NULL}`. `None` if it is not one of one dimension.
fn array(text: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let mut chars = inner.chars().peekable();
    while chars.peek().is_some() {
        let mut item = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => item.push(chars.next()?),
                    other => item.push(other),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                if c == '{' || c == '}' {
                    return None;
                }
                item.push(c);
            }
        }
        items.push(item);
        match chars.next() {
            None => break,
            Some(',') => {}
            Some(_) => return None,
        }
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_session_is_bound_to_what_was_said_before_it() {
        let reported = [("client_encoding", "UTF8"), ("standard_conforming_strings", "on"), ("session_authorization", "gateway")];
        let mut known = Known::new("app", reported.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
        assert!(known.learn(&["app", "{public}", "{}", "{}", "gateway", "\"$user\", public"].map(Some)));
        let ordinary = ordinary_context("app", "gateway");
        assert_eq!(known.bound(), ordinary.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>());
    }

    #[test]
    fn arrays_of_names() {
        let check = |text: &str, expect: Option<&[&str]>| {
            assert_eq!(array(text), expect.map(|e| e.iter().map(|s| (*s).to_owned()).collect()), "{text}");
        };
        check("{}", Some(&[]));
        check("{public}", Some(&["public"]));
        check(r#"{public,"a b","c\"d\\e","x,y"}"#, Some(&["public", "a b", "c\"d\\e", "x,y"]));
        check("{{a},{b}}", None);
        check("public", None);
        check(r#"{"open}"#, None);
    }
}
