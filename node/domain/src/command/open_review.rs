//! Opens a review: its population is what is in scope now.

use std::sync::Arc;
use std::time::Duration;

use super::check::{active_person, invalid, labels, long};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::{Name, ReviewId};
use crate::limits::{
    REVIEW_CERTIFIES_MAX, REVIEW_ITEMS_MAX, REVIEW_LENGTH_MAX, REVIEW_LENGTH_MIN, REVIEW_NAMES_MAX, REVIEW_STAGES_MAX, REVIEWS_OPEN_MAX,
};
use crate::review::trigger::Triggered;
use crate::review::{Item, Review, ReviewStatus, Reviewers, Terms, population};
use crate::time::LogTime;

pub(super) fn apply(step: &mut Step<'_>, name: Name, terms: Terms) -> Result<Reply, Rejection> {
    check(step, &terms)?;
    if step.state.open_reviews() >= REVIEWS_OPEN_MAX {
        return Err(Rejection::TooMany {
            limit: u32::try_from(REVIEWS_OPEN_MAX).unwrap_or(u32::MAX),
            scope: "among open reviews".to_owned(),
        });
    }
    let items = population(step.state, &terms.scope);
    if items.is_empty() {
        return Err(invalid("scope", "selects nothing"));
    }
    if items.len() > REVIEW_ITEMS_MAX {
        return Err(invalid("scope", format!("selects {} items; one review has at most {REVIEW_ITEMS_MAX}", items.len())));
    }
    let by = step.actor_name();
    let repeats_at = terms.repeats.map(|every| step.now.after(every));
    let opened = Opened { name, terms, by, repeats_at, trigger: None };
    Ok(Reply::Review(put(step, opened, items)))
}

/// The next of a series, once its time has come. One without items is passed over.
pub(super) fn repeat(step: &mut Step<'_>, at: LogTime, id: ReviewId) {
    let Some(mut last) = step.state.reviews.get(&id).cloned() else { unreachable!("the index names {id}, which does not exist") };
    let next = last.terms.repeats.map(|every| at.after(every).max(step.now.after(Duration::from_millis(1))));
    let items = population(step.state, &last.terms.scope);
    let (name, terms, by) = (last.name.clone(), last.terms.clone(), last.opened_by.clone());
    let opens = !items.is_empty() && items.len() <= REVIEW_ITEMS_MAX;
    last.repeats_at = if opens { None } else { next };
    last.version = step.index;
    step.put_review(last);
    if opens {
        put(step, Opened { name, terms, by, repeats_at: next, trigger: None }, items);
    }
}

/// What a trigger has gathered. `None` where nothing is in scope, or more than one review holds.
pub(super) fn by_trigger(step: &mut Step<'_>, name: Name, terms: Terms, by: Name, why: Triggered) -> Option<ReviewId> {
    let items = population(step.state, &terms.scope);
    let opens = !items.is_empty() && items.len() <= REVIEW_ITEMS_MAX;
    opens.then(|| put(step, Opened { name, terms, by, repeats_at: None, trigger: Some(Arc::new(why)) }, items))
}

struct Opened {
    name: Name,
    terms: Terms,
    by: Name,
    repeats_at: Option<LogTime>,
    trigger: Option<Arc<Triggered>>,
}

fn put(step: &mut Step<'_>, opened: Opened, items: Vec<Item>) -> ReviewId {
    let id = ReviewId(step.index.0);
    let count = u32::try_from(items.len()).expect("bounded by REVIEW_ITEMS_MAX");
    step.put_review_items(id, items);
    let Opened { name, terms, by: opened_by, repeats_at, trigger } = opened;
    step.put_review(Review {
        id,
        name,
        terms,
        opened_by,
        opened: step.now,
        items: count,
        undecided: count,
        worked: 0,
        repeats_at,
        status: ReviewStatus::Open,
        version: step.index,
        trigger,
    });
    id
}

pub(super) fn check(step: &Step<'_>, terms: &Terms) -> Result<(), Rejection> {
    if terms.basis.trim().is_empty() {
        return Err(invalid("basis", "must say why this review is held, and why this often"));
    }
    long("basis", &terms.basis)?;
    let scope = &terms.scope;
    if !scope.grants && !scope.tokens {
        return Err(invalid("scope", "takes in neither grants nor tokens"));
    }
    labels(&scope.labels)?;
    for (field, names) in [("scope.principals", &scope.principals), ("scope.owners", &scope.owners), ("fallback", &terms.fallback)] {
        bounded(field, names.len())?;
        if let Some(missing) = names.iter().find(|name| !step.state.principals.contains_key(*name)) {
            return Err(invalid(field, format!("there is no principal {missing}")));
        }
    }
    bounded("scope.targets", scope.targets.len())?;
    if let Some(missing) = scope.targets.iter().find(|name| !step.state.targets.contains_key(*name)) {
        return Err(invalid("scope.targets", format!("there is no target {missing}")));
    }
    if terms.stages.is_empty() || terms.stages.len() > REVIEW_STAGES_MAX {
        return Err(invalid("stages", format!("are not between 1 and {REVIEW_STAGES_MAX}")));
    }
    for stage in &terms.stages {
        match stage {
            Reviewers::Named(names) if names.is_empty() => return Err(invalid("stages", "name nobody")),
            Reviewers::Named(names) => {
                bounded("stages", names.len())?;
                names.iter().try_for_each(|name| active_person(step.state, "stages", name))?;
            }
            Reviewers::TargetOwner | Reviewers::ByRight => {}
        }
    }
    terms.fallback.iter().try_for_each(|name| active_person(step.state, "fallback", name))?;
    between("length", terms.length, REVIEW_LENGTH_MIN, REVIEW_LENGTH_MAX)?;
    between("certifies", terms.certifies, REVIEW_LENGTH_MIN, REVIEW_CERTIFIES_MAX)?;
    if let Some(after) = terms.escalates {
        between("escalates", after, Duration::ZERO, terms.length)?;
        if terms.fallback.is_empty() {
            return Err(invalid("escalates", "to nobody: name a fallback"));
        }
    }
    if let Some(every) = terms.repeats {
        between("repeats", every, terms.length, REVIEW_CERTIFIES_MAX)?;
    }
    Ok(())
}

fn bounded(field: &str, names: usize) -> Result<(), Rejection> {
    if names > REVIEW_NAMES_MAX { Err(invalid(field, format!("has more than {REVIEW_NAMES_MAX} names"))) } else { Ok(()) }
}

fn between(field: &str, span: Duration, min: Duration, max: Duration) -> Result<(), Rejection> {
    if span < min || span > max {
        return Err(invalid(field, format!("is not between {} and {} seconds", min.as_secs(), max.as_secs())));
    }
    Ok(())
}
