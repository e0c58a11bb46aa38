//! What a review is about: which grants and tokens it takes in, and how risky each is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Item, Risk, Subject};
use crate::grant::{Grant, TargetSelector};
use crate::id::Name;
use crate::operation::Verb;
use crate::permission::{Permission, Segment};
use crate::principal::{Principal, TokenUse};
use crate::state::State;

/// All that is given must hold; what is empty holds for everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Grants are items.
    pub grants: bool,
    /// Tokens are items, each on its own.
    pub tokens: bool,
    pub principals: BTreeSet<Name>,
    /// Of agents, as owner or backup owner.
    pub owners: BTreeSet<Name>,
    /// Grants that reach one of these. Tokens of principals that have such a grant.
    pub targets: BTreeSet<Name>,
    /// Labels of the principal.
    pub labels: BTreeMap<String, String>,
    /// Grants with one of these verbs.
    pub verbs: BTreeSet<Verb>,
    pub risk_from: Option<Risk>,
    /// Grants that were not used for at least this long. It takes in no tokens: their use is not counted.
    pub unused_for: Option<Duration>,
}

/// Everything in scope at the log time of this state, in the order of principals and ids: the same on every node.
pub(crate) fn population(state: &State, scope: &Scope) -> Vec<Item> {
    let mut items = Vec::new();
    for principal in state.principals.values().filter(|p| scope.takes_principal(p)) {
        let mut reached = scope.targets.is_empty();
        for grant in state.grants_of(&principal.name).filter(|grant| !grant.has_ended(state.now)) {
            if !scope.reaches(state, grant) {
                continue;
            }
            reached = true;
            let risk = risk_of_grant(state, grant);
            if scope.grants && scope.takes_verbs(state, grant) && scope.takes_risk(risk) && scope.takes_unused(state, grant) {
                items.push(item(state, principal, &grant.granted_by, Subject::Grant(Box::new(grant.clone())), risk));
            }
        }
        if !scope.tokens || !reached || !scope.verbs.is_empty() || scope.unused_for.is_some() {
            continue;
        }
        for token in principal.tokens.values().filter(|token| token.expires.is_none_or(|end| state.now < end)) {
            let risk = risk_of_token(token.usage);
            if scope.takes_risk(risk) {
                items.push(item(state, principal, &token.issued_by, Subject::of_token(token), risk));
            }
        }
    }
    items
}

fn item(state: &State, principal: &Principal, granted_by: &Name, subject: Subject, risk: Risk) -> Item {
    let mut conflicted = BTreeSet::from([granted_by.clone()]);
    state.add_conflicted(&principal.name, &mut conflicted);
    Item { subject, principal: principal.name.clone(), conflicted, risk }
}

impl Scope {
    pub(crate) fn takes_principal(&self, principal: &Principal) -> bool {
        let mut owners = principal.owners();
        (self.principals.is_empty() || self.principals.contains(&principal.name))
            && (self.owners.is_empty() || owners.any(|owner| self.owners.contains(owner)))
            && self.labels.iter().all(|(key, value)| principal.labels.get(key) == Some(value))
    }

    fn reaches(&self, state: &State, grant: &Grant) -> bool {
        let selected = |name: &Name| match &grant.target {
            TargetSelector::Name(target) => target == name,
            TargetSelector::Labels(_) => state.targets.get(name).is_some_and(|target| grant.target.selects(target)),
            TargetSelector::Assize => false,
        };
        self.targets.is_empty() || self.targets.iter().any(selected)
    }

    fn takes_verbs(&self, state: &State, grant: &Grant) -> bool {
        self.verbs.is_empty() || permissions(state, grant).any(|p| !p.verbs.is_disjoint(&self.verbs))
    }

    fn takes_unused(&self, state: &State, grant: &Grant) -> bool {
        self.unused_for.is_none_or(|span| state.unused_since(grant).is_some_and(|since| since.after(span) <= state.now))
    }

    fn takes_risk(&self, risk: Risk) -> bool {
        self.risk_from.is_none_or(|from| risk >= from)
    }
}

/// Inline and by role.
fn permissions<'a>(state: &'a State, grant: &'a Grant) -> impl Iterator<Item = &'a Permission> {
    let by_role = grant.roles.iter().filter_map(|role| state.roles.get(role)).flat_map(|role| role.permissions.iter());
    grant.permissions.iter().chain(by_role)
}

pub(crate) fn risk_of_grant(state: &State, grant: &Grant) -> Risk {
    // Older releases know no risk but that of the verb.
    let by_schema = state.cluster.feature_level >= 4;
    permissions(state, grant).map(|permission| risk_of_permission(permission, by_schema)).max().unwrap_or(Risk::Low)
}

fn risk_of_permission(permission: &Permission, by_schema: bool) -> Risk {
    let within = |name: &str| matches!(permission.on.segments.get(1), Some(Segment::Exact(schema)) if schema.as_ref() == name);
    // The session's own tables end with it.
    if by_schema && within("pg_temp") {
        return Risk::Low;
    }
    let of_verb = |verb: &Verb| match verb {
        Verb::Select | Verb::Session | Verb::Read => Risk::Low,
        // Of the catalogue: the server itself refuses what writes there.
        Verb::Call if within("pg_catalog") => Risk::Low,
        Verb::Copy if by_schema && (within("pg_catalog") || within("information_schema")) => Risk::Low,
        Verb::Insert | Verb::Update | Verb::Delete | Verb::Merge | Verb::Call | Verb::Copy => Risk::Medium,
        Verb::Truncate | Verb::Ddl | Verb::Grant | Verb::Admin | Verb::Write | Verb::Decide | Verb::Operate => Risk::High,
    };
    permission.verbs.iter().map(of_verb).max().unwrap_or(Risk::Low)
}

fn risk_of_token(usage: TokenUse) -> Risk {
    match usage {
        TokenUse::Gateway => Risk::Medium,
        TokenUse::Admin => Risk::High,
    }
}
