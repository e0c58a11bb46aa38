//! Questions about reviews: what is in them, and who may decide.

use std::collections::BTreeSet;

use crate::command::Rejection;
use crate::grant::TargetSelector;
use crate::id::{Name, ReviewId};
use crate::limits::REVIEW_CHUNK;
use crate::lock::LockOn;
use crate::operation::Verb;
use crate::review::{Choice, Item, Review, Reviewers, Standing, Subject};
use crate::state::State;

impl State {
    /// Those that are not signed off.
    pub(crate) fn open_reviews(&self) -> usize {
        self.reviews.values().filter(|review| !review.is_closed()).count()
    }

    /// The items of a review, in the order of their numbers.
    pub fn items_of(&self, review: ReviewId) -> impl Iterator<Item = (u32, &Item)> {
        let chunks = self.review_items.range((review, 0)..=(review, u32::MAX));
        chunks.flat_map(|((_, chunk), items)| items.items.iter().zip(chunk * REVIEW_CHUNK..).map(|(item, number)| (number, item)))
    }

    pub fn item(&self, review: ReviewId, number: u32) -> Option<&Item> {
        let chunk = self.review_items.get(&(review, number / REVIEW_CHUNK))?;
        chunk.items.get((number % REVIEW_CHUNK) as usize)
    }

    /// Where an item stands. One that ended by other means before anybody decided needs no decision.
    pub fn standing(&self, review: &Review, number: u32, item: &Item) -> Standing {
        match review.standing(self.review_history.get(&(review.id, number))) {
            Standing::Waits { .. } if !self.is_there(item) => Standing::Ended,
            standing => standing,
        }
    }

    /// What the item is about can still be decided on.
    pub fn is_there(&self, item: &Item) -> bool {
        match &item.subject {
            Subject::Grant(of) => self.grants.get(&of.id).is_some_and(|grant| !grant.has_ended(self.now)),
            Subject::Token { id, .. } => self.principals.get(&item.principal).is_some_and(|p| p.tokens.contains_key(id)),
        }
    }

    /// Who must not decide on an item: as it was at the opening, and as it is now.
    pub fn conflicted_on(&self, item: &Item) -> BTreeSet<Name> {
        let mut all = item.conflicted.clone();
        self.add_conflicted(&item.principal, &mut all);
        if let Subject::Grant(of) = &item.subject
            && let Some(grant) = self.grants.get(&of.id)
        {
            all.insert(grant.granted_by.clone());
        }
        all
    }

    /// May this person decide on that item now?
    ///
    /// # Errors
    /// [`Rejection::SeparationOfDuties`] for whoever must keep out, [`Rejection::Forbidden`] for whoever was not asked.
    pub fn may_review(&self, person: &Name, review: &Review, number: u32, item: &Item) -> Result<(), Rejection> {
        let separated = |why: String| Err(Rejection::SeparationOfDuties { who: person.clone(), why });
        let locked = self.live_lock(&LockOn::Principal(person.clone()), self.now).is_some();
        if self.active_person(person).is_none() || locked {
            return Err(Rejection::Forbidden { message: format!("{person} is not an active person") });
        }
        if self.conflicted_on(item).contains(person) {
            return separated(format!("answers for, or granted, item {number}"));
        }
        let history = self.review_history.get(&(review.id, number));
        let stage = review.stage(history);
        let earlier = history.map_or(&[][..], |h| &h.decisions);
        if earlier.iter().any(|d| d.by == *person && d.stage < stage && !matches!(d.choice, Choice::Abstain)) {
            return separated(format!("decided on item {number} in an earlier stage"));
        }
        let handed = history.and_then(|h| h.handed.iter().rfind(|h| h.stage == stage)).map(|h| &h.to);
        let handed = handed.filter(|to| self.active_person(to).is_some() && !self.conflicted_on(item).contains(*to));
        let asked = match handed {
            Some(to) => to == person,
            None => review.terms.stages.get(stage as usize).is_some_and(|reviewers| self.is_asked(person, review, reviewers, item)),
        };
        if asked || (review.terms.fallback.contains(person) && self.asks_fallback(review, stage, item)) {
            Ok(())
        } else {
            Err(Rejection::Forbidden { message: format!("{person} is not a reviewer of item {number} of {}", review.id) })
        }
    }

    /// The fallback reviewers who may decide on an item that waits for a decision, because time has passed or because nobody
    /// else can.
    pub fn escalated_to(&self, review: &Review, number: u32, item: &Item) -> Vec<Name> {
        let waits = matches!(self.standing(review, number, item), Standing::Waits { .. });
        let stage = review.stage(self.review_history.get(&(review.id, number)));
        if review.is_closed() || !waits || !self.asks_fallback(review, stage, item) {
            return Vec::new();
        }
        review.terms.fallback.iter().filter(|person| self.may_review(person, review, number, item).is_ok()).cloned().collect()
    }

    fn asks_fallback(&self, review: &Review, stage: u32, item: &Item) -> bool {
        review.is_escalated(self.now) || self.asks_nobody(review, stage, item)
    }

    fn is_asked(&self, person: &Name, review: &Review, reviewers: &Reviewers, item: &Item) -> bool {
        match reviewers {
            Reviewers::Named(names) => names.contains(person),
            Reviewers::TargetOwner => self.target_owner(item) == Some(person),
            Reviewers::ByRight => self.may_administer(person, Verb::Decide, "review", review.name.as_str()),
        }
    }

    /// No reviewer of this stage could decide: gone, or in conflict. A right may be given to somebody any time.
    fn asks_nobody(&self, review: &Review, stage: u32, item: &Item) -> bool {
        let conflicted = self.conflicted_on(item);
        let can = |name: &Name| self.active_person(name).is_some() && !conflicted.contains(name);
        match review.terms.stages.get(stage as usize) {
            Some(Reviewers::Named(names)) => !names.iter().any(can),
            Some(Reviewers::TargetOwner) => !self.target_owner(item).is_some_and(can),
            Some(Reviewers::ByRight) => false,
            None => true,
        }
    }

    fn target_owner(&self, item: &Item) -> Option<&Name> {
        match &item.subject {
            Subject::Grant(of) => match &of.target {
                TargetSelector::Name(name) => self.targets.get(name)?.owner.as_ref(),
                TargetSelector::Labels(_) | TargetSelector::Assize => None,
            },
            Subject::Token { .. } => None,
        }
    }
}
