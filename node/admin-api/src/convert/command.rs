//! A command and its reply as an auditor reads them: what was done to what, then its terms. Secrets and keys are not
//! shown; the leaf has the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::command::{Command, Expect, Reply};
use domain::grant::{GrantSource, TargetSelector};
use domain::id::{Digest, Index};
use domain::lock::LockOn;
use domain::member::{MemberRole, NodeReceipt};
use domain::permission::PermissionSet;
use domain::principal::PrincipalKind;
use domain::request::Ask;
use domain::review::trigger::Event;
use domain::review::{Choice, Reviewers, Risk, Terms};
use domain::sink::{Destination, EventKind};
use domain::target::UpstreamTls;
use domain::time::LogTime;

/// `what`, then its terms after a colon; those without a value are left out.
struct Words {
    text: String,
    terms: usize,
}

impl Words {
    fn new(what: impl Into<String>) -> Words {
        Words { text: what.into(), terms: 0 }
    }

    fn term(mut self, name: &str, value: impl ToString) -> Words {
        let value = value.to_string();
        if !value.is_empty() {
            self.text.push_str(if self.terms == 0 { ": " } else { ", " });
            self.text.push_str(name);
            self.text.push(' ');
            self.text.push_str(&value);
            self.terms += 1;
        }
        self
    }

    /// As [`Words::term`], for what somebody wrote: in quotes, so that it cannot pass for a term of its own.
    fn quoted(self, name: &str, value: &str) -> Words {
        let quoted = if value.is_empty() { String::new() } else { format!("\"{}\"", value.replace('"', "\"\"")) };
        self.term(name, quoted)
    }

    fn optional(self, name: &str, value: Option<impl ToString>) -> Words {
        match value {
            Some(value) => self.term(name, value),
            None => self,
        }
    }

    fn expecting(self, expect: Expect) -> Words {
        match expect {
            Expect::Any => self,
            Expect::Absent => self.term("if", "there is none yet"),
            Expect::Version(version) => self.term("if at version", version),
        }
    }
}

