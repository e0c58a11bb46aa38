//! What people are told: an entry of the control log, or time that passed, in words.
//!
//! Texts that people and agents wrote are escaped and cut here, once for all receivers. Statements, parameters and what a
//! window would permit are left out: whoever decides reads them by the command that is named.

use domain::audit::leaf::ControlLeaf;
use domain::command::{Actor, Command, Reply};
use domain::escape::show;
use domain::grant::TargetSelector;
use domain::id::{RequestId, ReviewId};
use domain::lock::LockOn;
use domain::request::{Ask, RequestStatus};
use domain::review::{Choice, Review, ReviewStatus};
use domain::sink::EventKind;
use domain::state::State;
use domain::time::LogTime;

use crate::limits::{CAUSES_TOLD, REMINDERS, TEXT_SHOWN};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// `request.opened`, …; `sink.test` is nobody's choice.
    pub(crate) kind: &'static str,
    pub(crate) at: LogTime,
    pub(crate) title: String,
    pub(crate) facts: Vec<(&'static str, String)>,
    /// What to run next.
    pub(crate) commands: Vec<String>,
}

impl Event {
    pub(crate) fn new(kind: &'static str, at: LogTime, title: impl Into<String>) -> Event {
        Event { kind, at, title: title.into(), facts: Vec::new(), commands: Vec::new() }
    }

    fn of(kind: EventKind, at: LogTime, title: impl Into<String>) -> Event {
        Event::new(kind.as_str(), at, title)
    }

    /// What is empty is left out.
    pub(crate) fn fact(mut self, name: &'static str, value: impl ToString) -> Event {
        let value = value.to_string();
        if !value.is_empty() {
            self.facts.push((name, value));
        }
        self
    }

    /// As [`Event::fact`], for what somebody wrote.
    fn text(self, name: &'static str, value: &str) -> Event {
        let shown = show(value).text;
        let mut cut: String = shown.chars().take(TEXT_SHOWN).collect();
        if cut.len() < shown.len() {
            cut.push('…');
        }
        self.fact(name, cut)
    }

    fn command(mut self, command: impl Into<String>) -> Event {
        self.commands.push(command.into());
        self
    }
}

/// Seconds are enough for people.
pub(crate) fn when(at: LogTime) -> String {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Principal(name) => name.to_string(),
        Actor::Node(node) => format!("node {node}"),
        Actor::Operator => "an operator on a machine".into(),
    }
}

/// What an entry of the control log means to people; `None` for most.
pub(crate) fn of_leaf(leaf: &ControlLeaf, state: &State) -> Option<(EventKind, Event)> {
    if matches!(leaf.reply, Reply::Rejected(_)) {
        return None;
    }
    let told = Told { leaf, state, by: actor(&leaf.proposal.actor) };
    let (kind, event) = match &leaf.proposal.command {
        Command::OpenRequest { .. } | Command::DecideRequest { .. } | Command::WithdrawRequest { .. } => told.request()?,
        Command::OpenReview { .. } | Command::DecideItems { .. } | Command::CloseReview { .. } | Command::Tick => told.review()?,
        Command::IssueGrant { .. } | Command::RevokeGrant { .. } | Command::RevokeToken { .. } => told.access()?,
        Command::CreateLock { .. } | Command::DeleteLock { .. } => told.lock()?,
        Command::BreakGlass { .. } | Command::ReviewBreakGlass { .. } => told.break_glass()?,
        _ => told.administration()?,
    };
    Some((kind, event.fact("entry", leaf.index)))
}

struct Told<'a> {
    leaf: &'a ControlLeaf,
    state: &'a State,
    by: String,
}

type Found = Option<(EventKind, Event)>;

