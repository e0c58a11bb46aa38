//! What an agent tries: an operation, the accesses it needs, and how lasting its effect is.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::{Digest, Index, Name, PolicyId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// The target `assize` itself: administration.
    Assize,
    Postgres,
}

/// What is done to a resource. The verbs of every protocol stand in one list, so that a record can be read without
/// knowing the protocol; which verbs a protocol has is said by [`Verb::of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    // postgres
    Select,
    Insert,
    Update,
    Delete,
    Truncate,
    Merge,
    Call,
    Copy,
    Ddl,
    Grant,
    Session,
    Admin,
    // assize: administration
    Read,
    Write,
    Decide,
    Operate,
}

impl Verb {
    pub fn of(protocol: Protocol) -> &'static [Verb] {
        match protocol {
            Protocol::Assize => &[Verb::Read, Verb::Write, Verb::Decide, Verb::Operate],
            Protocol::Postgres => &[
                Verb::Select,
                Verb::Insert,
                Verb::Update,
                Verb::Delete,
                Verb::Truncate,
                Verb::Merge,
                Verb::Call,
                Verb::Copy,
                Verb::Ddl,
                Verb::Grant,
                Verb::Session,
                Verb::Admin,
            ],
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Select => "select",
            Verb::Insert => "insert",
            Verb::Update => "update",
            Verb::Delete => "delete",
            Verb::Truncate => "truncate",
            Verb::Merge => "merge",
            Verb::Call => "call",
            Verb::Copy => "copy",
            Verb::Ddl => "ddl",
            Verb::Grant => "grant",
            Verb::Session => "session",
            Verb::Admin => "admin",
            Verb::Read => "read",
            Verb::Write => "write",
            Verb::Decide => "decide",
            Verb::Operate => "operate",
        }
    }
}

/// What is acted on. For PostgreSQL the path is `database, schema, object`: the object is a relation, a function, or
/// for [`Verb::Session`] the schema is the literal `setting` (or `channel`, `lock`, …) and the object its name. For the target `assize` it is `noun, name`.
/// A segment `*` stands for "any": something that could not be told more closely, so it needs the widest permission.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    pub path: Vec<Arc<str>>,
    /// The columns touched; `None` where they are not known, which needs all of them.
    pub columns: Option<BTreeSet<Arc<str>>>,
}

impl Resource {
    pub fn new<S: AsRef<str>>(path: impl IntoIterator<Item = S>) -> Self {
        Resource { path: path.into_iter().map(|s| Arc::from(s.as_ref())).collect(), columns: None }
    }
}

/// One thing that an operation needs to be allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    pub protocol: Protocol,
    pub verb: Verb,
    pub resource: Resource,
}

/// How lasting the effect is: decides when the record must be committed (DESIGN §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Proved read-only by the classifier. Forwarded at once where the server enforces read-only too; its response
    /// is held until the record is committed.
    Read,
    /// Rolled back by the server with the transaction it stands in.
    Transactional,
    /// Ends or starts a transaction, or makes effects last: waits for all records of the session.
    Commit,
    /// Everything else, and all that is not known: its record is committed before it is forwarded.
    Lasting,
}

/// One thing tried in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What people call it: `SELECT`, `INSERT`, `COPY`, `multi`, …
    pub tag: Arc<str>,
    /// All of these are needed. Empty: needs nothing but a live permit (`BEGIN`, `ROLLBACK`).
    pub accesses: Arc<[Access]>,
    pub effect: Effect,
}

/// What an approval is bound to: who, where, the exact bytes with their parameters, and the context they run in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution<'a> {
    pub principal: &'a Name,
    pub on_behalf_of: Option<&'a Name>,
    pub target: &'a Name,
    pub cluster_incarnation: u64,
    pub statement: &'a [u8],
    /// Bound parameters as they stand on the wire (format codes and values), empty for none.
    pub parameters: &'a [u8],
    /// Database, effective role, search path and pinned settings, in this order, each as `name=value`.
    pub context: &'a [(&'a str, &'a str)],
    /// Versions of the job description and the target this is judged under.
    pub job_version: Option<Index>,
    pub target_version: Index,
    /// The active policy.
    pub policy: Option<PolicyId>,
}

impl Execution<'_> {
    /// SHA-256 over a length-prefixed encoding of all fields, so that no two executions share one encoding.
    pub fn digest(&self) -> Digest {
        use sha2::{Digest as _, Sha256};
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(b"assize.execution.v1");
        part(self.principal.as_str().as_bytes());
        part(self.on_behalf_of.map_or("", Name::as_str).as_bytes());
        part(self.target.as_str().as_bytes());
        part(&self.cluster_incarnation.to_be_bytes());
        part(self.statement);
        part(self.parameters);
        part(&(self.context.len() as u64).to_be_bytes());
        for (name, value) in self.context {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        part(&self.job_version.map_or([0xff; 8], |v| v.0.to_be_bytes()));
        part(&self.target_version.0.to_be_bytes());
        if let Some(policy) = self.policy {
            part(&policy.0.to_be_bytes());
        }
        Digest(hash.finalize().into())
    }
}