pub(crate) fn in_words(command: &Command) -> String {
    let words = match command {
        Command::FoundCluster { id, incarnation, first_admin, recovery_key: _, feature_level: _ } => {
            Words::new(format!("found cluster {id}")).term("incarnation", incarnation).term("first admin", first_admin)
        }
        Command::RegisterNode { node, address, admin_address, role, feature_level_max, join_token, checkpoint_key: _, sealing_key: _ } => {
            Words::new(format!("register node {node}"))
                .term("as", member_role(*role))
                .quoted("address", address)
                .quoted("admin address", admin_address)
                .term("feature level up to", feature_level_max)
                .optional("by join token", join_token.as_ref().map(digest))
        }
        Command::SetNodeRole { node, role: MemberRole::Removed } => Words::new(format!("remove node {node}")),
        Command::SetNodeRole { node, role } => Words::new(format!("make node {node} a {}", member_role(*role))),
        Command::SetServing { node, serving: true } => Words::new(format!("take node {node} into the serving set")),
        Command::SetServing { node, serving: false } => Words::new(format!("take node {node} out of the serving set")),
        Command::RotateCheckpointKey { node, key: _ } => Words::new(format!("rotate the checkpoint key of node {node}")),
        Command::MakeJoinToken { lookup, valid } => {
            Words::new("make a join token").term("hash", digest(lookup)).term("valid", span(*valid))
        }
        Command::RaiseFeatureLevel { level } => Words::new(format!("raise the feature level to {level}")),
        Command::Tick => Words::new("let log time pass"),
        Command::ReportUsage { grants, denials } => {
            Words::new(format!("report use of {} grants, and denials of {} principals at targets", grants.len(), denials.len()))
        }
        Command::FileReceipt { revocation, nodes } => {
            Words::new(format!("file the receipt of {revocation}")).term("from", joined(nodes.iter().map(node_receipt), "; "))
        }

        Command::PutPrincipal { name, kind, active, labels, expect } => principal(name.as_str(), kind)
            .term("active", if *active { "yes" } else { "no" })
            .quoted("labels", &pairs(labels))
            .expecting(*expect),
        Command::DeletePrincipal { name, expect } => Words::new(format!("delete principal {name}")).expecting(*expect),
        Command::IssueToken { principal, usage, label, expires, lookup, scram: _ } => {
            Words::new(format!("issue {principal} a token for the {}", usage.as_str()))
                .quoted("label", label)
                .optional("expires", expires.map(time))
                .term("hash", digest(lookup))
        }
        Command::RevokeToken { principal, token } => Words::new(format!("revoke {token} of {principal}")),
        Command::PutTarget {
            name,
            protocol,
            address,
            tls,
            credential,
            default_database,
            hold,
            request_expiry,
            approvals_needed,
            owner,
            labels,
            weak_cancel,
            expect,
        } => Words::new(format!("put target {name}"))
            .term("protocol", protocol)
            .quoted("address", address)
            .term("TLS", upstream_tls(tls))
            .term("credential", credential)
            .quoted("database", default_database)
            .term("hold", span(*hold))
            .term("request expiry", span(*request_expiry))
            .term("approvals needed", approvals_needed)
            .optional("owner", owner.as_ref())
            .quoted("labels", &pairs(labels))
            .term("behind a pooler", if *weak_cancel { "yes" } else { "no" })
            .expecting(*expect),
        Command::DeleteTarget { name, expect } => Words::new(format!("delete target {name}")).expecting(*expect),
        Command::PutCredential { name, username, expect, sealed } => Words::new(format!("put credential {name}"))
            .quoted("username", username)
            .term("sealed by key", sealed.key_id)
            .expecting(*expect),
        Command::DeleteCredential { name, expect } => Words::new(format!("delete credential {name}")).expecting(*expect),
        Command::PutRole { name, description, permissions, expect } => Words::new(format!("put role {name}"))
            .quoted("description", description)
            .term("permissions", set(permissions))
            .expecting(*expect),
        Command::DeleteRole { name, expect } => Words::new(format!("delete role {name}")).expecting(*expect),
        Command::PutJob { name, purpose, owner, backup_owner, permissions, roles, data_classes, environments, expires, expect } => {
            Words::new(format!("put job {name}"))
                .quoted("purpose", purpose)
                .term("owner", owner)
                .optional("backup owner", backup_owner.as_ref())
                .term("permissions", set(permissions))
                .term("roles", listed(roles))
                .quoted("data classes", &listed(data_classes))
                .quoted("environments", &listed(environments))
                .optional("expires", expires.map(time))
                .expecting(*expect)
        }
        Command::DeleteJob { name, expect } => Words::new(format!("delete job {name}")).expecting(*expect),

        Command::IssueGrant { name, principal, target, permissions, roles, valid_from, expires, review_due, strict, source } => {
            Words::new(format!("issue {principal} a grant on {}", selector(target)))
                .optional("name", name.as_ref())
                .term("permissions", set(permissions))
                .term("roles", listed(roles))
                .optional("valid from", valid_from.map(time))
                .optional("expires", expires.map(time))
                .optional("review due", review_due.map(time))
                .optional("strict", strict.then_some("yes"))
                .term("source", grant_source(*source))
        }
        Command::RevokeGrant { grant, reason } => Words::new(format!("revoke {grant}")).quoted("reason", reason),
        Command::ConfirmGrant { grant } => Words::new(format!("confirm {grant}")),
        Command::OpenRequest { principal, on_behalf_of, target, ask, reason } => {
            asked(Words::new(format!("open a request of {principal} for {target}")), ask)
                .optional("on behalf of", on_behalf_of.as_ref())
                .quoted("reason", reason)
        }
        Command::DecideRequest { request, approve, reason } => {
            Words::new(format!("{} {request}", if *approve { "approve" } else { "deny" })).quoted("reason", reason)
        }
        Command::WithdrawRequest { request } => Words::new(format!("withdraw {request}")),
        Command::SpendApproval { request, digest: of, by } => Words::new(format!("spend the approval of {request}"))
            .term("on operation", by.sequence)
            .term("of", by.session)
            .term("digest", digest(of)),
        Command::ReturnApproval { request, by } => {
            Words::new(format!("give back the approval of {request}")).term("not used by operation", by.sequence).term("of", by.session)
        }
        Command::CreateLock { on, reason, expires } => {
            let on = match on {
                LockOn::Principal(name) => format!("principal {name}"),
                LockOn::Target(name) => format!("target {name}"),
                LockOn::Role(name) => format!("role {name}"),
                LockOn::Credential(name) => format!("credential {name}"),
                LockOn::Session(session) => session.to_string(),
            };
            Words::new(format!("lock {on}")).quoted("reason", reason).optional("expires", expires.map(time))
        }
        Command::DeleteLock { lock } => Words::new(format!("delete {lock}")),

        Command::OpenReview { name, terms } => review_terms(Words::new(format!("open review {name}")), terms),
        Command::DecideItems { review, decisions } => {
            let mut words = Words::new(format!("decide on items of {review}"));
            for decide in decisions {
                words = words.term(&format!("item {}", decide.item), format!("{} at version {}", decide.choice.in_words(), decide.seen));
                if let Choice::Modify { access, expires } = &decide.choice {
                    words = words.term("to", access.in_words()).optional("expires", expires.map(time));
                }
                words = words.quoted("rationale", &decide.rationale);
            }
            words
        }
        Command::HandItems { review, items, to, reason } => Words::new(format!("hand items of {review} to {to}"))
            .term("items", joined(items.iter().map(ToString::to_string), " "))
            .quoted("reason", reason),
        Command::CloseReview { review, digest: of, statement, ends_series } => Words::new(format!("sign off {review}"))
            .term("digest", digest(of))
            .quoted("statement", statement)
            .optional("ends the series", ends_series.then_some("yes")),
        Command::PutTrigger { name, event, terms, gather, expect } => {
            let words = Words::new(format!("put review trigger {name}")).term("on", event_in_words(event)).term("gathers", span(*gather));
            review_terms(words, terms).expecting(*expect)
        }
        Command::DeleteTrigger { name, expect } => Words::new(format!("delete review trigger {name}")).expecting(*expect),
        Command::ReportFindings { target, findings } => {
            let mut words = Words::new(format!("report findings at {target}"));
            for finding in findings {
                words = words.quoted(finding.risk.in_words(), &format!("{}: {}", finding.code, finding.text));
            }
            words.optional("none", findings.is_empty().then_some("found"))
        }
        Command::PublishPolicy { digest: of, revision, two_people, bundle } => Words::new("publish a policy")
            .quoted("revision", revision)
            .term("digest", digest(of))
            .term("bytes", bundle.len())
            .term("to be activated by", if *two_people { "somebody else" } else { "" }),
        Command::BreakGlass { principal, target, permissions, length, review_within, reason, ticket } => {
            Words::new(format!("break glass at {target} for {principal}"))
                .term("permissions", set(permissions))
                .term("for", span(*length))
                .term("to be reviewed within", span(*review_within))
                .quoted("ticket", ticket)
                .quoted("reason", reason)
        }
        Command::ReviewBreakGlass { id, justified, note } => {
            Words::new(format!("find {id} {}", if *justified { "justified" } else { "not justified" })).quoted("note", note)
        }
        Command::ActivatePolicy { policy } => Words::new(format!("activate {policy}")),
        Command::RollbackPolicy => Words::new("go back to the policy before"),
        Command::DeactivatePolicy => Words::new("do without a policy"),
        Command::SetPolicyRule { two_people: true } => Words::new("demand two people for every policy"),
        Command::SetPolicyRule { two_people: false } => Words::new("demand two people for a policy where its bundle does"),
        Command::PutSink { name, terms, sealed, start: _, expect } => {
            let events = if terms.selection.events.len() == EventKind::ALL.len() { "all".into() } else { listed(&terms.selection.events) };
            let logs = joined(terms.selection.logs.iter().map(|log| log.as_str().to_owned()), " ");
            let words =
                Words::new(format!("put sink {name}")).term("to", terms.destination.as_str()).quoted("at", &place(&terms.destination));
            let words = words.term("events", events).term("logs", logs).optional("give up after", terms.give_up.map(span));
            let words = if terms.active { words } else { words.term("paused", "yes") };
            let words = if sealed.is_some() { words.term("secret", "new") } else { words };
            words.expecting(*expect)
        }
        Command::DeleteSink { name, expect } => Words::new(format!("delete sink {name}")).expecting(*expect),
        Command::AdvanceSink(advance) => Words::new(format!("advance sink {}", advance.sink))
            .term("delivered", advance.delivered)
            .term("abandoned", advance.abandoned)
            .quoted("error", advance.error.as_deref().unwrap_or_default()),
        Command::SetRetention { class, keep, reason } => {
            Words::new(format!("set retention of {class}")).term("keep", keep.map_or("for ever".into(), span)).quoted("reason", reason)
        }
        Command::CreateHold { on, reason, two_people } => Words::new("place a legal hold")
            .optional("principal", on.principal.as_ref())
            .optional("target", on.target.as_ref())
            .optional("run", on.run.as_ref())
            .optional("from", on.from.map(time))
            .optional("until", on.until.map(time))
            .term("to be released by", if *two_people { "somebody else" } else { "" })
            .quoted("reason", reason),
        Command::ReleaseHold { hold, reason } => Words::new(format!("release {hold}")).quoted("reason", reason),
        Command::PruneRecords { class, seen: _, before, through: _, leaves } => Words::new(format!("prune {class}"))
            .term("bodies", leaves.count())
            .term("up to", time(*before))
            .optional("last leaf", leaves.end().checked_sub(1)),
        Command::PutWitness { witness, expect } => Words::new(format!("put witness {}", witness.name))
            .quoted("at", &witness.url)
            .quoted("key", &witness.key)
            .term("asked every", span(witness.interval))
            .expecting(*expect),
        Command::DeleteWitness { name, expect } => Words::new(format!("delete witness {name}")).expecting(*expect),
        Command::FileCosignature { witness, note: _ } => Words::new(format!("file cosignature of {witness}")),
    };
    words.text
}

