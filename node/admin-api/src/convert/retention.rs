use domain::command::Command;
use domain::retention::{Held, LegalHold, RecordClass};
use domain::state::State;
use proto::admin as pb;

use super::fields::Fields;
use super::{span, text, timestamp};

/// Of a class without a rule: what there is to say of it.
pub(crate) fn rule(class: RecordClass, state: &State) -> pb::RetentionRule {
    let rule = state.retention_rules.get(&class);
    let pruning = state.retention.progress.get(&class);
    let last = pruning.and_then(|pruning| pruning.last.as_ref());
    pb::RetentionRule {
        class: class.to_string(),
        keep: rule.and_then(|rule| rule.keep).map(span),
        reason: rule.map(|rule| rule.reason.clone()).unwrap_or_default(),
        by: text(rule.map(|rule| &rule.by)),
        at: rule.map(|rule| timestamp(rule.at)),
        keep_min: Some(span(class.keep_min())),
        pruned: pruning.map_or(0, |pruning| pruning.pruned),
        plan: last.map_or(0, |plan| plan.index.0),
        planned: last.map(|plan| timestamp(plan.at)),
    }
}

pub(crate) fn hold(hold: &LegalHold) -> pb::LegalHold {
    pb::LegalHold {
        id: hold.id.to_string(),
        principal: text(hold.on.principal.as_ref()),
        target: text(hold.on.target.as_ref()),
        run: text(hold.on.run.as_ref()),
        from: hold.on.from.map(timestamp),
        until: hold.on.until.map(timestamp),
        reason: hold.reason.clone(),
        two_people: hold.two_people,
        by: hold.by.to_string(),
        at: Some(timestamp(hold.at)),
    }
}

pub(crate) fn place(f: &mut Fields, hold: pb::LegalHold, everything: bool) -> Option<Command> {
    let principal = f.parse_optional("hold.principal", &hold.principal);
    let target = f.parse_optional("hold.target", &hold.target);
    let run = f.parse_optional("hold.run", &hold.run);
    let from = f.time("hold.from", hold.from.as_ref());
    let until = f.time("hold.until", hold.until.as_ref());
    let on = Held { principal: principal?, target: target?, run: run?, from: from?, until: until? };
    if (on == Held::default()) != everything {
        return f.fault("everything", "must be set where nothing is named, and only there");
    }
    Some(Command::CreateHold { on, reason: hold.reason, two_people: hold.two_people })
}
