//! What a name means in a session: everything outside the text that the judgement depends on.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Read from the server and kept by the relay. Equal contexts judge equal texts alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Context {
    pub database: Arc<str>,
    /// The effective search path, as `current_schemas(false)` says.
    pub schemas: Vec<Arc<str>>,
    /// False until the server was asked: every unqualified name then needs the segment `*`.
    pub schemas_known: bool,
    /// Names of the session's temporary relations. Only names that certainly exist stand here,
    /// because a name that no longer does would hide the permission that the real table needs.
    pub temporary: BTreeSet<Arc<str>>,
    /// Temporary relations come before all others, as they do unless the search path places their schema itself.
    pub temporary_first: bool,
    /// Built-in function names, and names that a later server may have built in, that some schema of the search path
    /// overloads by a function that belongs to no extension: unqualified, these are not taken for the built-in ones.
    /// And what runs a function without naming it, where that is neither built in nor an extension's: names of
    /// operators, of types with a cast to them and of domains that check by one (`::name`), and of functions over a row or
    /// over anything (`.name`, as in `row.name`).
    pub shadowed: BTreeSet<Arc<str>>,
}

impl Context {
    /// What is known before the server was asked.
    pub fn unknown(database: impl Into<Arc<str>>) -> Self {
        Context {
            database: database.into(),
            schemas: Vec::new(),
            schemas_known: false,
            temporary: BTreeSet::new(),
            temporary_first: false,
            shadowed: BTreeSet::new(),
        }
    }

    pub fn with_schemas<S: AsRef<str>>(database: impl Into<Arc<str>>, schemas: impl IntoIterator<Item = S>) -> Self {
        let schemas = schemas.into_iter().map(|s| Arc::from(s.as_ref())).collect();
        Context { schemas, schemas_known: true, temporary_first: true, ..Context::unknown(database) }
    }
}

/// One row that fills a [`Context`]: `current_database()`, the effective schemas, the temporary relations, and the
/// functions outside `pg_catalog` that have a built-in name; the last three are `text[]`.
///
/// Objects from number 16384 on are not PostgreSQL's own.
///
/// The gateway sends it on the session's own upstream connection after login and whenever
/// [`super::Classified::changes_context`] says so.
pub const CONTEXT_QUERY: &str = "\
select pg_catalog.current_database()::pg_catalog.text, \
       pg_catalog.current_schemas(false)::pg_catalog.text[], \
       array(select c.relname::pg_catalog.text from pg_catalog.pg_class c \
             where c.relnamespace operator(pg_catalog.=) pg_catalog.pg_my_temp_schema() \
               and c.relkind operator(pg_catalog.=) any ('{r,v,S,p,m,f}'::pg_catalog.\"char\"[])), \
       array(select distinct p.proname::pg_catalog.text from pg_catalog.pg_proc p \
             join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) p.pronamespace \
             where n.nspname operator(pg_catalog.=) any (pg_catalog.current_schemas(false)) \
               and n.nspname operator(pg_catalog.<>) 'pg_catalog' \
               and (exists (select from pg_catalog.pg_proc b where b.proname operator(pg_catalog.=) p.proname \
                            and b.pronamespace operator(pg_catalog.=) 11::pg_catalog.oid) \
                    or p.proname::pg_catalog.text operator(pg_catalog.~) '^(json_|xml|merge_action|pg_)') \
               and not exists (select from pg_catalog.pg_depend d \
                               where d.classid operator(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
                                 and d.objid operator(pg_catalog.=) p.oid and d.deptype operator(pg_catalog.=) 'e') \
             union all \
             select o.oprname::pg_catalog.text from pg_catalog.pg_operator o \
             where o.oid operator(pg_catalog.>=) 16384::pg_catalog.oid \
               and exists (select from pg_catalog.pg_proc p where p.oid operator(pg_catalog.=) o.oprcode::pg_catalog.oid \
                           and p.oid operator(pg_catalog.>=) 16384::pg_catalog.oid) \
               and not exists (select from pg_catalog.pg_depend d \
                               where d.classid operator(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass \
                                 and d.objid operator(pg_catalog.=) o.oid and d.deptype operator(pg_catalog.=) 'e') \
             union all \
             select '::' operator(pg_catalog.||) t.typname::pg_catalog.text from pg_catalog.pg_cast c \
             join pg_catalog.pg_proc p on p.oid operator(pg_catalog.=) c.castfunc \
             join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) c.casttarget \
             where p.oid operator(pg_catalog.>=) 16384::pg_catalog.oid \
               and not exists (select from pg_catalog.pg_depend d \
                               where d.classid operator(pg_catalog.=) 'pg_catalog.pg_cast'::pg_catalog.regclass \
                                 and d.objid operator(pg_catalog.=) c.oid and d.deptype operator(pg_catalog.=) 'e') \
             union all \
             select '::' operator(pg_catalog.||) t.typname::pg_catalog.text from pg_catalog.pg_constraint c \
             join pg_catalog.pg_type t on c.contypid operator(pg_catalog.=) t.oid or c.contypid operator(pg_catalog.=) t.typbasetype \
             where c.contypid operator(pg_catalog.<>) 0::pg_catalog.oid \
               and exists (select from pg_catalog.pg_depend d \
                           where d.classid operator(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass \
                             and d.objid operator(pg_catalog.=) c.oid \
                             and d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
                             and d.refobjid operator(pg_catalog.>=) 16384::pg_catalog.oid) \
             union all \
             select '.' operator(pg_catalog.||) p.proname::pg_catalog.text from pg_catalog.pg_proc p \
             join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) p.proargtypes[0] \
             where p.oid operator(pg_catalog.>=) 16384::pg_catalog.oid \
               and (t.typtype operator(pg_catalog.=) 'c' \
                    or t.typname operator(pg_catalog.=) any ('{record,any,anyelement,anynonarray,anycompatible,anycompatiblenonarray}')) \
               and not exists (select from pg_catalog.pg_depend d \
                               where d.classid operator(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
                                 and d.objid operator(pg_catalog.=) p.oid and d.deptype operator(pg_catalog.=) 'e'))";