pub(crate) fn reply_in_words(reply: &Reply) -> String {
    match reply {
        Reply::Done { version } => format!("done, version {version}"),
        Reply::Token(id) => format!("made {id}"),
        Reply::Grant(id) => format!("made {id}"),
        Reply::Request { request, joined: false } => format!("opened {request}"),
        Reply::Request { request, joined: true } => format!("joined {request}"),
        Reply::Lock(id) => format!("made {id}"),
        Reply::Spent => "spent".into(),
        Reply::Review(id) => format!("opened {id}"),
        Reply::Rejected(rejection) => format!("refused: {rejection}"),
    }
}

fn event_in_words(event: &Event) -> String {
    match event {
        Event::OwnerLeft => "an owner who left".into(),
        Event::JobChanged => "a job that changed".into(),
        Event::TokenIssued => "another token".into(),
        Event::CredentialChanged => "another credential".into(),
        Event::HighRiskGrant => "a grant of high risk".into(),
        Event::Denials { every } => format!("every {every} denials"),
        Event::Unused { span: unused } => format!("no use for {}", span(*unused)),
        Event::Volume { window, factor, least } => format!("{factor} times the rows that are usual in {}, {least} at least", span(*window)),
        Event::Finding { from } => format!("a finding of {} risk", from.in_words()),
    }
}

