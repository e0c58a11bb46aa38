//! The report of a review: one CSV (RFC 4180), the same bytes on every node and for ever once the review is closed, so
//! that the digest that was signed off is the SHA-256 of the file an auditor holds.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{Access, Choice, History, Item, ItemDecision, Review, Standing, Subject};
use crate::grant::TargetSelector;
use crate::id::{Digest, Name};
use crate::state::State;
use crate::time::LogTime;

/// The columns. Times are log time as RFC 3339 has it, in UTC; versions are indexes of the control log.
pub const REPORT_HEADER: &str = "review,name,basis,opened_by,opened,due,item,subject,principal,target,access,granted_by,granted,expires,risk,version,\
outcome,stage,decision,by,at,index,seen,before,after,rationale";

/// All items of a review with their whole history, a decision a line; an item without one has a line of its own.
pub fn report(state: &State, review: &Review) -> String {
    let mut text = String::from(REPORT_HEADER);
    text.push_str("\r\n");
    for (number, item) in state.items_of(review.id) {
        let history = state.review_history.get(&(review.id, number));
        let standing = state.standing(review, number, item);
        for line in lines(history) {
            row(&mut text, &columns(review, number, item, standing, line));
        }
    }
    text
}

impl Review {
    /// The SHA-256 of its [`report`].
    pub fn report_digest(&self, state: &State) -> Digest {
        Digest(Sha256::digest(report(state, self)).into())
    }
}

enum Line<'a> {
    Undecided,
    Decision(&'a ItemDecision),
    Handed(&'a super::Handed),
}

/// In the order of the log.
fn lines(history: Option<&History>) -> Vec<Line<'_>> {
    let Some(history) = history else { return vec![Line::Undecided] };
    let mut lines: Vec<(u64, Line<'_>)> = history.decisions.iter().map(|d| (d.index.0, Line::Decision(d))).collect();
    lines.extend(history.handed.iter().map(|h| (h.index.0, Line::Handed(h))));
    lines.sort_by_key(|(index, _)| *index);
    if lines.is_empty() { vec![Line::Undecided] } else { lines.into_iter().map(|(_, line)| line).collect() }
}

fn columns(review: &Review, number: u32, item: &Item, standing: Standing, line: Line<'_>) -> Vec<String> {
    let (target, access, granted_by, granted, expires) = match &item.subject {
        Subject::Grant(grant) => {
            let access = Access { permissions: grant.permissions.clone(), roles: grant.roles.clone() };
            (selector(&grant.target), access.in_words(), &grant.granted_by, grant.granted, grant.expires)
        }
        Subject::Token { usage, label, issued_by, issued, expires, .. } => {
            (usage.as_str().to_owned(), label.clone(), issued_by, *issued, *expires)
        }
    };
    let mut columns = vec![
        review.id.to_string(),
        review.name.to_string(),
        review.terms.basis.clone(),
        review.opened_by.to_string(),
        review.opened.rfc_3339(),
        review.due().rfc_3339(),
        number.to_string(),
        item.subject_id(),
        item.principal.to_string(),
        target,
        access,
        granted_by.to_string(),
        granted.rfc_3339(),
        expires.map(LogTime::rfc_3339).unwrap_or_default(),
        item.risk.in_words().to_owned(),
        item.version().to_string(),
        standing.in_words(),
    ];
    columns.extend(match line {
        Line::Undecided => Default::default(),
        Line::Decision(d) => {
            let (before, after) = match &d.choice {
                Choice::Modify { access, .. } => (d.before.as_ref().map(Access::in_words).unwrap_or_default(), access.in_words()),
                Choice::Approve | Choice::Revoke | Choice::Abstain => Default::default(),
            };
            [
                (d.stage + 1).to_string(),
                d.choice.in_words().to_owned(),
                d.by.to_string(),
                d.at.rfc_3339(),
                d.index.to_string(),
                d.seen.to_string(),
                before,
                after,
                d.rationale.clone(),
            ]
        }
        Line::Handed(h) => [
            String::new(),
            format!("handed to {}", h.to),
            h.by.to_string(),
            h.at.rfc_3339(),
            h.index.to_string(),
            String::new(),
            String::new(),
            String::new(),
            h.reason.clone(),
        ],
    });
    columns
}

fn selector(target: &TargetSelector) -> String {
    match target {
        TargetSelector::Name(name) => name.to_string(),
        TargetSelector::Labels(labels) => labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
        TargetSelector::Assize => "assize (administration)".to_owned(),
    }
}

impl Access {
    /// Permissions, a line each as people write them, and roles.
    pub fn in_words(&self) -> String {
        let permissions = self.permissions.iter().map(ToString::to_string);
        let roles = self.roles.iter().map(|role: &Name| format!("role {role}"));
        permissions.chain(roles).collect::<Vec<_>>().join("; ")
    }
}

/// Quoted where RFC 4180 asks for it. A leading `=`, `+`, `-` or `@` is text to a spreadsheet too: it gets a `'`.
fn row(text: &mut String, columns: &[String]) {
    for (place, column) in columns.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        let guard = if column.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        if guard.is_empty() && !column.contains([',', '"', '\n', '\r']) {
            text.push_str(column);
        } else {
            write!(text, "\"{guard}{}\"", column.replace('"', "\"\"")).expect("a string takes all");
        }
    }
    text.push_str("\r\n");
}
