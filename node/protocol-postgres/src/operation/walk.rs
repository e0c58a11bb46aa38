//! What has been found so far while a statement's tree is walked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::operation::{Access, Effect, Operation, Protocol, Resource, Verb};

use super::classified::{CopyKind, Step};
use super::context::Context;
use super::tally::Tally;

/// A resource path: database, schema, object.
pub(super) type Path = [Arc<str>; 3];

pub(super) struct Walk<'a> {
    pub(super) context: &'a Context,
    pub(super) accesses: BTreeSet<Access>,
    pub(super) effect: Effect,
    pub(super) steps: Vec<Step>,
    pub(super) changes_context: bool,
    /// An earlier statement of this string may have changed the search path or what stands in it: from there on an
    /// unqualified name may stand in any schema.
    pub(super) path_uncertain: bool,
    /// The statement being walked may do so.
    pub(super) changes_path: bool,
    /// An earlier statement of this string may have dropped temporary relations that were there before it.
    pub(super) temporary_uncertain: bool,
    pub(super) copy: Option<CopyKind>,
    /// A constant has decided something.
    pub(super) constants_matter: bool,
    /// A name was used that only the relay can resolve.
    pub(super) unresolved: bool,
    /// Names of common table expressions in sight.
    pub(super) ctes: Vec<Arc<str>>,
    /// Schemas that stand before the search path: those of an enclosing CREATE SCHEMA.
    pub(super) inside_schema: Option<Arc<str>>,
    /// Temporary relations that this string has made for certain.
    pub(super) temporary: BTreeSet<Arc<str>>,
    /// What this string has prepared and declared.
    pub(super) prepared: BTreeMap<Arc<str>, Operation>,
    pub(super) cursors: BTreeMap<Arc<str>, Operation>,
    pub(super) levels: Vec<Level>,
    /// Every relation read so far, in order.
    pub(super) read: Vec<Vec<Path>>,
    pub(super) seen: Tally,
    /// The statement is opaque (a function body) and judged by a class that covers whatever stands in it.
    pub(super) opaque: bool,
}

/// One level of a query: the sources its column references can mean, and the references.
///
/// Columns are told only where a level has exactly one source and that is a relation. A reference in an inner level
/// that names no source of it may reach an outer one, so it counts there too; which of the two has the column is not
/// known here.
#[derive(Default)]
pub(super) struct Level {
    /// Names that qualify a column of this level.
    pub(super) names: BTreeSet<Arc<str>>,
    pub(super) sources: usize,
    pub(super) reads: Vec<Vec<Path>>,
    /// The relation an UPDATE, DELETE, MERGE or INSERT changes: it needs `select` only if a column of it is read.
    pub(super) target: Option<Vec<Path>>,
    pub(super) columns: BTreeSet<Arc<str>>,
    /// A reference that cannot be put down to single columns.
    pub(super) whole: bool,
    /// Any reference at all.
    pub(super) any: bool,
    /// Names of output columns, which ORDER BY means first.
    pub(super) outputs: BTreeSet<Arc<str>>,
    /// References that a level further out may be meant by.
    pub(super) free: BTreeSet<Reference>,
}