fn principal(name: &str, kind: &PrincipalKind) -> Words {
    match kind {
        PrincipalKind::Agent { owner, backup_owner, job } => Words::new(format!("put agent {name}"))
            .term("owner", owner)
            .optional("backup owner", backup_owner.as_ref())
            .optional("job", job.as_ref()),
        PrincipalKind::Person { email, certificate } => Words::new(format!("put person {name}"))
            .quoted("email", email.as_deref().unwrap_or_default())
            .optional("certificate", certificate.as_ref().map(digest)),
    }
}

fn asked(words: Words, ask: &Ask) -> Words {
    match ask {
        Ask::Exact { digest: of, statement, parameters, context, missing, job_version, target_version, under } => words
            .quoted("statement", statement)
            .quoted("parameters", &parameters.join("; "))
            .quoted("context", &joined(context.iter().map(|(key, value)| format!("{key}={value}")), "; "))
            .term("missing", joined(missing.iter().map(ToString::to_string), "; "))
            .term("digest", digest(of))
            .optional("job version", job_version.as_ref().map(Index::to_string))
            .term("target version", target_version)
            .optional("policy", under.as_ref().map(|under| under.policy))
            .quoted("held because", under.as_ref().and_then(|under| under.hold.as_ref()).map_or("", |hold| &hold.reason)),
        Ask::Window { permissions, length } => words.term("for", span(*length)).term("permissions", set(permissions)),
    }
}

fn review_terms(words: Words, terms: &Terms) -> Words {
    let scope = &terms.scope;
    let stage = |stage: &Reviewers| match stage {
        Reviewers::Named(names) => listed(names),
        Reviewers::TargetOwner => "the target's owner".into(),
        Reviewers::ByRight => "whoever has the right".into(),
    };
    words
        .quoted("basis", &terms.basis)
        .optional("grants", scope.grants.then_some("yes"))
        .optional("tokens", scope.tokens.then_some("yes"))
        .term("of principals", listed(&scope.principals))
        .term("of owners", listed(&scope.owners))
        .term("on targets", listed(&scope.targets))
        .quoted("labelled", &pairs(&scope.labels))
        .term("with verbs", joined(scope.verbs.iter().map(|verb| verb.as_str().to_owned()), " "))
        .optional("risk from", scope.risk_from.map(Risk::in_words))
        .term("reviewers", joined(terms.stages.iter().map(stage), ", then "))
        .term("fallback", listed(&terms.fallback))
        .optional("escalates after", terms.escalates.map(span))
        .term("due after", span(terms.length))
        .term("by default", terms.overdue.in_words())
        .term("certifies for", span(terms.certifies))
        .optional("rationale from risk", terms.rationale_from.map(Risk::in_words))
        .optional("repeats every", terms.repeats.map(span))
}

