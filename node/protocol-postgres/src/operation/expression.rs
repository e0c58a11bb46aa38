//! Expressions: everything that can stand where a value stands.

use std::sync::Arc;

use domain::operation::{Effect, Verb};
use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, JsonBehavior, JsonOutput, JsonValueExpr, Node, SortBy, TypeName, WindowDef};

use super::relation::parts;
use super::walk::{Reference, Walk};

impl Walk<'_> {
    pub(super) fn expr(&mut self, node: Option<&Node>) {
        if let Some(node) = node {
            self.node(node);
        }
    }

    pub(super) fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.node(node);
        }
    }

    pub(super) fn node(&mut self, node: &Node) {
        let Some(kind) = &node.node else { return };
        match kind {
            NodeEnum::AConst(_)
            | NodeEnum::ParamRef(_)
            | NodeEnum::SetToDefault(_)
            | NodeEnum::SqlvalueFunction(_)
            | NodeEnum::CurrentOfExpr(_)
            | NodeEnum::CaseTestExpr(_)
            | NodeEnum::Alias(_)
            | NodeEnum::String(_)
            | NodeEnum::Integer(_)
            | NodeEnum::Float(_)
            | NodeEnum::Boolean(_)
            | NodeEnum::BitString(_)
            | NodeEnum::JsonTablePathSpec(_) => {}
            NodeEnum::MergeSupportFunc(_) => self.call_grammar("merge_action"),
            NodeEnum::ColumnRef(column) => self.column(column),
            NodeEnum::AStar(_) => self.whole_row(),
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::SubLink(link) => {
                self.expr(link.testexpr.as_deref());
                self.operator(&link.oper_name);
                self.query(link.subselect.as_deref(), true);
            }
            NodeEnum::AExpr(e) => {
                self.operator(&e.name);
                self.expr(e.lexpr.as_deref());
                self.expr(e.rexpr.as_deref());
            }
            NodeEnum::BoolExpr(e) => self.nodes(&e.args),
            NodeEnum::NullTest(e) => self.expr(e.arg.as_deref()),
            NodeEnum::BooleanTest(e) => self.expr(e.arg.as_deref()),
            NodeEnum::TypeCast(e) => {
                self.expr(e.arg.as_deref());
                self.type_name(e.type_name.as_ref());
            }
            NodeEnum::CollateClause(e) => self.expr(e.arg.as_deref()),
            NodeEnum::AIndirection(e) => {
                self.expr(e.arg.as_deref());
                for step in &e.indirection {
                    // `(row).*` and `(row).field` reach what the argument already said, but `(row).function` runs it.
                    match &step.node {
                        Some(NodeEnum::AStar(_)) => {}
                        Some(NodeEnum::String(field)) => self.call_unnamed(".", &field.sval),
                        Some(_) | None => self.node(step),
                    }
                }
            }
            NodeEnum::AIndices(e) => {
                self.expr(e.lidx.as_deref());
                self.expr(e.uidx.as_deref());
            }
            NodeEnum::AArrayExpr(e) => self.nodes(&e.elements),
            NodeEnum::List(e) => self.nodes(&e.items),
            NodeEnum::ResTarget(e) => {
                self.nodes(&e.indirection);
                self.expr(e.val.as_deref());
            }
            NodeEnum::MultiAssignRef(e) => self.expr(e.source.as_deref()),
            NodeEnum::NamedArgExpr(e) => self.expr(e.arg.as_deref()),
            NodeEnum::RowExpr(e) => self.nodes(&e.args),
            NodeEnum::CaseExpr(e) => {
                self.expr(e.arg.as_deref());
                self.nodes(&e.args);
                self.expr(e.defresult.as_deref());
            }
            NodeEnum::CaseWhen(e) => {
                self.expr(e.expr.as_deref());
                self.expr(e.result.as_deref());
            }
            NodeEnum::CoalesceExpr(e) => self.nodes(&e.args),
            NodeEnum::MinMaxExpr(e) => self.nodes(&e.args),
            NodeEnum::GroupingFunc(e) => self.nodes(&e.args),
            NodeEnum::GroupingSet(e) => self.nodes(&e.content),
            NodeEnum::SortBy(e) => self.sort(e),
            NodeEnum::WindowDef(e) => self.window(e),
            NodeEnum::XmlExpr(e) => {
                self.nodes(&e.named_args);
                self.nodes(&e.args);
            }
            NodeEnum::XmlSerialize(e) => {
                self.expr(e.expr.as_deref());
                self.type_name(e.type_name.as_ref());
            }
            _ => self.json(kind),
        }
    }

    fn json(&mut self, kind: &NodeEnum) {
        match kind {
            NodeEnum::JsonValueExpr(e) => self.json_value(Some(e)),
            NodeEnum::JsonArgument(e) => self.json_value(e.val.as_deref()),
            NodeEnum::JsonKeyValue(e) => {
                self.expr(e.key.as_deref());
                self.json_value(e.value.as_deref());
            }
            NodeEnum::JsonIsPredicate(e) => self.expr(e.expr.as_deref()),
            NodeEnum::JsonParseExpr(e) => {
                self.call_grammar("json");
                self.json_value(e.expr.as_deref());
                self.json_output(e.output.as_ref());
            }
            NodeEnum::JsonScalarExpr(e) => {
                self.call_grammar("json_scalar");
                self.expr(e.expr.as_deref());
                self.json_output(e.output.as_ref());
            }
            NodeEnum::JsonSerializeExpr(e) => {
                self.call_grammar("json_serialize");
                self.json_value(e.expr.as_deref());
                self.json_output(e.output.as_ref());
            }
            NodeEnum::JsonObjectConstructor(e) => {
                self.call_grammar("json_object");
                self.nodes(&e.exprs);
                self.json_output(e.output.as_ref());
            }
            NodeEnum::JsonArrayConstructor(e) => {
                self.call_grammar("json_array");
                self.nodes(&e.exprs);
                self.json_output(e.output.as_ref());
            }
            NodeEnum::JsonArrayQueryConstructor(e) => {
                self.call_grammar("json_array");
                self.query(e.query.as_deref(), true);
                self.json_output(e.output.as_ref());
            }
            NodeEnum::JsonAggConstructor(e) => {
                self.json_output(e.output.as_ref());
                self.expr(e.agg_filter.as_deref());
                self.nodes(&e.agg_order);
                if let Some(window) = &e.over {
                    self.window(window);
                }
            }
            NodeEnum::JsonObjectAgg(e) => {
                self.call_grammar("json_objectagg");
                if let Some(pair) = &e.arg {
                    self.expr(pair.key.as_deref());
                    self.json_value(pair.value.as_deref());
                }
                if let Some(constructor) = &e.constructor {
                    self.json(&NodeEnum::JsonAggConstructor(constructor.clone()));
                }
            }
            NodeEnum::JsonArrayAgg(e) => {
                self.call_grammar("json_arrayagg");
                self.json_value(e.arg.as_deref());
                if let Some(constructor) = &e.constructor {
                    self.json(&NodeEnum::JsonAggConstructor(constructor.clone()));
                }
            }
            NodeEnum::JsonFuncExpr(e) => {
                for name in ["json_exists", "json_value", "json_query"] {
                    self.call_grammar(name);
                }
                self.json_value(e.context_item.as_deref());
                self.expr(e.pathspec.as_deref());
                self.nodes(&e.passing);
                self.json_output(e.output.as_ref());
                self.json_behavior(e.on_empty.as_deref());
                self.json_behavior(e.on_error.as_deref());
            }
            NodeEnum::JsonTableColumn(e) => {
                self.type_name(e.type_name.as_ref());
                self.nodes(&e.columns);
                self.json_behavior(e.on_empty.as_deref());
                self.json_behavior(e.on_error.as_deref());
            }
            // Not an expression that the grammar makes: nothing can be said about it.
            _ => self.widest(),
        }
    }

    pub(super) fn json_value(&mut self, value: Option<&JsonValueExpr>) {
        if let Some(value) = value {
            self.expr(value.raw_expr.as_deref());
            self.expr(value.formatted_expr.as_deref());
        }
    }

    pub(super) fn json_behavior(&mut self, behavior: Option<&JsonBehavior>) {
        if let Some(behavior) = behavior {
            self.expr(behavior.expr.as_deref());
        }
    }

    fn json_output(&mut self, output: Option<&JsonOutput>) {
        if let Some(output) = output {
            self.type_name(output.type_name.as_ref());
        }
    }

    /// Type modifiers are constants or bare words; anything else is walked for what it may call.
    pub(super) fn type_name(&mut self, name: Option<&TypeName>) {
        let Some(name) = name else { return };
        if let Some(Node { node: Some(NodeEnum::String(last)) }) = name.names.last() {
            self.call_unnamed("::", &last.sval);
        }
        for modifier in &name.typmods {
            if !matches!(modifier.node, Some(NodeEnum::ColumnRef(_) | NodeEnum::AConst(_))) {
                self.node(modifier);
            }
        }
    }

    pub(super) fn sort(&mut self, sort: &SortBy) {
        self.operator(&sort.use_op);
        self.expr(sort.node.as_deref());
    }

    pub(super) fn window(&mut self, window: &WindowDef) {
        self.nodes(&window.partition_clause);
        self.nodes(&window.order_clause);
        self.expr(window.start_offset.as_deref());
        self.expr(window.end_offset.as_deref());
    }

    /// `OPERATOR(schema.+)` outside `pg_catalog` names a user's function in another spelling.
    fn operator(&mut self, name: &[Node]) {
        match parts(name).as_deref() {
            Some([] | ["pg_catalog", _]) => {}
            Some([name]) => self.call_unnamed("", name),
            Some(qualified) => self.call_unknown(qualified),
            None => self.widest(),
        }
    }

    /// What runs a function without naming it, if there is such a one: see [`super::Context::shadowed`].
    fn call_unnamed(&mut self, mark: &str, name: &str) {
        let context = self.context;
        if !context.shadowed.is_empty() && context.shadowed.contains(format!("{mark}{name}").as_str()) {
            self.call_unknown(&[name]);
        }
    }

    fn whole_row(&mut self) {
        self.refer(Reference { qualifier: None, in_schema: false, name: None });
    }

    fn column(&mut self, column: &ColumnRef) {
        let (name, before) = match column.fields.split_last() {
            Some((Node { node: Some(NodeEnum::String(name)) }, before)) => (Some(Arc::from(name.sval.as_str())), before),
            Some((Node { node: Some(NodeEnum::AStar(_)) }, before)) => (None, before),
            _ => return self.widest(),
        };
        let Some(before) = parts(before) else { return self.widest() };
        if let (Some(name), false) = (&name, before.is_empty()) {
            self.call_unnamed(".", name);
        }
        self.refer(Reference { qualifier: before.last().map(|q| Arc::from(*q)), in_schema: before.len() > 1, name });
    }

    /// FOR UPDATE and its kin lock rows, also of the relations in a subquery of FROM: PostgreSQL asks for a right to
    /// update. `read`: the relations that FROM has read, in the order of [`Walk::read`].
    pub(super) fn lock_rows(&mut self, read: std::ops::Range<usize>) {
        self.at_least(Effect::Transactional);
        for at in read {
            let paths = self.read[at].clone();
            self.need_each(Verb::Update, &paths, Some(&Default::default()));
        }
    }
}