impl Told<'_> {
    fn event(&self, kind: EventKind, title: String) -> Event {
        Event::of(kind, self.leaf.proposal.stamp, title)
    }

    fn request(&self) -> Found {
        match (&self.leaf.proposal.command, &self.leaf.reply) {
            (Command::OpenRequest { principal, on_behalf_of, target, ask, reason }, Reply::Request { request, joined: false }) => {
                let kind = EventKind::RequestOpened;
                let asks = match ask {
                    Ask::Exact { .. } => "one operation".to_owned(),
                    Ask::Window { length, .. } => format!("access for {} s", length.as_secs()),
                };
                let event = self.event(kind, format!("{principal} asks for {asks} on {target} ({request})"));
                let event = event.fact("request", request).fact("principal", principal).fact("target", target);
                let event = event.fact("on behalf of", on_behalf_of.as_ref().map(ToString::to_string).unwrap_or_default());
                let event = match ask {
                    Ask::Exact { digest, .. } => event.fact("digest", digest),
                    Ask::Window { .. } => event,
                };
                Some((kind, self.open(event.text("reason", reason), *request)))
            }
            (Command::DecideRequest { request, approve, reason }, _) => {
                let kind = EventKind::RequestDecided;
                let decided = if *approve { "approved" } else { "denied" };
                let event = self.event(kind, format!("{} {decided} {request}", self.by));
                let event = event.fact("request", request).fact("by", &self.by).fact("decision", decided).text("reason", reason);
                Some((kind, self.about(event, *request)))
            }
            (Command::WithdrawRequest { request }, _) => {
                let kind = EventKind::RequestWithdrawn;
                let event = self.event(kind, format!("{} withdrew {request}", self.by)).fact("request", request).fact("by", &self.by);
                Some((kind, self.about(event, *request)))
            }
            _ => None,
        }
    }

    fn open(&self, event: Event, request: RequestId) -> Event {
        let event = match self.state.requests.get(&request) {
            Some(found) => event.fact("approvals needed", found.needed).fact("expires", when(found.expires)),
            None => event,
        };
        let event = event.command(format!("assize request get {request}"));
        event.command(format!("assize request approve {request}")).command(format!("assize request deny {request}"))
    }

    fn about(&self, event: Event, request: RequestId) -> Event {
        match self.state.requests.get(&request) {
            Some(found) => event.fact("principal", &found.principal).fact("target", &found.target),
            None => event,
        }
    }

    fn review(&self) -> Found {
        match (&self.leaf.proposal.command, &self.leaf.reply) {
            (Command::OpenReview { .. }, Reply::Review(review)) => self.opened(*review),
            // The leaf of a tick is that of a review that repeats.
            (Command::Tick, _) => self.opened(ReviewId(self.leaf.index.0)),
            (Command::DecideItems { review, decisions }, _) => {
                let kind = EventKind::ReviewDecided;
                let count = |wanted: fn(&Choice) -> bool| decisions.iter().filter(|decide| wanted(&decide.choice)).count();
                let counts = [
                    ("approved", count(|choice| matches!(choice, Choice::Approve))),
                    ("modified", count(|choice| matches!(choice, Choice::Modify { .. }))),
                    ("revoked", count(|choice| matches!(choice, Choice::Revoke))),
                    ("abstained", count(|choice| matches!(choice, Choice::Abstain))),
                ];
                let event = self.event(kind, format!("{} decided on {} items of {review}", self.by, decisions.len()));
                let event = event.fact("review", review).fact("by", &self.by);
                let counts = counts.into_iter().filter(|(_, count)| *count > 0);
                Some((kind, counts.fold(event, |event, (name, count)| event.fact(name, count))))
            }
            (Command::CloseReview { review, digest, .. }, _) => {
                let kind = EventKind::ReviewClosed;
                let event = self.event(kind, format!("{} signed {review} off", self.by));
                Some((kind, event.fact("review", review).fact("by", &self.by).fact("digest", digest)))
            }
            _ => None,
        }
    }

    fn opened(&self, review: ReviewId) -> Found {
        let found = self.state.reviews.get(&review)?;
        let kind = EventKind::ReviewOpened;
        let event = self.event(kind, format!("{review} ({}) is open: {} items", found.name, found.items));
        let event = match found.trigger.as_deref() {
            Some(why) => why
                .causes
                .iter()
                .take(CAUSES_TOLD)
                .fold(event, |event, (about, cause)| event.text("because", &format!("{about}: {}", why.event.why(cause)))),
            None => event,
        };
        Some((kind, of_review(event, found)))
    }

    fn access(&self) -> Found {
        match (&self.leaf.proposal.command, &self.leaf.reply) {
            (Command::IssueGrant { principal, target, .. }, Reply::Grant(grant)) => {
                let kind = EventKind::GrantIssued;
                let on = match target {
                    TargetSelector::Name(name) => name.to_string(),
                    TargetSelector::Labels(labels) => {
                        format!("targets with {}", labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "))
                    }
                    TargetSelector::Assize => "assize".into(),
                };
                let event = self.event(kind, format!("{} granted {principal} access ({grant})", self.by));
                let event = event.fact("grant", grant).fact("principal", principal).text("target", &on).fact("by", &self.by);
                Some((kind, event.command(format!("assize grant get {grant}"))))
            }
            (Command::RevokeGrant { grant, reason }, _) => {
                let kind = EventKind::GrantRevoked;
                let event = self.event(kind, format!("{} revoked {grant}", self.by)).fact("grant", grant).fact("by", &self.by);
                let whose = self.state.grants.get(grant).map(|grant| grant.principal.to_string()).unwrap_or_default();
                Some((kind, event.fact("principal", whose).text("reason", reason)))
            }
            (Command::RevokeToken { principal, token }, _) => {
                let kind = EventKind::TokenRevoked;
                let event = self.event(kind, format!("{} revoked {token} of {principal}", self.by));
                Some((kind, event.fact("token", token).fact("principal", principal).fact("by", &self.by)))
            }
            _ => None,
        }
    }

    fn lock(&self) -> Found {
        match (&self.leaf.proposal.command, &self.leaf.reply) {
            (Command::CreateLock { on, reason, expires }, Reply::Lock(lock)) => {
                let kind = EventKind::LockCreated;
                let what = match on {
                    LockOn::Principal(name) => format!("principal {name}"),
                    LockOn::Target(name) => format!("target {name}"),
                    LockOn::Role(name) => format!("role {name}"),
                    LockOn::Credential(name) => format!("credential {name}"),
                    LockOn::Session(session) => session.to_string(),
                };
                let event = self.event(kind, format!("{} locked {what}", self.by)).fact("lock", lock).fact("on", what).fact("by", &self.by);
                let event = event.text("reason", reason).fact("expires", expires.map(when).unwrap_or_default());
                Some((kind, event.command(format!("assize lock delete {lock}"))))
            }
            (Command::DeleteLock { lock }, _) => {
                let kind = EventKind::LockDeleted;
                Some((kind, self.event(kind, format!("{} took {lock} away", self.by)).fact("lock", lock).fact("by", &self.by)))
            }
            _ => None,
        }
    }

    fn break_glass(&self) -> Found {
        match (&self.leaf.proposal.command, &self.leaf.reply) {
            (Command::BreakGlass { principal, target, reason, ticket, .. }, Reply::Grant(grant)) => {
                let kind = EventKind::BreakGlassOpened;
                let event = self.event(kind, format!("{} broke glass: {principal} has access to {target} now ({grant})", self.by));
                let event = event.fact("grant", grant).fact("principal", principal).fact("target", target).fact("by", &self.by);
                let event = event.text("reason", reason).text("ticket", ticket);
                let event = match self.state.break_glass.values().find(|broken| broken.grant == *grant) {
                    Some(broken) => {
                        let event = event.fact("expires", when(broken.expires)).fact("review due", when(broken.review_due));
                        event.command(format!("assize break-glass review {}", broken.id))
                    }
                    None => event,
                };
                Some((kind, event.command(format!("assize grant revoke {grant}"))))
            }
            (Command::ReviewBreakGlass { id, justified, note }, _) => {
                let kind = EventKind::BreakGlassReviewed;
                let found = if *justified { "justified" } else { "not justified" };
                let event = self.event(kind, format!("{} reviewed {id}: {found}", self.by)).fact("by", &self.by);
                Some((kind, event.fact("finding", found).text("note", note)))
            }
            _ => None,
        }
    }

    fn administration(&self) -> Found {
        let by = &self.by;
        let (kind, title) = match &self.leaf.proposal.command {
            Command::PublishPolicy { .. } => (EventKind::PolicyChanged, format!("{by} published policy-{}", self.leaf.index)),
            Command::ActivatePolicy { policy } => (EventKind::PolicyChanged, format!("{by} activated {policy}")),
            Command::RollbackPolicy => (EventKind::PolicyChanged, format!("{by} rolled the policy back")),
            Command::DeactivatePolicy => (EventKind::PolicyChanged, format!("{by} switched policy off")),
            Command::SetPolicyRule { two_people: true } => (EventKind::PolicyChanged, format!("{by} had policy need two people")),
            Command::SetPolicyRule { two_people: false } => (EventKind::PolicyChanged, format!("{by} had policy need one person")),
            Command::FoundCluster { incarnation, .. } => {
                (EventKind::ClusterChanged, format!("the cluster was founded, incarnation {incarnation}"))
            }
            Command::RegisterNode { node, .. } => (EventKind::ClusterChanged, format!("node {node} registered")),
            Command::SetNodeRole { node, .. } => (EventKind::ClusterChanged, format!("{by} changed the role of node {node}")),
            Command::RotateCheckpointKey { node, .. } => (EventKind::ClusterChanged, format!("node {node} signs with a new key")),
            Command::MakeJoinToken { .. } => (EventKind::ClusterChanged, format!("{by} made a join token")),
            Command::PutSink { name, .. } => (EventKind::SinkChanged, format!("{by} set up sink {name}")),
            Command::DeleteSink { name, .. } => (EventKind::SinkChanged, format!("{by} deleted sink {name}")),
            Command::AdvanceSink(advance) => {
                (EventKind::SinkChanged, format!("{} messages to sink {} were given up", advance.abandoned, advance.sink))
            }
            Command::PutWitness { witness, .. } => (EventKind::SinkChanged, format!("{by} set up witness {}", witness.name)),
            Command::DeleteWitness { name, .. } => (EventKind::SinkChanged, format!("{by} deleted witness {name}")),
            Command::PutPrincipal { name, active: true, .. } => (EventKind::AccountChanged, format!("{by} put principal {name}")),
            Command::PutPrincipal { name, active: false, .. } => (EventKind::AccountChanged, format!("{by} switched principal {name} off")),
            Command::DeletePrincipal { name, .. } => (EventKind::AccountChanged, format!("{by} deleted principal {name}")),
            Command::IssueToken { principal, .. } => (EventKind::AccountChanged, format!("{by} issued {principal} a token")),
            Command::PutTarget { name, .. } => (EventKind::ConfigurationChanged, format!("{by} put target {name}")),
            Command::DeleteTarget { name, .. } => (EventKind::ConfigurationChanged, format!("{by} deleted target {name}")),
            Command::PutCredential { name, .. } => (EventKind::ConfigurationChanged, format!("{by} put credential {name}")),
            Command::DeleteCredential { name, .. } => (EventKind::ConfigurationChanged, format!("{by} deleted credential {name}")),
            Command::PutRole { name, .. } => (EventKind::ConfigurationChanged, format!("{by} put role {name}")),
            Command::DeleteRole { name, .. } => (EventKind::ConfigurationChanged, format!("{by} deleted role {name}")),
            Command::PutJob { name, .. } => (EventKind::ConfigurationChanged, format!("{by} put job {name}")),
            Command::DeleteJob { name, .. } => (EventKind::ConfigurationChanged, format!("{by} deleted job {name}")),
            Command::PutTrigger { name, .. } => (EventKind::ConfigurationChanged, format!("{by} set review trigger {name}")),
            Command::DeleteTrigger { name, .. } => (EventKind::ConfigurationChanged, format!("{by} deleted review trigger {name}")),
            Command::SetRetention { class, keep: Some(keep), .. } => {
                (EventKind::RetentionChanged, format!("{by} has {class} kept for {} s", keep.as_secs()))
            }
            Command::SetRetention { class, keep: None, .. } => (EventKind::RetentionChanged, format!("{by} has {class} kept for ever")),
            Command::CreateHold { .. } => (EventKind::RetentionChanged, format!("{by} placed hold-{}", self.leaf.index)),
            Command::ReleaseHold { hold, .. } => (EventKind::RetentionChanged, format!("{by} released {hold}")),
            Command::PruneRecords { leaves, .. } if leaves.is_empty() => return None,
            Command::PruneRecords { class, leaves, .. } => {
                (EventKind::RetentionChanged, format!("{} bodies of {class} are pruned", leaves.count()))
            }
            // Told above, in words of their own.
            Command::OpenRequest { .. }
            | Command::DecideRequest { .. }
            | Command::WithdrawRequest { .. }
            | Command::OpenReview { .. }
            | Command::DecideItems { .. }
            | Command::CloseReview { .. }
            | Command::Tick
            | Command::IssueGrant { .. }
            | Command::RevokeGrant { .. }
            | Command::RevokeToken { .. }
            | Command::CreateLock { .. }
            | Command::DeleteLock { .. }
            | Command::BreakGlass { .. }
            | Command::ReviewBreakGlass { .. } => return None,
            // Of the machine to itself: nobody waits for them.
            Command::SetServing { .. }
            | Command::RaiseFeatureLevel { .. }
            | Command::FileReceipt { .. }
            | Command::ReportUsage { .. }
            | Command::ReportFindings { .. }
            | Command::SpendApproval { .. }
            | Command::ReturnApproval { .. }
            | Command::FileCosignature { .. } => return None,
            // No kind of event is theirs: they are in the control log, which a sink may stream.
            Command::ConfirmGrant { .. } | Command::HandItems { .. } => return None,
        };
        // Put again as it was.
        if matches!(self.leaf.reply, Reply::Done { version } if version != self.leaf.index) {
            return None;
        }
        let reason = if let Command::SetRetention { reason, .. }
        | Command::CreateHold { reason, .. }
        | Command::ReleaseHold { reason, .. } = &self.leaf.proposal.command
        {
            reason
        } else {
            ""
        };
        Some((kind, self.event(kind, title).fact("by", by).text("reason", reason)))
    }
}

