//! SET, RESET, SHOW, DISCARD and `set_config`: which settings an agent may touch.

use std::sync::Arc;

use domain::operation::{Effect, Verb};
use pg_query::NodeEnum;
use pg_query::protobuf::{DiscardMode, DiscardStmt, Node, VariableSetKind, VariableSetStmt, VariableShowStmt, a_const};

use super::classified::{SettingChange, SettingValue, Step, TransactionStep};
use super::walk::Walk;

/// Settings that decide how the server reads a text: what was judged must be what runs, so they stay as the gateway
/// set them at the start of the upstream session, and a change to any other value is refused whatever is granted.
/// Setting one to a value listed here is allowed. All but `backslash_quote` are also reported by the server
/// (ParameterStatus), so the relay sees a change made by a function.
pub const PINNED: &[(&str, &[&str])] = &[
    ("standard_conforming_strings", &["on", "true", "yes", "1"]),
    ("client_encoding", &["utf8", "utf-8", "unicode"]),
    ("backslash_quote", &["safe_encoding"]),
];

/// Settings that change who the session is or what the server enforces: `admin`.
const GUARDED: &[&str] = &[
    "role",
    "session_authorization",
    "session_replication_role",
    "session_preload_libraries",
    "local_preload_libraries",
    "dynamic_library_path",
    "allow_system_table_mods",
    "allow_in_place_tablespaces",
    "ignore_system_indexes",
    "zero_damaged_pages",
    "ignore_checksum_failure",
    "lo_compat_privileges",
    "event_triggers",
    "ignore_invalid_pages",
    "wal_consistency_checking",
    "log_statement",
    "log_min_messages",
    "log_min_error_statement",
    "log_min_duration_statement",
    "log_duration",
    "track_activities",
];

/// Settings after whose change names mean something else.
const CONTEXT_CHANGING: &[&str] = &["search_path", "role", "session_authorization", "*"];

pub(super) fn unknown_change() -> SettingChange {
    SettingChange { name: "*".into(), value: SettingValue::Unknown, local: false, breaks_pin: true }
}

fn breaks_pin(name: &str, value: &SettingValue) -> bool {
    PINNED.iter().any(|(pinned, allowed)| {
        *pinned == name
            && match value {
                SettingValue::Constant(value) => !allowed.contains(&value.trim().to_ascii_lowercase().as_str()),
                // The start value is the gateway's own.
                SettingValue::Default => false,
                SettingValue::Unknown => true,
            }
    })
}

