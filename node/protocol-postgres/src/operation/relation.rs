//! Names to resources: which relations and functions a name may mean.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeVar};

use super::builtins;
use super::walk::{Path, Walk};

/// The parts of a qualified name: a list of String nodes. `None` if anything else stands there.
pub(super) fn parts(names: &[Node]) -> Option<Vec<&str>> {
    names.iter().map(|n| if let Some(NodeEnum::String(s)) = &n.node { Some(s.sval.as_str()) } else { None }).collect()
}

impl Walk<'_> {
    /// All relations that this name may mean. The server looks in the temporary schema, in `pg_catalog` (unless the
    /// path itself places it) and along the path; the first that has the name wins, which is not known here.
    pub(super) fn candidates(&self, relation: &RangeVar) -> Vec<Path> {
        self.relation_named(&relation.catalogname, &relation.schemaname, &relation.relname)
    }

    pub(super) fn relation_named(&self, database: &str, schema: &str, name: &str) -> Vec<Path> {
        let name: Arc<str> = name.into();
        let database: Arc<str> = if database.is_empty() { self.database() } else { database.into() };
        if !schema.is_empty() {
            return vec![[database, schema.into(), name]];
        }
        let temporary = self.temporary.contains(&name) || (self.context.temporary.contains(&name) && !self.temporary_uncertain);
        let mut candidates: Vec<Path> = Vec::new();
        if temporary {
            candidates.push([database.clone(), "pg_temp".into(), name.clone()]);
            if self.context.temporary_first && !self.path_uncertain {
                return candidates;
            }
        }
        let placed = self.context.schemas.iter().any(|s| s.as_ref() == "pg_catalog");
        if builtins::is_catalog_relation(&name) && self.path_known() && !placed {
            candidates.push([database, "pg_catalog".into(), name]);
        } else {
            candidates.extend(self.along_path(&database, &name));
        }
        candidates
    }

    /// `name` in every schema of the path, or in any where the path is not known or holds nothing.
    pub(super) fn along_path(&self, database: &Arc<str>, name: &Arc<str>) -> Vec<Path> {
        let inside = self.inside_schema.iter();
        if !self.path_known() || (self.context.schemas.is_empty() && self.inside_schema.is_none()) {
            return vec![[database.clone(), "*".into(), name.clone()]];
        }
        inside.chain(&self.context.schemas).map(|s| [database.clone(), s.clone(), name.clone()]).collect()
    }

    /// Where a new relation comes to stand: the first schema of the path.
    pub(super) fn place(&mut self, relation: &RangeVar) -> Vec<Path> {
        self.seen.relations += 1;
        if relation.relpersistence == "t" || relation.schemaname == "pg_temp" {
            self.changes_context = true;
            let name: Arc<str> = relation.relname.as_str().into();
            self.temporary.insert(name.clone());
            return vec![[self.database(), "pg_temp".into(), name]];
        }
        let mut paths = self.candidates_anywhere(relation);
        paths.truncate(1);
        paths
    }

    /// As [`Walk::candidates`], for a name that cannot be a temporary or catalogue relation because it is new.
    fn candidates_anywhere(&self, relation: &RangeVar) -> Vec<Path> {
        let database: Arc<str> = if relation.catalogname.is_empty() { self.database() } else { relation.catalogname.as_str().into() };
        let name: Arc<str> = relation.relname.as_str().into();
        if relation.schemaname.is_empty() {
            self.along_path(&database, &name)
        } else {
            vec![[database, relation.schemaname.as_str().into(), name]]
        }
    }

    /// A relation that a statement other than a query acts on.
    pub(super) fn acted_on(&mut self, relation: &RangeVar) -> Vec<Path> {
        self.seen.relations += 1;
        self.candidates(relation)
    }

    /// An object of a schema that is no relation (a function, type, operator, …), by its name parts.
    pub(super) fn object_named(&self, parts: &[&str]) -> Vec<Path> {
        match *parts {
            [name] => self.along_path(&self.database(), &name.into()),
            [schema, name] => vec![[self.database(), schema.into(), name.into()]],
            [database, schema, name] => vec![[database.into(), schema.into(), name.into()]],
            _ => vec![[self.database(), "*".into(), "*".into()]],
        }
    }
}
