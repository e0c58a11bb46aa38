//! Calls: which functions need a permission, and what they may do.
//!
//! The rule. A built-in function on the committed list has no side effect, needs no permission and keeps a statement
//! read-only. PostgreSQL chooses among functions by argument types over the whole search path, so an unqualified
//! built-in name may mean a function of a user's schema that fits better. Two things stand against it: the relay
//! tells which built-in names are overloaded there ([`super::Context::shadowed`]), and those are judged as the user's
//! functions, as are all while the path is not known; and a statement counts as [`Effect::Read`] only together with a read-only transaction enforced by the
//! server, so that one made in the meantime can write nothing. The same holds for operators, casts, views and column
//! references in functional notation, which can call functions that no text shows. Every other function needs `call`
//! on each schema it may come from, and is [`Effect::Lasting`]: what it does is not known.

use std::sync::Arc;

use domain::operation::{Effect, Verb};
use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, a_const};

use super::builtins;
use super::classified::{SettingValue, Step};
use super::relation::parts;
use super::settings;
use super::walk::Walk;

impl Walk<'_> {
    pub(super) fn call(&mut self, call: &FuncCall) {
        self.seen.calls += 1;
        self.called(call);
        self.nodes(&call.args);
        self.nodes(&call.agg_order);
        self.expr(call.agg_filter.as_deref());
        if let Some(window) = &call.over {
            self.window(window);
        }
    }

    fn called(&mut self, call: &FuncCall) {
        let Some(name) = parts(&call.funcname) else { return self.widest() };
        match *name.as_slice() {
            [name] => self.call_unqualified(name, &call.args),
            ["pg_catalog", name] => self.call_catalog(name, &call.args),
            // Read by every client that uses the standard's views.
            ["information_schema", name] if name.starts_with("_pg_") => {}
            [schema, name] => self.call_unknown(&[schema, name]),
            [database, "pg_catalog", name] if database == self.context.database.as_ref() => self.call_catalog(name, &call.args),
            [database, schema, name] => self.call_unknown(&[database, schema, name]),
            _ => self.widest(),
        }
    }

    fn call_unqualified(&mut self, name: &str, args: &[Node]) {
        if self.context.shadowed.contains(name) || self.inside_schema.is_some() || !self.path_known() {
            self.call_unknown(&[name]);
            if builtins::may_be_catalog_function(name) && !builtins::is_harmless_function(name) {
                self.call_catalog(name, args);
            }
        } else if builtins::may_be_catalog_function(name) {
            self.call_catalog(name, args);
            if !builtins::is_harmless_function(name) && !is_special(name) {
                self.call_unknown(&[name]);
            }
        } else {
            self.call_unknown(&[name]);
        }
    }

    /// A form of the grammar that an older server takes for a call by this name.
    pub(super) fn call_grammar(&mut self, name: &str) {
        debug_assert!(builtins::GRAMMAR_FUNCTIONS.contains(&name));
        if self.context.shadowed.contains(name) || !self.path_known() {
            self.call_unknown(&[name]);
        }
    }

    /// A function that is not known to be harmless: opaque code.
    pub(super) fn call_unknown(&mut self, name: &[&str]) {
        let paths = self.object_named(name);
        self.need_each(Verb::Call, &paths, None);
        self.at_least(Effect::Lasting);
        self.path_changes();
    }

    fn call_catalog(&mut self, name: &str, args: &[Node]) {
        if builtins::is_harmless_function(name) {
            return;
        }
        match name {
            "set_config" => self.call_set_config(args),
            "nextval" | "setval" => self.call_sequence(args),
            "pg_notify" => {
                let channel = self.constant(args.first());
                self.need_on(Verb::Session, "channel", channel.as_deref().unwrap_or("*"));
                self.at_least(Effect::Transactional);
            }
            // An advisory lock is the session's or the transaction's own; it changes no data.
            _ if name.starts_with("pg_advisory_xact_lock") || name.starts_with("pg_try_advisory_xact_lock") => {
                self.need_on(Verb::Session, "lock", "advisory");
                self.at_least(Effect::Transactional);
            }
            _ if name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_") => {
                self.need_on(Verb::Session, "lock", "advisory");
                self.at_least(Effect::Lasting);
            }
            "pg_export_snapshot" => {
                self.need_on(Verb::Session, "snapshot", "export");
                self.at_least(Effect::Transactional);
            }
            // What pg_dump asks of servers since release 18: it tells what the view tells.
            "pg_get_sequence_data" => self.need_on(Verb::Select, "pg_catalog", "pg_sequences"),
            // They take a transaction number, which writes nothing that a rollback would leave.
            "txid_current" | "pg_current_xact_id" => self.at_least(Effect::Transactional),
            _ if name.starts_with("lo_") || name == "loread" || name == "lowrite" => {
                self.need_on(Verb::Call, "pg_catalog", name);
                if matches!(name, "lo_import" | "lo_export") {
                    self.need_on(Verb::Admin, "file", "*");
                }
                self.at_least(Effect::Lasting);
            }
            _ => {
                self.need_on(Verb::Admin, "pg_catalog", name);
                self.at_least(Effect::Lasting);
                self.path_changes();
            }
        }
    }

    /// `set_config(name, value, local)` is SET in another form, and judged so when its arguments are constants.
    fn call_set_config(&mut self, args: &[Node]) {
        self.at_least(Effect::Transactional);
        let name = self.constant(args.first());
        let value = self.constant(args.get(1));
        let local = matches!(self.boolean(args.get(2)), Some(true));
        match name {
            Some(name) if args.len() == 3 => {
                let value = value.map_or(SettingValue::Unknown, SettingValue::Constant);
                self.change_setting(&name, value, local);
            }
            _ => self.change_any_setting(),
        }
    }

    /// Something that can set any setting to anything.
    pub(super) fn change_any_setting(&mut self) {
        self.need_on(Verb::Admin, "setting", "*");
        self.at_least(Effect::Lasting);
        self.path_changes();
        self.steps.push(Step::Setting(settings::unknown_change()));
    }

    /// Sequences do not roll back.
    fn call_sequence(&mut self, args: &[Node]) {
        self.at_least(Effect::Lasting);
        let paths = match self.constant(args.first()).map(|text| sequence_name(&text)) {
            Some(Some((schema, name))) => self.relation_named("", schema.as_deref().unwrap_or(""), &name),
            _ => vec![[self.database(), "*".into(), "*".into()]],
        };
        self.need_each(Verb::Update, &paths, None);
    }

    /// The text of a constant argument, through casts.
    fn constant(&mut self, argument: Option<&Node>) -> Option<Arc<str>> {
        self.constants_matter = true;
        let mut node = argument?.node.as_ref()?;
        loop {
            match node {
                NodeEnum::TypeCast(cast) => node = cast.arg.as_ref()?.node.as_ref()?,
                NodeEnum::AConst(constant) => {
                    return match constant.val.as_ref()? {
                        a_const::Val::Sval(text) => Some(text.sval.as_str().into()),
                        _ => None,
                    };
                }
                _ => return None,
            }
        }
    }

    fn boolean(&mut self, argument: Option<&Node>) -> Option<bool> {
        self.constants_matter = true;
        match argument?.node.as_ref()? {
            NodeEnum::AConst(constant) => match constant.val.as_ref()? {
                a_const::Val::Boolval(value) => Some(value.boolval),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Judged by name whatever the search path, because no harm comes from taking a user's function for the built-in one:
/// the built-in one needs a permission that says so, or the relay tells when there is one of the user's.
fn is_special(name: &str) -> bool {
    matches!(
        name,
        "pg_get_sequence_data"
            | "set_config"
            | "nextval"
            | "setval"
            | "pg_notify"
            | "pg_export_snapshot"
            | "txid_current"
            | "pg_current_xact_id"
    ) || name.starts_with("pg_advisory_")
        || name.starts_with("pg_try_advisory_")
}

/// `schema.name` or `name` as regclass reads it: each part folded to lower case unless it is quoted.
fn sequence_name(text: &str) -> Option<(Option<Arc<str>>, Arc<str>)> {
    let mut parsed: Vec<Arc<str>> = Vec::new();
    let mut rest = text.trim();
    loop {
        let part: String;
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"')?;
            if quoted[end + 1..].starts_with('"') {
                return None;
            }
            part = quoted[..end].to_owned();
            rest = &quoted[end + 1..];
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            part = rest[..end].to_ascii_lowercase();
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || part.as_bytes()[0].is_ascii_digit() {
                return None;
            }
            rest = &rest[end..];
        }
        parsed.push(part.as_str().into());
        match rest.strip_prefix('.') {
            Some(more) => rest = more,
            None if rest.is_empty() => break,
            None => return None,
        }
    }
    match parsed.as_slice() {
        [name] => Some((None, name.clone())),
        [schema, name] => Some((Some(schema.clone()), name.clone())),
        _ => None,
    }
}
