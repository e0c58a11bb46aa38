//! What the classifier says about a string of statements.

use std::sync::Arc;

use domain::operation::{Access, Effect, Operation};

/// The judgement of one simple-Query string or one Parse text.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// All that the whole string needs and the strictest effect in it. An `EXECUTE` or `FETCH` whose name is not
    /// defined in the string itself counts as the widest class here; [`Classified::resolved`] narrows it.
    pub operation: Operation,
    /// One for each statement, in order; empty for an empty string and for one that cannot be parsed.
    pub statements: Box<[Statement]>,
    /// What the string does to the session, in order.
    pub steps: Box<[Step]>,
    /// After it has run, names may mean something else: the relay reads [`super::CONTEXT_QUERY`] again (also after a
    /// rollback of a transaction in which this was set) before it judges the next statement.
    pub changes_context: bool,
    /// Set when the server will answer with CopyInResponse or CopyOutResponse, or reads or writes a file or program.
    pub copy: Option<CopyKind>,
    /// Why the string could not be parsed, worded for the client. The operation is then the widest.
    pub unparseable: Option<Box<str>>,
    /// What is needed beside the names that [`Classified::resolved`] looks up.
    pub(super) certain: Operation,
    /// No constant in the string has a say in the judgement, so a text that differs in constants only shares it.
    pub(super) constants_free: bool,
}

/// One statement of the string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub tag: &'static str,
    pub effect: Effect,
}

/// What a statement does to the session it runs in.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Transaction(TransactionStep),
    Setting(SettingChange),
    Prepare(Prepared),
    /// Runs the prepared statement of this name. SQL `PREPARE` and protocol Parse share one name space.
    Execute(Arc<str>),
    /// `None`: all.
    Deallocate(Option<Arc<str>>),
    Declare(Cursor),
    /// FETCH or MOVE. Portals of the protocol and cursors share one name space.
    Fetch(Arc<str>),
    /// `None`: all.
    Close(Option<Arc<str>>),
    Listen(Arc<str>),
    /// `None`: all.
    Unlisten(Option<Arc<str>>),
    /// DISCARD ALL: prepared statements, cursors, temporary tables, settings, advisory locks, channels.
    DiscardAll,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionStep {
    Begin {
        read_only: Option<bool>,
    },
    /// SET TRANSACTION.
    Mode {
        read_only: Option<bool>,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(Arc<str>),
    Release(Arc<str>),
    RollbackTo(Arc<str>),
    /// PREPARE TRANSACTION: the session has no transaction afterwards.
    PrepareTransaction(Arc<str>),
    CommitPrepared(Arc<str>),
    RollbackPrepared(Arc<str>),
}

/// SET, RESET or `set_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Lower case; `*` for all (RESET ALL) and where it cannot be told.
    pub name: Arc<str>,
    pub value: SettingValue,
    /// Until the end of the transaction only.
    pub local: bool,
    /// The change would break a setting that the gateway pins ([`super::settings::PINNED`]): refused whatever is granted.
    pub breaks_pin: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingValue {
    /// List elements are joined by `, `.
    Constant(Arc<str>),
    /// Back to what it was at the start of the session.
    Default,
    Unknown,
}

/// SQL `PREPARE`.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    pub name: Arc<str>,
    /// The whole `PREPARE …` statement. The server resolves names again when the search path has changed; so does the
    /// relay, by classifying this text under the new context and taking the operation of its only step.
    pub statement: Arc<str>,
    /// What `EXECUTE` needs.
    pub operation: Operation,
}

/// `DECLARE CURSOR`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    pub name: Arc<str>,
    /// Outlives its transaction.
    pub hold: bool,
    /// What `FETCH` needs: the functions of its query run then.
    pub operation: Operation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    FromStdin,
    ToStdout,
    /// A file of the server or a program on it.
    OnServer,
}

impl Classified {
    /// The operation with `EXECUTE` and `FETCH` resolved. `lookup` gives the operation that stands behind a name:
    /// of a prepared statement for [`Step::Execute`], of a cursor or portal for [`Step::Fetch`]. A name it does not
    /// know keeps the widest class. `None` of the two steps in the string: the operation as it is.
    pub fn resolved(&self, lookup: impl Fn(&Step) -> Option<Operation>) -> Operation {
        let mut accesses: Vec<Access> = self.certain.accesses.to_vec();
        let mut effect = self.certain.effect;
        let mut looked_up = false;
        for (at, step) in self.steps.iter().enumerate() {
            if !matches!(step, Step::Execute(_) | Step::Fetch(_)) || self.defined_before(at, step) {
                continue;
            }
            looked_up = true;
            let Some(found) = lookup(step) else { return self.operation.clone() };
            accesses.extend(found.accesses.iter().cloned());
            effect = effect.max(found.effect);
        }
        if !looked_up {
            return self.operation.clone();
        }
        accesses.sort();
        accesses.dedup();
        Operation { tag: self.operation.tag.clone(), accesses: accesses.into(), effect }
    }

    /// The string itself gave this name its meaning earlier.
    fn defined_before(&self, at: usize, step: &Step) -> bool {
        self.steps[..at].iter().rev().any(|earlier| match (step, earlier) {
            (Step::Execute(name), Step::Prepare(prepared)) => *name == prepared.name,
            (Step::Fetch(name), Step::Declare(cursor)) => *name == cursor.name,
            _ => false,
        })
    }

    /// The string begins, ends or changes a transaction by itself.
    pub fn controls_transaction(&self) -> bool {
        self.transaction().next().is_some()
    }

    pub fn transaction(&self) -> impl Iterator<Item = &TransactionStep> {
        self.steps.iter().filter_map(|s| if let Step::Transaction(t) = s { Some(t) } else { None })
    }

    pub fn settings(&self) -> impl Iterator<Item = &SettingChange> {
        self.steps.iter().filter_map(|s| if let Step::Setting(c) = s { Some(c) } else { None })
    }

    /// The first change that the gateway refuses whatever is granted.
    pub fn broken_pin(&self) -> Option<&SettingChange> {
        self.settings().find(|c| c.breaks_pin)
    }
}