/// `name`, `qualifier.name`, or with `*` for a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    pub(super) qualifier: Option<Arc<str>>,
    /// A schema stands before the qualifier, so that a source of this name may still be another one.
    pub(super) in_schema: bool,
    /// `None` for `*`.
    pub(super) name: Option<Arc<str>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Walk {
            context,
            accesses: BTreeSet::new(),
            effect: Effect::Read,
            steps: Vec::new(),
            changes_context: false,
            path_uncertain: false,
            changes_path: false,
            temporary_uncertain: false,
            copy: None,
            constants_matter: false,
            unresolved: false,
            ctes: Vec::new(),
            inside_schema: None,
            temporary: BTreeSet::new(),
            prepared: BTreeMap::new(),
            cursors: BTreeMap::new(),
            levels: Vec::new(),
            read: Vec::new(),
            seen: Tally::default(),
            opaque: false,
        }
    }

    pub(super) fn database(&self) -> Arc<str> {
        self.context.database.clone()
    }

    pub(super) fn at_least(&mut self, effect: Effect) {
        self.effect = self.effect.max(effect);
    }

    pub(super) fn need(&mut self, verb: Verb, path: Path, columns: Option<BTreeSet<Arc<str>>>) {
        self.accesses.insert(Access { protocol: Protocol::Postgres, verb, resource: Resource { path: path.into(), columns } });
    }

    pub(super) fn need_each(&mut self, verb: Verb, paths: &[Path], columns: Option<&BTreeSet<Arc<str>>>) {
        for path in paths {
            self.need(verb, path.clone(), columns.cloned());
        }
    }

    /// An access on something that is in no schema: a role, a setting, a channel, …
    pub(super) fn need_on(&mut self, verb: Verb, kind: &str, name: &str) {
        self.need(verb, [self.database(), kind.into(), name.into()], None);
    }

    /// Names may mean something else after this statement.
    pub(super) fn path_changes(&mut self) {
        self.changes_context = true;
        self.changes_path = true;
    }

    /// Temporary relations may be gone after this point.
    pub(super) fn temporary_may_go(&mut self) {
        self.temporary.clear();
        self.temporary_uncertain = true;
    }

    /// The search path of the context holds here.
    pub(super) fn path_known(&self) -> bool {
        self.context.schemas_known && !self.path_uncertain
    }

    /// What cannot be told more closely: the widest class.
    pub(super) fn widest(&mut self) {
        self.need_on(Verb::Admin, "*", "*");
        self.at_least(Effect::Lasting);
        self.path_changes();
        self.opaque = true;
    }

    pub(super) fn open_level(&mut self) {
        self.levels.push(Level::default());
    }

    pub(super) fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        self.levels.last_mut().expect("a level was pushed when there was none")
    }

    /// Counts a reference in the innermost open level.
    pub(super) fn refer(&mut self, reference: Reference) {
        let outermost = self.levels.len() <= 1;
        let level = self.level();
        level.any = true;
        let Some(qualifier) = &reference.qualifier else {
            match &reference.name {
                None => level.whole = true,
                Some(name) => {
                    // The name of a source means its row, unless some level has a column of that name.
                    level.whole |= level.names.contains(name);
                    level.columns.insert(name.clone());
                    level.free.insert(reference);
                }
            }
            return;
        };
        let is_here = level.names.contains(qualifier);
        match &reference.name {
            // The row proposed by INSERT … ON CONFLICT: what the statement itself brought.
            Some(_) if is_here && qualifier.as_ref() == "excluded" => {}
            Some(name) if is_here => {
                level.columns.insert(name.clone());
            }
            None if is_here => level.whole = true,
            // At the outermost level, none of this statement's sources.
            _ if outermost => level.whole = true,
            _ => {}
        }
        if !is_here || reference.in_schema {
            level.free.insert(reference);
        }
    }

    /// Ends a level: says what it reads. `correlated`: its references may reach the level outside it; if not, they may
    /// still reach the levels outside that one.
    pub(super) fn close_level(&mut self, correlated: bool) {
        let Some(level) = self.levels.pop() else { return };
        let told = level.sources == 1 && !level.whole;
        let columns = told.then_some(&level.columns);
        for paths in &level.reads {
            self.need_each(Verb::Select, paths, columns);
        }
        if let Some(target) = &level.target
            && (level.whole || level.any)
        {
            self.need_each(Verb::Select, target, columns);
        }
        if correlated && !self.levels.is_empty() {
            level.free.into_iter().for_each(|reference| self.refer(reference));
        } else if let Some(outer) = self.levels.last_mut() {
            outer.free.extend(level.free);
        }
    }

    /// Walks something whose accesses and effect are wanted apart as well.
    pub(super) fn apart(&mut self, tag: &str, walk: impl FnOnce(&mut Self)) -> Operation {
        let accesses = std::mem::take(&mut self.accesses);
        let effect = std::mem::replace(&mut self.effect, Effect::Read);
        walk(self);
        let operation = Operation { tag: tag.into(), accesses: self.accesses.iter().cloned().collect(), effect: self.effect };
        self.accesses.extend(accesses);
        self.effect = effect;
        operation
    }

    pub(super) fn absorb(&mut self, operation: &Operation) {
        self.accesses.extend(operation.accesses.iter().cloned());
        self.at_least(operation.effect);
    }
}