impl Walk<'_> {
    pub(super) fn change_setting(&mut self, name: &str, value: SettingValue, local: bool) {
        let name: Arc<str> = name.to_ascii_lowercase().into();
        let verb = if GUARDED.contains(&name.as_ref()) { Verb::Admin } else { Verb::Session };
        self.need_on(verb, "setting", if name.as_ref() == "*" { "all" } else { &name });
        self.at_least(Effect::Transactional);
        if CONTEXT_CHANGING.contains(&name.as_ref()) {
            self.path_changes();
        }
        let breaks_pin = breaks_pin(&name, &value);
        if let Some(read_only) = read_only_setting(&name, &value) {
            self.steps.push(Step::Transaction(TransactionStep::Mode { read_only }));
        }
        self.steps.push(Step::Setting(SettingChange { name, value, local, breaks_pin }));
    }

    pub(super) fn set(&mut self, set: &VariableSetStmt) {
        match set.kind() {
            VariableSetKind::VarSetValue => {
                let value = list_value(&set.args).map_or(SettingValue::Unknown, SettingValue::Constant);
                self.change_setting(&set.name, value, set.is_local);
            }
            // SET … FROM CURRENT stands in CREATE FUNCTION only; alone it changes nothing.
            VariableSetKind::VarSetDefault | VariableSetKind::VarReset => {
                self.change_setting(&set.name, SettingValue::Default, set.is_local)
            }
            VariableSetKind::VarResetAll => self.change_setting("*", SettingValue::Default, false),
            VariableSetKind::VarSetMulti => self.set_transaction(set),
            VariableSetKind::VarSetCurrent | VariableSetKind::Undefined => self.widest(),
        }
    }

    /// SET TRANSACTION, SET SESSION CHARACTERISTICS, SET TRANSACTION SNAPSHOT.
    fn set_transaction(&mut self, set: &VariableSetStmt) {
        self.at_least(Effect::Transactional);
        match set.name.as_str() {
            "TRANSACTION" => self.steps.push(Step::Transaction(TransactionStep::Mode { read_only: read_only(&set.args) })),
            "SESSION CHARACTERISTICS" => {
                let value =
                    read_only(&set.args).map_or(SettingValue::Unknown, |on| SettingValue::Constant(if on { "on" } else { "off" }.into()));
                self.need_on(Verb::Session, "setting", "default_transaction_read_only");
                let name = "default_transaction_read_only".into();
                self.steps.push(Step::Setting(SettingChange { name, value, local: false, breaks_pin: false }));
            }
            "TRANSACTION SNAPSHOT" => self.need_on(Verb::Session, "snapshot", "import"),
            _ => self.widest(),
        }
    }

    /// SHOW says what the view `pg_settings` says.
    pub(super) fn show(&mut self, _: &VariableShowStmt) {
        self.need_on(Verb::Select, "pg_catalog", "pg_settings");
    }

    pub(super) fn discard(&mut self, discard: &DiscardStmt) {
        match discard.target() {
            // Refused in a transaction block, so nothing could roll it back.
            DiscardMode::DiscardAll => {
                self.need_on(Verb::Session, "discard", "all");
                self.at_least(Effect::Lasting);
                self.path_changes();
                self.steps.push(Step::DiscardAll);
            }
            DiscardMode::DiscardTemp => {
                self.need_on(Verb::Session, "discard", "temp");
                self.at_least(Effect::Transactional);
                self.changes_context = true;
            }
            DiscardMode::DiscardPlans => self.need_on(Verb::Session, "discard", "plans"),
            DiscardMode::DiscardSequences => self.need_on(Verb::Session, "discard", "sequences"),
            DiscardMode::Undefined => self.widest(),
        }
        self.temporary_may_go();
    }
}

/// `transaction_read_only` set by name is SET TRANSACTION in another spelling.
fn read_only_setting(name: &str, value: &SettingValue) -> Option<Option<bool>> {
    (name == "transaction_read_only").then(|| match value {
        SettingValue::Constant(text) => match text.trim().to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Some(true),
            "off" | "false" | "no" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    })
}

/// The `transaction_read_only` option of BEGIN and SET TRANSACTION.
pub(super) fn read_only(options: &[Node]) -> Option<bool> {
    options.iter().rev().find_map(|option| match &option.node {
        Some(NodeEnum::DefElem(option)) if option.defname == "transaction_read_only" => match option.arg.as_ref()?.node.as_ref()? {
            NodeEnum::AConst(constant) => match constant.val.as_ref()? {
                a_const::Val::Ival(value) => Some(value.ival != 0),
                a_const::Val::Boolval(value) => Some(value.boolval),
                _ => None,
            },
            NodeEnum::Integer(value) => Some(value.ival != 0),
            _ => None,
        },
        _ => None,
    })
}

/// The values of SET as one text.
fn list_value(args: &[Node]) -> Option<Arc<str>> {
    let parts: Option<Vec<String>> = args.iter().map(|a| constant_text(a.node.as_ref()?)).collect();
    Some(parts?.join(", ").into())
}

fn constant_text(node: &NodeEnum) -> Option<String> {
    match node {
        NodeEnum::AConst(constant) => match constant.val.as_ref() {
            // An integer zero is left out of the tree.
            None if !constant.isnull => Some("0".to_owned()),
            None => None,
            Some(a_const::Val::Ival(v)) => Some(v.ival.to_string()),
            Some(a_const::Val::Fval(v)) => Some(v.fval.clone()),
            Some(a_const::Val::Boolval(v)) => Some(v.boolval.to_string()),
            Some(a_const::Val::Sval(v)) => Some(v.sval.clone()),
            Some(a_const::Val::Bsval(_)) => None,
        },
        // SET TIME ZONE INTERVAL '…'
        NodeEnum::TypeCast(cast) => constant_text(cast.arg.as_ref()?.node.as_ref()?),
        _ => None,
    }
}
