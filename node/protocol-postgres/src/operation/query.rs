//! SELECT, INSERT, UPDATE, DELETE, MERGE and their parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::operation::{Effect, Verb};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, CmdType, DeleteStmt, InsertStmt, IntoClause, MergeStmt, Node, OnConflictClause, RangeVar, ReturningClause, SelectStmt,
    SetOperation, UpdateStmt, WithClause,
};

use super::walk::Walk;

impl Walk<'_> {
    /// Any statement that can stand as a query. `correlated`: it may refer to the sources around it.
    pub(super) fn query(&mut self, node: Option<&Node>, correlated: bool) {
        match node.and_then(|n| n.node.as_ref()) {
            Some(NodeEnum::SelectStmt(s)) => self.select(s, correlated),
            Some(NodeEnum::InsertStmt(s)) => self.insert(s),
            Some(NodeEnum::UpdateStmt(s)) => self.update(s),
            Some(NodeEnum::DeleteStmt(s)) => self.delete(s),
            Some(NodeEnum::MergeStmt(s)) => self.merge(s),
            Some(_) => self.widest(),
            None => {}
        }
    }

    pub(super) fn select(&mut self, select: &SelectStmt, correlated: bool) {
        self.seen.queries += 1;
        let visible = self.ctes.len();
        self.open_level();
        self.with(select.with_clause.as_ref());
        let read_before = self.read.len();
        self.nodes_from(&select.from_clause);
        let read_here = self.read.len();
        for part in [&select.larg, &select.rarg].into_iter().flatten() {
            self.select(part, correlated);
        }
        for target in &select.target_list {
            if let Some(NodeEnum::ResTarget(target)) = &target.node
                && !target.name.is_empty()
            {
                self.level().outputs.insert(target.name.as_str().into());
            }
        }
        self.nodes(&select.target_list);
        for distinct in &select.distinct_clause {
            self.node(distinct);
        }
        self.expr(select.where_clause.as_deref());
        self.nodes(&select.group_clause);
        self.expr(select.having_clause.as_deref());
        self.nodes(&select.window_clause);
        self.nodes(&select.values_lists);
        let combined = select.op() != SetOperation::SetopNone && select.op() != SetOperation::Undefined;
        for sort in &select.sort_clause {
            self.order_by(sort, combined);
        }
        self.expr(select.limit_offset.as_deref());
        self.expr(select.limit_count.as_deref());
        if !select.locking_clause.is_empty() {
            for lock in &select.locking_clause {
                if let Some(NodeEnum::LockingClause(lock)) = &lock.node {
                    self.seen.relations += lock.locked_rels.len() as u32;
                }
            }
            self.lock_rows(read_before..read_here);
        }
        self.makes_table(select.into_clause.as_deref());
        self.close_level(correlated);
        self.ctes.truncate(visible);
    }

    /// A bare word in ORDER BY means an output column first, and nothing else after UNION.
    fn order_by(&mut self, sort: &Node, combined: bool) {
        if let Some(NodeEnum::SortBy(sort)) = &sort.node
            && let Some(NodeEnum::ColumnRef(column)) = sort.node.as_ref().and_then(|n| n.node.as_ref())
            && let [Node { node: Some(NodeEnum::String(word)) }] = column.fields.as_slice()
            && (combined || self.level().outputs.contains(word.sval.as_str()))
            && sort.use_op.is_empty()
        {
            return;
        }
        self.node(sort);
    }

    /// SELECT INTO and CREATE TABLE AS make a table.
    pub(super) fn makes_table(&mut self, into: Option<&IntoClause>) {
        let Some(into) = into else { return };
        self.at_least(Effect::Transactional);
        if let Some(relation) = &into.rel {
            let paths = self.place(relation);
            self.need_each(Verb::Ddl, &paths, None);
        }
    }

    pub(super) fn with(&mut self, with: Option<&WithClause>) {
        let Some(with) = with else { return };
        let names =
            |node: &Node| if let Some(NodeEnum::CommonTableExpr(cte)) = &node.node { Some(Arc::from(cte.ctename.as_str())) } else { None };
        if with.recursive {
            self.ctes.extend(with.ctes.iter().filter_map(names));
        }
        for node in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &node.node else { return self.widest() };
            self.query(cte.ctequery.as_deref(), false);
            if let Some(cycle) = &cte.cycle_clause {
                self.expr(cycle.cycle_mark_value.as_deref());
                self.expr(cycle.cycle_mark_default.as_deref());
            }
            if !with.recursive {
                self.ctes.push(cte.ctename.as_str().into());
            }
        }
    }

    fn source(&mut self, name: &str, alias: Option<&Alias>) {
        let level = self.level();
        level.sources += 1;
        let name = alias.map_or(name, |a| a.aliasname.as_str());
        level.names.insert(name.into());
        // `AS t (a, b)` renames columns: what is referred to is not what is read.
        if alias.is_some_and(|a| !a.colnames.is_empty()) {
            level.whole = true;
        }
    }

    pub(super) fn nodes_from(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.from(node);
        }
    }

    fn from(&mut self, node: &Node) {
        match &node.node {
            Some(NodeEnum::RangeVar(relation)) => self.read(relation),
            Some(NodeEnum::JoinExpr(join)) => {
                if let Some(alias) = &join.alias {
                    self.source("", Some(alias));
                }
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    self.from(side);
                }
                self.expr(join.quals.as_deref());
            }
            Some(NodeEnum::RangeSubselect(sub)) => {
                self.source("", sub.alias.as_ref());
                self.query(sub.subquery.as_deref(), sub.lateral);
            }
            Some(NodeEnum::RangeFunction(function)) => {
                self.source("", function.alias.as_ref());
                self.nodes_from_functions(&function.functions);
                for column in &function.coldeflist {
                    if let Some(NodeEnum::ColumnDef(column)) = &column.node {
                        self.type_name(column.type_name.as_ref());
                    }
                }
            }
            Some(NodeEnum::RangeTableSample(sample)) => {
                match super::relation::parts(&sample.method).as_deref() {
                    Some(["bernoulli" | "system"] | ["pg_catalog", "bernoulli" | "system"]) => {}
                    Some(method) => self.call_unknown(method),
                    None => self.widest(),
                }
                if let Some(relation) = &sample.relation {
                    self.from(relation);
                }
                self.nodes(&sample.args);
                self.expr(sample.repeatable.as_deref());
            }
            Some(NodeEnum::RangeTableFunc(table)) => {
                self.source("", table.alias.as_ref());
                self.expr(table.docexpr.as_deref());
                self.expr(table.rowexpr.as_deref());
                self.nodes(&table.namespaces);
                for column in &table.columns {
                    if let Some(NodeEnum::RangeTableFuncCol(column)) = &column.node {
                        self.type_name(column.type_name.as_ref());
                        self.expr(column.colexpr.as_deref());
                        self.expr(column.coldefexpr.as_deref());
                    }
                }
            }
            Some(NodeEnum::JsonTable(table)) => {
                self.call_grammar("json_table");
                self.source("", table.alias.as_ref());
                self.json_value(table.context_item.as_deref());
                self.nodes(&table.passing);
                self.nodes(&table.columns);
                self.json_behavior(table.on_error.as_deref());
            }
            _ => self.widest(),
        }
    }

    /// Each is a list of the call and its column definitions.
    fn nodes_from_functions(&mut self, functions: &[Node]) {
        for function in functions {
            let Some(NodeEnum::List(pair)) = &function.node else { return self.widest() };
            for (at, item) in pair.items.iter().enumerate() {
                if at == 0 {
                    self.node(item);
                } else if let Some(NodeEnum::List(columns)) = &item.node {
                    for column in &columns.items {
                        if let Some(NodeEnum::ColumnDef(column)) = &column.node {
                            self.type_name(column.type_name.as_ref());
                        }
                    }
                }
            }
        }
    }

    /// A relation in FROM: a common table expression of that name hides it.
    fn read(&mut self, relation: &RangeVar) {
        self.source(&relation.relname, relation.alias.as_ref());
        if relation.schemaname.is_empty() && self.ctes.iter().any(|c| c.as_ref() == relation.relname) {
            self.seen.relations += 1;
            return;
        }
        let paths = self.acted_on(relation);
        self.read.push(paths.clone());
        self.level().reads.push(paths);
    }

    /// The relation a statement changes. Common table expressions do not hide it.
    fn target(&mut self, relation: Option<&RangeVar>) -> Vec<super::walk::Path> {
        let Some(relation) = relation else { return vec![[self.database(), "*".into(), "*".into()]] };
        self.source(&relation.relname, relation.alias.as_ref());
        let paths = self.acted_on(relation);
        if paths.iter().any(|p| p[1].as_ref() == "pg_catalog" && p[2].as_ref() == "pg_settings") {
            // Its rule turns an UPDATE into set_config.
            self.change_any_setting();
        }
        self.level().target = Some(paths.clone());
        self.at_least(Effect::Transactional);
        paths
    }

    fn returning(&mut self, clause: Option<&ReturningClause>) {
        let Some(clause) = clause else { return };
        for name in ["old", "new"] {
            self.level().names.insert(name.into());
        }
        for option in &clause.options {
            if let Some(NodeEnum::ReturningOption(option)) = &option.node {
                self.level().names.insert(option.value.as_str().into());
            }
        }
        self.nodes(&clause.exprs);
    }

    fn insert(&mut self, insert: &InsertStmt) {
        self.seen.queries += 1;
        let visible = self.ctes.len();
        self.open_level();
        self.with(insert.with_clause.as_ref());
        self.query(insert.select_stmt.as_deref(), false);
        let paths = self.target(insert.relation.as_ref());
        let columns = set_columns(&insert.cols);
        self.need_each(Verb::Insert, &paths, (!insert.cols.is_empty()).then_some(&columns));
        for column in &insert.cols {
            self.node(column);
        }
        if let Some(conflict) = &insert.on_conflict_clause {
            self.on_conflict(conflict, &paths);
        }
        self.returning(insert.returning_clause.as_ref());
        self.close_level(false);
        self.ctes.truncate(visible);
    }

    fn on_conflict(&mut self, conflict: &OnConflictClause, paths: &[super::walk::Path]) {
        self.level().names.insert("excluded".into());
        if let Some(infer) = &conflict.infer {
            self.index_elements(&infer.index_elems);
            self.expr(infer.where_clause.as_deref());
        }
        if !conflict.target_list.is_empty() {
            let columns = set_columns(&conflict.target_list);
            self.need_each(Verb::Update, paths, Some(&columns));
        }
        self.nodes(&conflict.target_list);
        self.expr(conflict.where_clause.as_deref());
    }

    /// The columns and expressions of an index, or those that infer one.
    pub(super) fn index_elements(&mut self, elements: &[Node]) {
        for element in elements {
            match &element.node {
                Some(NodeEnum::IndexElem(element)) => {
                    if !element.name.is_empty() {
                        let level = self.level();
                        level.any = true;
                        level.columns.insert(element.name.as_str().into());
                    }
                    self.expr(element.expr.as_deref());
                }
                _ => self.widest(),
            }
        }
    }

    fn update(&mut self, update: &UpdateStmt) {
        self.seen.queries += 1;
        let visible = self.ctes.len();
        self.open_level();
        self.with(update.with_clause.as_ref());
        let paths = self.target(update.relation.as_ref());
        self.need_each(Verb::Update, &paths, Some(&set_columns(&update.target_list)));
        self.nodes_from(&update.from_clause);
        self.nodes(&update.target_list);
        self.expr(update.where_clause.as_deref());
        self.returning(update.returning_clause.as_ref());
        self.close_level(false);
        self.ctes.truncate(visible);
    }

    fn delete(&mut self, delete: &DeleteStmt) {
        self.seen.queries += 1;
        let visible = self.ctes.len();
        self.open_level();
        self.with(delete.with_clause.as_ref());
        let paths = self.target(delete.relation.as_ref());
        self.need_each(Verb::Delete, &paths, None);
        self.nodes_from(&delete.using_clause);
        self.expr(delete.where_clause.as_deref());
        self.returning(delete.returning_clause.as_ref());
        self.close_level(false);
        self.ctes.truncate(visible);
    }

    /// MERGE needs `merge` on its target and whatever each of its branches does.
    fn merge(&mut self, merge: &MergeStmt) {
        self.seen.queries += 1;
        let visible = self.ctes.len();
        self.open_level();
        self.with(merge.with_clause.as_ref());
        let paths = self.target(merge.relation.as_ref());
        self.need_each(Verb::Merge, &paths, None);
        if let Some(source) = &merge.source_relation {
            self.from(source);
        }
        self.expr(merge.join_condition.as_deref());
        for clause in &merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(clause)) = &clause.node else { return self.widest() };
            let columns = set_columns(&clause.target_list);
            let listed = (!clause.target_list.is_empty()).then_some(&columns);
            match clause.command_type() {
                CmdType::CmdInsert => self.need_each(Verb::Insert, &paths, listed),
                CmdType::CmdUpdate => self.need_each(Verb::Update, &paths, listed),
                CmdType::CmdDelete => self.need_each(Verb::Delete, &paths, None),
                CmdType::CmdNothing => {}
                _ => self.widest(),
            }
            self.expr(clause.condition.as_deref());
            self.nodes(&clause.target_list);
            self.nodes(&clause.values);
        }
        self.returning(merge.returning_clause.as_ref());
        self.close_level(false);
        self.ctes.truncate(visible);
    }
}

/// The columns that a list of targets assigns to.
fn set_columns(targets: &[Node]) -> BTreeSet<Arc<str>> {
    targets
        .iter()
        .filter_map(|t| if let Some(NodeEnum::ResTarget(t)) = &t.node { Some(Arc::from(t.name.as_str())) } else { None })
        .collect()
}
