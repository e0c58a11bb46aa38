//! Statements that change what the database consists of, and who may do what in it.
//!
//! An object of a schema needs `ddl` on it. One that can run code of its own (a function, an operator, a rule, a
//! language, an extension) needs `admin` on it as well, because it decides what other statements do. What stands in
//! no schema (a role, a database, a server) needs `admin` on `database.KIND.NAME`. PostgreSQL's DDL is transactional
//! but for the kinds that it refuses inside a transaction block; those are [`Effect::Lasting`].

use std::sync::Arc;

use domain::operation::{Effect, Verb};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableStmt, AlterTableType, ColumnDef, Constraint, CreateStmt, CreateTableAsStmt, DropBehavior, DropStmt, GrantStmt,
    GrantTargetType, IndexStmt, Node, ObjectType, RangeVar, TruncateStmt, VacuumStmt,
};

use super::relation::parts;
use super::walk::{Path, Walk};

impl Walk<'_> {
    pub(super) fn ddl(&mut self, node: &NodeEnum, text: &str) {
        self.at_least(Effect::Transactional);
        match node {
            NodeEnum::CreateStmt(s) => self.create_table(s),
            NodeEnum::CreateForeignTableStmt(s) => {
                if let Some(base) = &s.base_stmt {
                    self.create_table(base);
                }
                self.need_on(Verb::Admin, "server", &s.servername);
            }
            NodeEnum::CreateTableAsStmt(s) => self.create_table_as(s, text),
            NodeEnum::ViewStmt(s) => {
                self.query(s.query.as_deref(), false);
                self.make(s.view.as_ref());
            }
            NodeEnum::CreateSeqStmt(s) => self.make(s.sequence.as_ref()),
            NodeEnum::AlterSeqStmt(s) => self.alter(s.sequence.as_ref()),
            NodeEnum::CompositeTypeStmt(s) => {
                self.make(s.typevar.as_ref());
                self.elements(&s.coldeflist);
            }
            NodeEnum::IndexStmt(s) => self.create_index(s),
            NodeEnum::AlterTableStmt(s) => self.alter_table(s),
            NodeEnum::AlterTableMoveAllStmt(_) => self.widest(),
            NodeEnum::DropStmt(s) => self.drop_objects(s),
            NodeEnum::TruncateStmt(s) => self.truncate(s),
            NodeEnum::RefreshMatViewStmt(s) => self.alter(s.relation.as_ref()),
            NodeEnum::CreateSchemaStmt(s) => {
                let name: Arc<str> = if s.schemaname.is_empty() { "*".into() } else { s.schemaname.as_str().into() };
                self.need(Verb::Ddl, [self.database(), name.clone(), "*".into()], None);
                self.path_changes();
                let outer = self.inside_schema.replace(name);
                for element in &s.schema_elts {
                    if let Some(element) = &element.node {
                        self.statement(element, text);
                    }
                }
                self.inside_schema = outer;
            }
            NodeEnum::CreateEnumStmt(s) => self.named(Verb::Ddl, &s.type_name),
            NodeEnum::AlterEnumStmt(s) => self.named(Verb::Ddl, &s.type_name),
            NodeEnum::CreateRangeStmt(s) => self.code(&s.type_name),
            NodeEnum::AlterTypeStmt(s) => self.code(&s.type_name),
            NodeEnum::CreateDomainStmt(s) => {
                self.named(Verb::Ddl, &s.domainname);
                self.constraints(&s.constraints);
            }
            NodeEnum::AlterDomainStmt(s) => {
                self.named(Verb::Ddl, &s.type_name);
                if let Some(definition) = &s.def {
                    self.element(definition);
                }
            }
            NodeEnum::CreateStatsStmt(s) => {
                self.named(Verb::Ddl, &s.defnames);
                for relation in &s.relations {
                    if let Some(NodeEnum::RangeVar(relation)) = &relation.node {
                        self.alter(Some(relation));
                    }
                }
                for item in &s.exprs {
                    match &item.node {
                        Some(NodeEnum::StatsElem(item)) => self.expr(item.expr.as_deref()),
                        _ => self.widest(),
                    }
                }
            }
            NodeEnum::AlterStatsStmt(s) => self.named(Verb::Ddl, &s.defnames),
            NodeEnum::AlterTsdictionaryStmt(s) => self.named(Verb::Ddl, &s.dictname),
            NodeEnum::AlterTsconfigurationStmt(s) => self.named(Verb::Ddl, &s.cfgname),
            NodeEnum::AlterCollationStmt(s) => self.named(Verb::Ddl, &s.collname),
            NodeEnum::DefineStmt(s) => match s.kind() {
                ObjectType::ObjectCollation
                | ObjectType::ObjectTsconfiguration
                | ObjectType::ObjectTsdictionary
                | ObjectType::ObjectTsparser
                | ObjectType::ObjectTstemplate => self.named(Verb::Ddl, &s.defnames),
                _ => self.code(&s.defnames),
            },
            NodeEnum::RenameStmt(s) => {
                self.path_changes();
                self.object_or_relation(s.rename_type(), s.relation.as_ref(), s.object.as_deref(), &s.subname);
                self.temporary_may_go();
            }
            NodeEnum::AlterObjectSchemaStmt(s) => {
                self.path_changes();
                self.object_or_relation(s.object_type(), s.relation.as_ref(), s.object.as_deref(), "");
                self.need(Verb::Ddl, [self.database(), s.newschema.as_str().into(), "*".into()], None);
                self.temporary_may_go();
            }
            NodeEnum::AlterOwnerStmt(s) => {
                self.object_or_relation(s.object_type(), s.relation.as_ref(), s.object.as_deref(), "");
                self.need_on(Verb::Grant, "*", "*");
            }
            NodeEnum::CommentStmt(s) => self.object_or_relation(s.objtype(), None, s.object.as_deref(), ""),
            NodeEnum::AlterObjectDependsStmt(s) => {
                self.object_or_relation(s.object_type(), s.relation.as_ref(), s.object.as_deref(), "");
            }
            NodeEnum::CreatePolicyStmt(s) => {
                self.guard(s.table.as_ref());
                self.expr(s.qual.as_deref());
                self.expr(s.with_check.as_deref());
            }
            NodeEnum::AlterPolicyStmt(s) => {
                self.guard(s.table.as_ref());
                self.expr(s.qual.as_deref());
                self.expr(s.with_check.as_deref());
            }
            NodeEnum::CreateTrigStmt(s) => {
                self.alter(s.relation.as_ref());
                if let Some(other) = &s.constrrel {
                    self.alter(Some(other));
                }
                self.expr(s.when_clause.as_deref());
                match parts(&s.funcname) {
                    Some(name) => self.call_unknown(&name),
                    None => self.widest(),
                }
            }
            NodeEnum::RuleStmt(s) => {
                let paths = s.relation.as_ref().map(|r| self.acted_on(r)).unwrap_or_default();
                self.need_each(Verb::Ddl, &paths, None);
                self.need_each(Verb::Admin, &paths, None);
                self.open_level();
                self.expr(s.where_clause.as_deref());
                self.levels.pop();
                for action in &s.actions {
                    if let Some(action) = &action.node {
                        self.statement(action, text);
                    }
                }
            }
            NodeEnum::CreateFunctionStmt(s) => {
                self.code(&s.funcname);
                self.path_changes();
                // Its body runs when it is called, with whatever it does then.
                self.opaque = true;
            }
            NodeEnum::AlterFunctionStmt(s) => match &s.func {
                Some(function) => self.code(&function.objname),
                None => self.widest(),
            },
            NodeEnum::AlterOperatorStmt(s) => match &s.opername {
                Some(operator) => self.code(&operator.objname),
                None => self.widest(),
            },
            NodeEnum::CreateOpClassStmt(s) => self.code(&s.opclassname),
            NodeEnum::CreateOpFamilyStmt(s) => self.code(&s.opfamilyname),
            NodeEnum::AlterOpFamilyStmt(s) => self.code(&s.opfamilyname),
            NodeEnum::CreateConversionStmt(s) => self.code(&s.conversion_name),
            NodeEnum::GrantStmt(s) => self.grant(s),
            NodeEnum::AlterDefaultPrivilegesStmt(_) => self.need_on(Verb::Grant, "*", "*"),
            NodeEnum::GrantRoleStmt(s) => {
                for role in &s.granted_roles {
                    match &role.node {
                        Some(NodeEnum::AccessPriv(role)) => self.need_on(Verb::Admin, "role", &role.priv_name),
                        _ => self.widest(),
                    }
                }
            }
            NodeEnum::VacuumStmt(s) => self.vacuum(s),
            NodeEnum::ClusterStmt(s) => {
                self.at_least(Effect::Lasting);
                self.maintain(s.relation.as_ref());
            }
            NodeEnum::ReindexStmt(s) => {
                self.at_least(Effect::Lasting);
                self.maintain(s.relation.as_ref());
            }
            _ => self.outside_schemas(node),
        }
    }

    /// What belongs to the database, the server or the cluster rather than to a schema.
    fn outside_schemas(&mut self, node: &NodeEnum) {
        let role = |r: &Option<pg_query::protobuf::RoleSpec>| {
            r.as_ref().map_or("*".to_owned(), |r| if r.rolename.is_empty() { "*".into() } else { r.rolename.clone() })
        };
        let (kind, name): (&str, String) = match node {
            NodeEnum::CreateExtensionStmt(s) => ("extension", s.extname.clone()),
            NodeEnum::AlterExtensionStmt(s) => ("extension", s.extname.clone()),
            NodeEnum::AlterExtensionContentsStmt(s) => ("extension", s.extname.clone()),
            NodeEnum::CreatePlangStmt(s) => ("language", s.plname.clone()),
            NodeEnum::CreateEventTrigStmt(s) => ("event trigger", s.trigname.clone()),
            NodeEnum::AlterEventTrigStmt(s) => ("event trigger", s.trigname.clone()),
            NodeEnum::CreateFdwStmt(s) => ("foreign data wrapper", s.fdwname.clone()),
            NodeEnum::AlterFdwStmt(s) => ("foreign data wrapper", s.fdwname.clone()),
            NodeEnum::CreateForeignServerStmt(s) => ("server", s.servername.clone()),
            NodeEnum::AlterForeignServerStmt(s) => ("server", s.servername.clone()),
            NodeEnum::CreateUserMappingStmt(s) => ("server", s.servername.clone()),
            NodeEnum::AlterUserMappingStmt(s) => ("server", s.servername.clone()),
            NodeEnum::DropUserMappingStmt(s) => ("server", s.servername.clone()),
            NodeEnum::CreatePublicationStmt(s) => ("publication", s.pubname.clone()),
            NodeEnum::AlterPublicationStmt(s) => ("publication", s.pubname.clone()),
            NodeEnum::CreateSubscriptionStmt(s) => ("subscription", s.subname.clone()),
            NodeEnum::AlterSubscriptionStmt(s) => ("subscription", s.subname.clone()),
            NodeEnum::DropSubscriptionStmt(s) => ("subscription", s.subname.clone()),
            NodeEnum::CreateRoleStmt(s) => ("role", s.role.clone()),
            NodeEnum::AlterRoleStmt(s) => ("role", role(&s.role)),
            NodeEnum::AlterRoleSetStmt(s) => ("role", role(&s.role)),
            NodeEnum::DropRoleStmt(_) | NodeEnum::DropOwnedStmt(_) | NodeEnum::ReassignOwnedStmt(_) => ("role", "*".into()),
            NodeEnum::CreatedbStmt(s) => ("database", s.dbname.clone()),
            NodeEnum::AlterDatabaseStmt(s) => ("database", s.dbname.clone()),
            NodeEnum::AlterDatabaseSetStmt(s) => ("database", s.dbname.clone()),
            NodeEnum::AlterDatabaseRefreshCollStmt(s) => ("database", s.dbname.clone()),
            NodeEnum::DropdbStmt(s) => ("database", s.dbname.clone()),
            NodeEnum::CreateTableSpaceStmt(s) => ("tablespace", s.tablespacename.clone()),
            NodeEnum::DropTableSpaceStmt(s) => ("tablespace", s.tablespacename.clone()),
            NodeEnum::AlterTableSpaceOptionsStmt(s) => ("tablespace", s.tablespacename.clone()),
            NodeEnum::CreateAmStmt(s) => ("access method", s.amname.clone()),
            // ALTER SYSTEM, LOAD, CHECKPOINT, IMPORT FOREIGN SCHEMA, SECURITY LABEL, CREATE CAST, CREATE TRANSFORM, and
            // every kind that this version of the classifier does not know.
            _ => return self.widest(),
        };
        // Rows may be filtered by a publication's expressions; they run when rows are published.
        self.opaque = true;
        self.need_on(Verb::Admin, kind, &name);
        self.at_least(Effect::Lasting);
    }

    fn make(&mut self, relation: Option<&RangeVar>) {
        let Some(relation) = relation else { return self.widest() };
        let paths = self.place(relation);
        self.need_each(Verb::Ddl, &paths, None);
    }

    fn alter(&mut self, relation: Option<&RangeVar>) {
        let Some(relation) = relation else { return self.widest() };
        let paths = self.acted_on(relation);
        self.need_each(Verb::Ddl, &paths, None);
    }

    /// Row security: `ddl` and `grant`.
    fn guard(&mut self, relation: Option<&RangeVar>) {
        let Some(relation) = relation else { return self.widest() };
        let paths = self.acted_on(relation);
        self.need_each(Verb::Ddl, &paths, None);
        self.need_each(Verb::Grant, &paths, None);
    }

    fn maintain(&mut self, relation: Option<&RangeVar>) {
        match relation {
            Some(relation) => self.alter(Some(relation)),
            None => self.need_on(Verb::Admin, "*", "*"),
        }
    }

    fn named(&mut self, verb: Verb, name: &[Node]) {
        match parts(name) {
            Some(name) => {
                let paths = self.object_named(&name);
                self.need_each(verb, &paths, None);
            }
            None => self.widest(),
        }
    }

    /// An object that is code.
    fn code(&mut self, name: &[Node]) {
        self.named(Verb::Ddl, name);
        self.named(Verb::Admin, name);
    }

    fn create_table(&mut self, create: &CreateStmt) {
        self.make(create.relation.as_ref());
        for parent in &create.inh_relations {
            match &parent.node {
                Some(NodeEnum::RangeVar(parent)) => self.alter(Some(parent)),
                _ => self.widest(),
            }
        }
        self.elements(&create.table_elts);
        self.constraints(&create.constraints);
        self.constraints(&create.nnconstraints);
        if let Some(bound) = &create.partbound {
            for values in [&bound.listdatums, &bound.lowerdatums, &bound.upperdatums] {
                self.bound_values(values);
            }
        }
        if let Some(partition) = &create.partspec {
            for part in &partition.part_params {
                match &part.node {
                    Some(NodeEnum::PartitionElem(part)) => self.expr(part.expr.as_deref()),
                    _ => self.widest(),
                }
            }
        }
    }

    fn bound_values(&mut self, values: &[Node]) {
        for value in values {
            match &value.node {
                Some(NodeEnum::PartitionRangeDatum(value)) => self.expr(value.value.as_deref()),
                _ => self.node(value),
            }
        }
    }

    fn create_table_as(&mut self, create: &CreateTableAsStmt, text: &str) {
        match create.query.as_ref().and_then(|q| q.node.as_ref()) {
            Some(query @ NodeEnum::ExecuteStmt(_)) => self.statement(query, text),
            Some(_) => self.query(create.query.as_deref(), false),
            None => self.widest(),
        }
        self.makes_table(create.into.as_deref());
    }

    fn elements(&mut self, elements: &[Node]) {
        for element in elements {
            self.element(element);
        }
    }

    fn element(&mut self, element: &Node) {
        match &element.node {
            Some(NodeEnum::ColumnDef(column)) => self.column_definition(column),
            Some(NodeEnum::Constraint(constraint)) => self.constraint(constraint),
            Some(NodeEnum::TableLikeClause(like)) => {
                if let Some(relation) = &like.relation {
                    let paths = self.acted_on(relation);
                    self.need_each(Verb::Select, &paths, None);
                }
            }
            _ => self.node(element),
        }
    }

    fn column_definition(&mut self, column: &ColumnDef) {
        self.type_name(column.type_name.as_ref());
        self.expr(column.raw_default.as_deref());
        self.constraints(&column.constraints);
    }

    fn constraints(&mut self, constraints: &[Node]) {
        for constraint in constraints {
            match &constraint.node {
                Some(NodeEnum::Constraint(constraint)) => self.constraint(constraint),
                _ => self.node(constraint),
            }
        }
    }

    fn constraint(&mut self, constraint: &Constraint) {
        self.open_level();
        self.expr(constraint.raw_expr.as_deref());
        self.expr(constraint.where_clause.as_deref());
        for exclusion in &constraint.exclusions {
            if let Some(NodeEnum::List(pair)) = &exclusion.node
                && let [element, ..] = pair.items.as_slice()
            {
                self.index_elements(std::slice::from_ref(element));
            }
        }
        self.levels.pop();
        // A foreign key restricts what can be done to the other table.
        if let Some(other) = &constraint.pktable {
            self.alter(Some(other));
        }
    }

    fn create_index(&mut self, index: &IndexStmt) {
        self.alter(index.relation.as_ref());
        self.open_level();
        self.index_elements(&index.index_params);
        self.index_elements(&index.index_including_params);
        self.expr(index.where_clause.as_deref());
        self.levels.pop();
        if index.concurrent {
            self.at_least(Effect::Lasting);
        }
    }

    fn alter_table(&mut self, alter: &AlterTableStmt) {
        let paths = match &alter.relation {
            Some(relation) => self.acted_on(relation),
            None => return self.widest(),
        };
        self.need_each(Verb::Ddl, &paths, None);
        for command in &alter.cmds {
            let Some(NodeEnum::AlterTableCmd(command)) = &command.node else { return self.widest() };
            match command.subtype() {
                AlterTableType::AtEnableRowSecurity
                | AlterTableType::AtDisableRowSecurity
                | AlterTableType::AtForceRowSecurity
                | AlterTableType::AtNoForceRowSecurity
                | AlterTableType::AtChangeOwner => self.need_each(Verb::Grant, &paths, None),
                _ => {}
            }
            match command.def.as_ref().and_then(|d| d.node.as_ref()) {
                None => {}
                Some(NodeEnum::RangeVar(other)) => self.alter(Some(other)),
                Some(NodeEnum::PartitionCmd(partition)) => {
                    if let Some(other) = &partition.name {
                        self.alter(Some(other));
                    }
                    if let Some(bound) = &partition.bound {
                        for values in [&bound.listdatums, &bound.lowerdatums, &bound.upperdatums] {
                            self.bound_values(values);
                        }
                    }
                    if partition.concurrent {
                        self.at_least(Effect::Lasting);
                    }
                }
                Some(
                    NodeEnum::ReplicaIdentityStmt(_)
                    | NodeEnum::AtalterConstraint(_)
                    | NodeEnum::TypeName(_)
                    | NodeEnum::DefElem(_)
                    | NodeEnum::RoleSpec(_),
                ) => {}
                // Options: name and value, nothing that runs.
                Some(NodeEnum::List(list)) if list.items.iter().all(|i| matches!(i.node, Some(NodeEnum::DefElem(_)))) => {}
                Some(_) => {
                    if let Some(definition) = &command.def {
                        self.open_level();
                        self.element(definition);
                        self.levels.pop();
                    }
                }
            }
            if command.behavior() == DropBehavior::DropCascade {
                self.cascade(Verb::Ddl);
            }
        }
    }

    /// CASCADE reaches objects that the statement does not name.
    fn cascade(&mut self, verb: Verb) {
        self.need_on(verb, "*", "*");
    }

    fn truncate(&mut self, truncate: &TruncateStmt) {
        for relation in &truncate.relations {
            match &relation.node {
                Some(NodeEnum::RangeVar(relation)) => {
                    let paths = self.acted_on(relation);
                    self.need_each(Verb::Truncate, &paths, None);
                }
                _ => self.widest(),
            }
        }
        if truncate.behavior() == DropBehavior::DropCascade {
            self.cascade(Verb::Truncate);
        }
    }

    fn drop_objects(&mut self, drop: &DropStmt) {
        self.changes_context = true;
        for object in &drop.objects {
            self.object(drop.remove_type(), object);
        }
        self.temporary_may_go();
        if drop.behavior() == DropBehavior::DropCascade {
            self.cascade(Verb::Ddl);
        }
        if drop.concurrent {
            self.at_least(Effect::Lasting);
        }
    }

    fn object_or_relation(&mut self, kind: ObjectType, relation: Option<&RangeVar>, object: Option<&Node>, name: &str) {
        match (relation, object) {
            (Some(relation), _) => self.alter(Some(relation)),
            (None, Some(object)) => self.object(kind, object),
            // RENAME of a schema, role, database, … gives the old name alone.
            (None, None) if kind == ObjectType::ObjectSchema => self.need(Verb::Ddl, [self.database(), name.into(), "*".into()], None),
            (None, None) => {
                self.need_on(Verb::Admin, kind_name(kind), name);
                self.at_least(Effect::Lasting);
            }
        }
    }

    /// An object as DROP, COMMENT, RENAME and OWNER TO name it.
    fn object(&mut self, kind: ObjectType, object: &Node) {
        let name = object_name(object);
        let Some(name) = name else { return self.widest() };
        let name: Vec<&str> = name.iter().map(String::as_str).collect();
        match kind {
            ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectMatview
            | ObjectType::ObjectSequence
            | ObjectType::ObjectIndex
            | ObjectType::ObjectForeignTable => {
                let paths = self.relation_by_parts(&name);
                self.need_each(Verb::Ddl, &paths, None);
            }
            ObjectType::ObjectType
            | ObjectType::ObjectDomain
            | ObjectType::ObjectCollation
            | ObjectType::ObjectStatisticExt
            | ObjectType::ObjectTsconfiguration
            | ObjectType::ObjectTsdictionary
            | ObjectType::ObjectTsparser
            | ObjectType::ObjectTstemplate => {
                let paths = self.object_named(&name);
                self.need_each(Verb::Ddl, &paths, None);
            }
            // The last part is the name within the relation.
            ObjectType::ObjectColumn | ObjectType::ObjectTabconstraint | ObjectType::ObjectTrigger | ObjectType::ObjectRule => {
                let paths = self.relation_by_parts(&name[..name.len().saturating_sub(1)]);
                self.need_each(Verb::Ddl, &paths, None);
            }
            ObjectType::ObjectPolicy => {
                let paths = self.relation_by_parts(&name[..name.len().saturating_sub(1)]);
                self.need_each(Verb::Ddl, &paths, None);
                self.need_each(Verb::Grant, &paths, None);
            }
            ObjectType::ObjectFunction
            | ObjectType::ObjectProcedure
            | ObjectType::ObjectRoutine
            | ObjectType::ObjectAggregate
            | ObjectType::ObjectOperator
            | ObjectType::ObjectConversion => {
                let paths = self.object_named(&name);
                self.need_each(Verb::Ddl, &paths, None);
                self.need_each(Verb::Admin, &paths, None);
            }
            ObjectType::ObjectSchema => match name.as_slice() {
                [schema] => self.need(Verb::Ddl, [self.database(), (*schema).into(), "*".into()], None),
                _ => self.widest(),
            },
            _ => match name.as_slice() {
                [name] if kind_name(kind) != "*" => {
                    self.need_on(Verb::Admin, kind_name(kind), name);
                    self.at_least(Effect::Lasting);
                }
                _ => self.widest(),
            },
        }
    }

    fn relation_by_parts(&self, name: &[&str]) -> Vec<Path> {
        match *name {
            [name] => self.relation_named("", "", name),
            [schema, name] => self.relation_named("", schema, name),
            [database, schema, name] => self.relation_named(database, schema, name),
            _ => vec![[self.database(), "*".into(), "*".into()]],
        }
    }

    fn grant(&mut self, grant: &GrantStmt) {
        if grant.targtype() != GrantTargetType::AclTargetObject {
            for schema in &grant.objects {
                match object_name(schema).as_deref() {
                    Some([schema]) => self.need(Verb::Grant, [self.database(), schema.as_str().into(), "*".into()], None),
                    _ => self.widest(),
                }
            }
            return;
        }
        for object in &grant.objects {
            match (&object.node, grant.objtype()) {
                (Some(NodeEnum::RangeVar(relation)), _) => {
                    let paths = self.acted_on(relation);
                    self.need_each(Verb::Grant, &paths, None);
                }
                (
                    _,
                    ObjectType::ObjectFunction
                    | ObjectType::ObjectProcedure
                    | ObjectType::ObjectRoutine
                    | ObjectType::ObjectType
                    | ObjectType::ObjectDomain,
                ) => match object_name(object) {
                    Some(name) => {
                        let paths = self.object_named(&name.iter().map(String::as_str).collect::<Vec<_>>());
                        self.need_each(Verb::Grant, &paths, None);
                    }
                    None => self.widest(),
                },
                (_, ObjectType::ObjectSchema) => match object_name(object).as_deref() {
                    Some([schema]) => self.need(Verb::Grant, [self.database(), schema.as_str().into(), "*".into()], None),
                    _ => self.widest(),
                },
                _ => self.need_on(Verb::Grant, "*", "*"),
            }
        }
    }

    fn vacuum(&mut self, vacuum: &VacuumStmt) {
        if vacuum.is_vacuumcmd {
            self.at_least(Effect::Lasting);
        }
        if vacuum.rels.is_empty() {
            self.need_on(Verb::Ddl, "*", "*");
        }
        for relation in &vacuum.rels {
            match &relation.node {
                Some(NodeEnum::VacuumRelation(relation)) => self.alter(relation.relation.as_ref()),
                _ => self.widest(),
            }
        }
    }
}

