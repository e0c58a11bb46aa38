//! The canonical form: two sets that allow the same compare equal in the ordinary cases.
//!
//! Per verb: exceptions that take nothing away are dropped, those that take whole columns away become a shorter list
//! of columns, what another permission allows already is dropped, lists of columns of one path are merged, and an
//! exception that another permission gives back is dropped. Then verbs of equal patterns are put together again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pattern, Permission, Segment};
use crate::operation::{Protocol, Verb};

/// The same permission with the fewest exceptions; `None` where it allows nothing.
pub(super) fn simplify(mut permission: Permission) -> Option<Permission> {
    // A name `*` would be read as "any" by the classifier, so no access has it.
    let unreachable = permission.on.segments.iter().any(|segment| matches!(segment, Segment::Exact(name) if name.as_ref() == "*"));
    if permission.verbs.is_empty() || unreachable {
        return None;
    }
    let mut except: Vec<Pattern> = Vec::with_capacity(permission.except.len());
    for exception in std::mem::take(&mut permission.except) {
        let Some(mut within) = permission.on.meet(&exception) else { continue };
        if exception.columns.is_none() {
            within.columns = None;
        }
        if exception.segments_cover(&permission.on) {
            match (&mut permission.on.columns, &within.columns) {
                (_, None) => return None,
                (Some(own), Some(taken)) => {
                    own.retain(|column| !taken.contains(column));
                    continue;
                }
                (None, Some(_)) => {}
            }
        }
        except.push(within);
    }
    if let Some(own) = &permission.on.columns {
        // Columns may have gone meanwhile.
        for exception in &mut except {
            if let Some(columns) = &mut exception.columns {
                columns.retain(|column| own.contains(column));
            }
        }
    }
    except.retain(|exception| exception.columns.as_ref().is_none_or(|columns| !columns.is_empty()));
    except.sort();
    except.dedup();
    permission.except = without_covered(merge_columns(except), |a, b| a.covers(b));
    Some(permission)
}

/// Exceptions on one path with lists of columns: one exception.
fn merge_columns(patterns: Vec<Pattern>) -> Vec<Pattern> {
    let mut merged: Vec<Pattern> = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        match merged.last_mut() {
            Some(Pattern { segments, columns: Some(columns) }) if *segments == pattern.segments && pattern.columns.is_some() => {
                columns.extend(pattern.columns.into_iter().flatten())
            }
            _ => merged.push(pattern),
        }
    }
    merged
}

/// Drops every item that another one covers. Of two that cover each other the first stays.
fn without_covered<T>(items: Vec<T>, covers: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(items.len());
    for item in items {
        if kept.iter().any(|other| covers(other, &item)) {
            continue;
        }
        kept.retain(|other| !covers(&item, other));
        kept.push(item);
    }
    kept
}

/// What one verb is allowed on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    on: Pattern,
    except: Vec<Pattern>,
}

impl Rule {
    /// Sound, not complete: what `covers` of the algebra says exactly, pattern by pattern.
    fn covers(&self, other: &Rule) -> bool {
        self.on.covers(&other.on)
            && self.except.iter().all(|exception| match other.on.meet(exception) {
                None => true,
                Some(mut within) => {
                    if exception.columns.is_none() {
                        within.columns = None;
                    }
                    within.columns.as_ref().is_some_and(BTreeSet::is_empty) || other.except.iter().any(|theirs| theirs.covers(&within))
                }
            })
    }
}