fn node_receipt(receipt: &NodeReceipt) -> String {
    if receipt.by_expiry {
        return format!("node {} by the end of its lease", receipt.node);
    }
    let ended = joined(receipt.sessions.iter().map(|s| s.session.to_string()), " ");
    let ended = if ended.is_empty() { "no session ended".into() } else { format!("ended {ended}") };
    format!("node {} enforcing {}, {ended}", receipt.node, receipt.enforced)
}

fn member_role(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
        MemberRole::Removed => "removed",
    }
}

fn upstream_tls(tls: &UpstreamTls) -> String {
    match tls {
        UpstreamTls::VerifyFull { server_name: Some(name), .. } => format!("verified as {name}"),
        UpstreamTls::VerifyFull { server_name: None, .. } => "verified".into(),
        UpstreamTls::RequireUnverified => "not verified".into(),
        UpstreamTls::Off => "off".into(),
    }
}

/// Where it goes, as far as that is no secret.
fn place(destination: &Destination) -> String {
    match destination {
        Destination::Webhook { url } | Destination::Otlp { url } => url.clone(),
        Destination::Syslog { address, .. } => address.clone(),
        Destination::Mail { address, to, .. } => format!("{} by {address}", to.join(" ")),
        Destination::Slack | Destination::Teams => String::new(),
    }
}

fn selector(target: &TargetSelector) -> String {
    match target {
        TargetSelector::Name(name) => name.to_string(),
        TargetSelector::Labels(labels) => format!("targets with {}", pairs(labels)),
        TargetSelector::Assize => "assize".into(),
    }
}

fn grant_source(source: GrantSource) -> String {
    match source {
        GrantSource::Baseline => "baseline".into(),
        GrantSource::Declared => "declared".into(),
        GrantSource::Request(request) => request.to_string(),
        GrantSource::Review(review) => review.to_string(),
        GrantSource::BreakGlass(broken) => broken.to_string(),
    }
}

fn joined(items: impl Iterator<Item = String>, between: &str) -> String {
    items.collect::<Vec<_>>().join(between)
}

fn listed(items: &BTreeSet<impl ToString>) -> String {
    joined(items.iter().map(ToString::to_string), " ")
}

fn set(permissions: &PermissionSet) -> String {
    joined(permissions.iter().map(ToString::to_string), "; ")
}

fn pairs(labels: &BTreeMap<String, String>) -> String {
    joined(labels.iter().map(|(key, value)| format!("{key}={value}")), " ")
}

fn digest(digest: &Digest) -> String {
    data_encoding::HEXLOWER.encode(&digest.0)
}

fn time(time: LogTime) -> String {
    prost_types::Timestamp { seconds: i64::try_from(time.0 / 1000).unwrap_or(i64::MAX), nanos: 0 }.to_string()
}

fn span(span: Duration) -> String {
    format!("{} s", span.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &Command, expect: &str) {
        assert_eq!(in_words(command), expect);
    }

    fn name(text: &str) -> domain::id::Name {
        text.parse().expect("a name")
    }

    #[test]
    fn commands_read_as_words() {
        let lock = |reason: &str| Command::CreateLock { on: LockOn::Target(name("orders")), reason: reason.into(), expires: None };
        check(&lock("incident 7"), "lock target orders: reason \"incident 7\"");
        check(&lock("x\", expires never \""), "lock target orders: reason \"x\"\", expires never \"\"\"");
        let grant = Command::IssueGrant {
            name: None,
            principal: name("bot"),
            target: TargetSelector::Labels(BTreeMap::from([("env".into(), "prod".into())])),
            permissions: "postgres:select on app.public.*".parse().expect("permissions"),
            roles: BTreeSet::from([name("client"), name("reader")]),
            valid_from: None,
            expires: Some(LogTime(1_700_000_000_000)),
            review_due: None,
            strict: false,
            source: GrantSource::Baseline,
        };
        check(
            &grant,
            "issue bot a grant on targets with env=prod: permissions postgres:select on app.public.*, roles client reader, expires 2023-11-14T22:13:20Z, source baseline",
        );
        check(&Command::DeleteRole { name: name("reader"), expect: Expect::Version(Index(7)) }, "delete role reader: if at version 7");
        assert_eq!(reply_in_words(&Reply::Done { version: Index(26) }), "done, version 26");
    }
}