/// The name parts of an object, however the grammar wraps them.
fn object_name(object: &Node) -> Option<Vec<String>> {
    let owned = |names: &[Node]| parts(names).map(|p| p.into_iter().map(str::to_owned).collect());
    match object.node.as_ref()? {
        NodeEnum::String(name) => Some(vec![name.sval.clone()]),
        NodeEnum::List(list) => match list.items.first()?.node.as_ref()? {
            // COMMENT ON CONSTRAINT … ON DOMAIN: a type, then the name.
            NodeEnum::TypeName(_) => None,
            _ => owned(&list.items),
        },
        NodeEnum::TypeName(name) => owned(&name.names),
        NodeEnum::ObjectWithArgs(object) => owned(&object.objname),
        _ => None,
    }
}

/// Kinds that stand in no schema. `*` for those that have no name of their own.
fn kind_name(kind: ObjectType) -> &'static str {
    match kind {
        ObjectType::ObjectDatabase => "database",
        ObjectType::ObjectRole => "role",
        ObjectType::ObjectTablespace => "tablespace",
        ObjectType::ObjectExtension => "extension",
        ObjectType::ObjectLanguage => "language",
        ObjectType::ObjectEventTrigger => "event trigger",
        ObjectType::ObjectFdw => "foreign data wrapper",
        ObjectType::ObjectForeignServer => "server",
        ObjectType::ObjectPublication => "publication",
        ObjectType::ObjectSubscription => "subscription",
        ObjectType::ObjectAccessMethod => "access method",
        _ => "*",
    }
}
