//! One statement: what kind it is, and what that kind needs. DDL is in [`super::ddl`].

use std::sync::Arc;

use domain::operation::{Effect, Verb};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    CopyStmt, DeclareCursorStmt, DefElem, ExplainStmt, Node, PrepareStmt, TransactionStmt, TransactionStmtKind, a_const,
};

use super::classified::{CopyKind, Cursor, Prepared, Step, TransactionStep};
use super::walk::Walk;
use super::{settings, tag};

/// `DECLARE … WITH HOLD` in [`DeclareCursorStmt::options`] (CURSOR_OPT_HOLD of parsenodes.h).
const CURSOR_OPTION_HOLD: i32 = 0x0020;

impl Walk<'_> {
    /// Judges one statement; `text` is its own part of the string.
    pub(super) fn statement(&mut self, node: &NodeEnum, text: &str) {
        match node {
            NodeEnum::SelectStmt(s) => self.select(s, false),
            NodeEnum::InsertStmt(_) | NodeEnum::UpdateStmt(_) | NodeEnum::DeleteStmt(_) | NodeEnum::MergeStmt(_) => {
                self.query(Some(&Node { node: Some(node.clone()) }), false);
            }
            NodeEnum::ExplainStmt(s) => {
                self.constants_matter = true;
                self.explain(s, text);
            }
            _ => {
                self.constants_matter = true;
                self.utility(node, text);
            }
        }
    }

    fn utility(&mut self, node: &NodeEnum, text: &str) {
        match node {
            NodeEnum::TransactionStmt(s) => self.transaction(s),
            NodeEnum::VariableSetStmt(s) => self.set(s),
            NodeEnum::VariableShowStmt(s) => self.show(s),
            NodeEnum::DiscardStmt(s) => self.discard(s),
            NodeEnum::PrepareStmt(s) => self.prepare(s, text),
            NodeEnum::ExecuteStmt(s) => {
                self.nodes(&s.params);
                self.execute(s.name.as_str().into());
            }
            NodeEnum::DeallocateStmt(s) => {
                let name: Option<Arc<str>> = (!s.isall).then(|| s.name.as_str().into());
                match &name {
                    Some(name) => drop(self.prepared.remove(name)),
                    None => self.prepared.clear(),
                }
                self.at_least(Effect::Transactional);
                self.steps.push(Step::Deallocate(name));
            }
            NodeEnum::DeclareCursorStmt(s) => self.declare(s),
            NodeEnum::FetchStmt(s) => self.fetch(s.portalname.as_str().into()),
            NodeEnum::ClosePortalStmt(s) => {
                let name: Option<Arc<str>> = (!s.portalname.is_empty()).then(|| s.portalname.as_str().into());
                match &name {
                    Some(name) => drop(self.cursors.remove(name)),
                    None => self.cursors.clear(),
                }
                self.at_least(Effect::Transactional);
                self.steps.push(Step::Close(name));
            }
            NodeEnum::CopyStmt(s) => self.copy(s),
            // Code in a language of its own: nothing can be said about it.
            NodeEnum::DoStmt(_) => self.widest(),
            NodeEnum::CallStmt(s) => {
                match &s.funccall {
                    Some(call) => self.call(call),
                    None => self.widest(),
                }
                // A procedure is never a built-in without side effects, and it may commit by itself.
                self.at_least(Effect::Lasting);
                self.path_changes();
            }
            NodeEnum::ListenStmt(s) => {
                self.need_on(Verb::Session, "channel", &s.conditionname);
                self.at_least(Effect::Transactional);
                self.steps.push(Step::Listen(s.conditionname.as_str().into()));
            }
            NodeEnum::UnlistenStmt(s) => {
                self.at_least(Effect::Transactional);
                self.steps.push(Step::Unlisten((!s.conditionname.is_empty()).then(|| s.conditionname.as_str().into())));
            }
            // Delivered when the transaction commits.
            NodeEnum::NotifyStmt(s) => {
                self.need_on(Verb::Session, "channel", &s.conditionname);
                self.at_least(Effect::Transactional);
            }
            NodeEnum::LockStmt(s) => {
                // lockdefs.h: 1 is ACCESS SHARE, the lock of any SELECT (pg_dump takes it).
                let verb = if s.mode == 1 { Verb::Select } else { Verb::Update };
                for relation in &s.relations {
                    if let Some(NodeEnum::RangeVar(relation)) = &relation.node {
                        let paths = self.acted_on(relation);
                        self.need_each(verb, &paths, None);
                    }
                }
                self.at_least(Effect::Transactional);
            }
            NodeEnum::ConstraintsSetStmt(s) => {
                self.seen.relations += s.constraints.len() as u32;
                self.at_least(Effect::Transactional);
            }
            _ => self.ddl(node, text),
        }
    }

    fn transaction(&mut self, transaction: &TransactionStmt) {
        use TransactionStmtKind as Kind;
        let savepoint = || Arc::<str>::from(transaction.savepoint_name.as_str());
        let gid = || Arc::<str>::from(transaction.gid.as_str());
        let (step, effect) = match transaction.kind() {
            Kind::TransStmtBegin | Kind::TransStmtStart => {
                (TransactionStep::Begin { read_only: settings::read_only(&transaction.options) }, Effect::Commit)
            }
            Kind::TransStmtCommit => (TransactionStep::Commit { chain: transaction.chain }, Effect::Commit),
            Kind::TransStmtRollback => (TransactionStep::Rollback { chain: transaction.chain }, Effect::Commit),
            Kind::TransStmtSavepoint => (TransactionStep::Savepoint(savepoint()), Effect::Transactional),
            Kind::TransStmtRelease => (TransactionStep::Release(savepoint()), Effect::Transactional),
            Kind::TransStmtRollbackTo => (TransactionStep::RollbackTo(savepoint()), Effect::Transactional),
            Kind::TransStmtPrepare => (TransactionStep::PrepareTransaction(gid()), Effect::Lasting),
            Kind::TransStmtCommitPrepared => (TransactionStep::CommitPrepared(gid()), Effect::Lasting),
            Kind::TransStmtRollbackPrepared => (TransactionStep::RollbackPrepared(gid()), Effect::Lasting),
            Kind::Undefined => return self.widest(),
        };
        if effect == Effect::Lasting {
            self.need_on(Verb::Admin, "transaction", &transaction.gid);
        }
        // What ends takes back what was set and made within it.
        if !matches!(step, TransactionStep::Begin { .. } | TransactionStep::Savepoint(_) | TransactionStep::Release(_)) {
            self.temporary_may_go();
            self.changes_path = true;
        }
        self.at_least(effect);
        self.steps.push(Step::Transaction(step));
    }

    fn explain(&mut self, explain: &ExplainStmt, text: &str) {
        let runs = explain.options.iter().any(|o| matches!(&o.node, Some(NodeEnum::DefElem(o)) if o.defname == "analyze" && is_on(o)));
        let Some(inner) = explain.query.as_ref().and_then(|q| q.node.as_ref()) else { return self.widest() };
        let operation = self.apart("EXPLAIN", |walk| walk.statement(inner, text));
        // Planning runs functions that fold to constants, so what may last stays so; what a plan alone would change
        // is not changed.
        self.at_least(if runs || operation.effect == Effect::Lasting { operation.effect } else { Effect::Read });
    }

    fn prepare(&mut self, prepare: &PrepareStmt, text: &str) {
        let name: Arc<str> = prepare.name.as_str().into();
        for argument in &prepare.argtypes {
            if let Some(NodeEnum::TypeName(argument)) = &argument.node {
                self.type_name(Some(argument));
            }
        }
        let inner = prepare.query.as_deref();
        let tag = inner.and_then(|q| q.node.as_ref()).map_or("", tag::of);
        // Preparing runs nothing, but what may not be executed may not be prepared either: the refusal comes early.
        let operation = self.apart(tag, |walk| walk.query(inner, false));
        self.at_least(Effect::Transactional);
        self.prepared.insert(name.clone(), operation.clone());
        self.steps.push(Step::Prepare(Prepared { name, statement: text.into(), operation }));
    }

    pub(super) fn execute(&mut self, name: Arc<str>) {
        match self.prepared.get(&name).cloned() {
            Some(operation) => self.absorb(&operation),
            None => self.unresolved = true,
        }
        self.steps.push(Step::Execute(name));
    }

    fn declare(&mut self, declare: &DeclareCursorStmt) {
        let name: Arc<str> = declare.portalname.as_str().into();
        let operation = self.apart("FETCH", |walk| walk.query(declare.query.as_deref(), false));
        self.absorb(&operation);
        let hold = declare.options & CURSOR_OPTION_HOLD != 0;
        self.cursors.insert(name.clone(), operation.clone());
        self.steps.push(Step::Declare(Cursor { name, hold, operation }));
    }

    fn fetch(&mut self, name: Arc<str>) {
        match self.cursors.get(&name).cloned() {
            Some(operation) => self.absorb(&operation),
            None => self.unresolved = true,
        }
        self.steps.push(Step::Fetch(name));
    }

    /// COPY needs `copy` on what it copies beside the right to read or insert it.
    fn copy(&mut self, copy: &CopyStmt) {
        if let Some(relation) = &copy.relation {
            let paths = self.acted_on(relation);
            let columns = copy
                .attlist
                .iter()
                .filter_map(|c| if let Some(NodeEnum::String(c)) = &c.node { Some(Arc::from(c.sval.as_str())) } else { None })
                .collect();
            let columns = (!copy.attlist.is_empty()).then_some(&columns);
            self.need_each(Verb::Copy, &paths, columns);
            self.need_each(if copy.is_from { Verb::Insert } else { Verb::Select }, &paths, columns);
            self.open_level();
            self.expr(copy.where_clause.as_deref());
            self.levels.pop();
        }
        if copy.query.is_some() {
            let operation = self.apart("COPY", |walk| walk.query(copy.query.as_deref(), false));
            self.absorb(&operation);
            for access in operation.accesses.iter().filter(|a| a.verb == Verb::Select) {
                let mut copied = access.clone();
                copied.verb = Verb::Copy;
                self.accesses.insert(copied);
            }
        }
        self.at_least(if copy.is_from { Effect::Transactional } else { Effect::Read });
        self.copy = Some(if copy.is_from { CopyKind::FromStdin } else { CopyKind::ToStdout });
        if copy.is_program || !copy.filename.is_empty() {
            self.need_on(Verb::Admin, if copy.is_program { "program" } else { "file" }, &copy.filename);
            self.at_least(Effect::Lasting);
            self.copy = Some(CopyKind::OnServer);
        }
    }
}

/// Is this option on? Without a value it is; so is any value that cannot be read.
fn is_on(option: &DefElem) -> bool {
    let off = |text: &str| matches!(text.trim().to_ascii_lowercase().as_str(), "off" | "false" | "0" | "no");
    match option.arg.as_ref().and_then(|a| a.node.as_ref()) {
        None => true,
        Some(NodeEnum::String(text)) => !off(&text.sval),
        Some(NodeEnum::Integer(number)) => number.ival != 0,
        Some(NodeEnum::Boolean(value)) => value.boolval,
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Sval(text)) => !off(&text.sval),
            Some(a_const::Val::Boolval(value)) => value.boolval,
            Some(a_const::Val::Ival(number)) => number.ival != 0,
            _ => true,
        },
        Some(_) => true,
    }
}