fn of_review(event: Event, review: &Review) -> Event {
    let due = review.opened.after(review.terms.length);
    let event = event.fact("review", review.id).fact("name", &review.name).fact("items", review.items);
    let event = event.fact("undecided", review.undecided).fact("due", when(due));
    event.command(format!("assize review items {} --mine", review.id)).command(format!("assize review decide {} …", review.id))
}

/// What happens by time alone, after `from` and until `to`: in its order, each with what makes its id.
pub(crate) fn by_time(state: &State, from: LogTime, to: LogTime) -> Vec<(String, EventKind, Event)> {
    let between = |at: LogTime| from < at && at <= to;
    let mut found = Vec::new();
    for review in state.reviews.values() {
        let due = review.opened.after(review.terms.length);
        let closed = matches!(&review.status, ReviewStatus::Closed { at, .. } if *at < due);
        for (before, word) in REMINDERS {
            let at = LogTime(due.0.saturating_sub(u64::try_from(before.as_millis()).unwrap_or(u64::MAX)));
            let open = matches!(review.status, ReviewStatus::Open) && review.undecided > 0;
            if open && at > review.opened && between(at) {
                let kind = EventKind::ReviewReminder;
                let event = Event::of(kind, at, format!("{} ({}) is due {word}", review.id, review.name));
                found.push((format!("{}-reminder-{}", review.id, before.as_secs()), kind, of_review(event, review)));
            }
        }
        if between(due) && !closed {
            let kind = EventKind::ReviewDue;
            let event = Event::of(kind, due, format!("{} ({}) is due: {} items undecided", review.id, review.name, review.undecided));
            found.push((format!("{}-due", review.id), kind, of_review(event, review)));
        }
    }
    for request in state.requests.values().filter(|request| between(request.expires)) {
        if matches!(request.status, RequestStatus::Expired) {
            let kind = EventKind::RequestExpired;
            let event = Event::of(kind, request.expires, format!("{} of {} expired", request.id, request.principal));
            let event = event.fact("request", request.id).fact("principal", &request.principal).fact("target", &request.target);
            found.push((format!("{}-expired", request.id), kind, event));
        }
    }
    found.sort_by(|(a, _, first), (b, _, second)| (first.at, a).cmp(&(second.at, b)));
    found
}

#[cfg(test)]
mod tests;