/// The canonical form of a union of permissions.
pub(super) fn canonical(permissions: impl IntoIterator<Item = Permission>) -> Vec<Permission> {
    let mut by_verb: BTreeMap<(Protocol, Verb), Vec<Rule>> = BTreeMap::new();
    for permission in permissions.into_iter().filter_map(simplify) {
        for verb in &permission.verbs {
            by_verb
                .entry((permission.protocol, *verb))
                .or_default()
                .push(Rule { on: permission.on.clone(), except: permission.except.clone() });
        }
    }
    let mut verbs_of: BTreeMap<(Protocol, Rule), BTreeSet<Verb>> = BTreeMap::new();
    for ((protocol, verb), rules) in by_verb {
        for rule in reduce(protocol, verb, rules) {
            verbs_of.entry((protocol, rule)).or_default().insert(verb);
        }
    }
    let mut permissions: Vec<Permission> =
        verbs_of.into_iter().map(|((protocol, rule), verbs)| Permission { protocol, verbs, on: rule.on, except: rule.except }).collect();
    permissions.sort();
    permissions
}

fn reduce(protocol: Protocol, verb: Verb, mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.sort();
    rules.dedup();
    // Giving an exception back makes a rule wider, so that it may cover another or merge with it: a few rounds, each
    // with fewer rules or fewer exceptions than the one before.
    loop {
        let size = (rules.len(), rules.iter().map(|rule| rule.except.len()).sum::<usize>());
        rules = without_covered_rules(merge_rules(rules));
        give_back(protocol, verb, &mut rules);
        rules.sort();
        rules.dedup();
        if size == (rules.len(), rules.iter().map(|rule| rule.except.len()).sum::<usize>()) {
            return rules;
        }
    }
}

/// As [`without_covered`], for the sets that grow large: those that name every table. A rule without wildcards is
/// covered by rules with wildcards or by those on the same path, which stand beside it in the order of rules.
fn without_covered_rules(rules: Vec<Rule>) -> Vec<Rule> {
    let (named, wild): (Vec<Rule>, Vec<Rule>) =
        rules.into_iter().partition(|rule| rule.on.segments.iter().all(|segment| matches!(segment, Segment::Exact(_))));
    let mut wild = without_covered(wild, Rule::covers);
    let mut kept: Vec<Rule> = Vec::with_capacity(named.len() + wild.len());
    for path in named.chunk_by(|a, b| a.on.segments == b.on.segments) {
        let rest = path.iter().filter(|rule| !wild.iter().any(|other| other.covers(rule))).cloned().collect();
        kept.extend(without_covered(rest, Rule::covers));
    }
    kept.append(&mut wild);
    kept
}

/// Rules that differ only in their lists of columns: one rule.
fn merge_rules(rules: Vec<Rule>) -> Vec<Rule> {
    let mut merged: BTreeMap<(Vec<Segment>, Vec<Pattern>, bool), Rule> = BTreeMap::new();
    for rule in rules {
        let key = (rule.on.segments.clone(), rule.except.clone(), rule.on.columns.is_some());
        match merged.get_mut(&key) {
            Some(Rule { on: Pattern { columns: Some(columns), .. }, .. }) => columns.extend(rule.on.columns.into_iter().flatten()),
            _ => {
                merged.insert(key, rule);
            }
        }
    }
    merged.into_values().collect()
}

/// Drops exceptions that another rule allows, wholly.
fn give_back(protocol: Protocol, verb: Verb, rules: &mut [Rule]) {
    for i in 0..rules.len() {
        if rules[i].except.is_empty() {
            continue;
        }
        let on = &rules[i].on;
        let keep: Vec<bool> = rules[i]
            .except
            .iter()
            .map(|exception| {
                let Some(taken) = on.meet(exception) else { return false };
                let taken = Rule { on: taken, except: Vec::new() };
                !rules.iter().enumerate().any(|(j, other)| j != i && other.covers(&taken))
            })
            .collect();
        let mut keep = keep.into_iter();
        rules[i].except.retain(|_| keep.next().unwrap_or(true));
        // Fewer exceptions may be written shorter.
        let rule =
            Permission { protocol, verbs: BTreeSet::from([verb]), on: rules[i].on.clone(), except: std::mem::take(&mut rules[i].except) };
        if let Some(simple) = simplify(rule) {
            rules[i] = Rule { on: simple.on, except: simple.except };
        }
    }
}
