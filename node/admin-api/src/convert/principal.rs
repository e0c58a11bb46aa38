use domain::command::{Command, Expect};
use domain::id::Name;
use domain::principal::{Principal, PrincipalKind, Token, TokenUse};
use proto::admin as pb;

use super::fields::Fields;
use super::{etag, text, timestamp};

pub(crate) fn to_wire(principal: &Principal) -> pb::Principal {
    let kind = match &principal.kind {
        PrincipalKind::Agent { owner, backup_owner, job } => pb::principal::Kind::Agent(pb::Agent {
            owner: owner.to_string(),
            backup_owner: text(backup_owner.as_ref()),
            job: text(job.as_ref()),
        }),
        PrincipalKind::Person { email, certificate } => {
            pb::principal::Kind::Person(pb::Person { email: email.clone().unwrap_or_default(), certificate: text(certificate.as_ref()) })
        }
    };
    pb::Principal {
        name: principal.name.to_string(),
        kind: Some(kind),
        active: Some(principal.active),
        labels: principal.labels.clone(),
        etag: etag(principal.version),
        narrowed: principal.narrowed.0,
        denials: Vec::new(),
    }
}

/// A put of this principal; the expectation is given, since create and update differ in nothing else.
pub(crate) fn put(f: &mut Fields, principal: pb::Principal, expect: Option<Expect>) -> Option<Command> {
    let name = f.parse("principal.name", &principal.name);
    let kind = f.present("principal.kind", principal.kind).and_then(|kind| read_kind(f, &kind));
    Some(Command::PutPrincipal {
        name: name?,
        kind: kind?,
        active: principal.active.unwrap_or(true),
        labels: principal.labels,
        expect: expect?,
    })
}

fn read_kind(f: &mut Fields, kind: &pb::principal::Kind) -> Option<PrincipalKind> {
    match kind {
        pb::principal::Kind::Agent(agent) => {
            let owner = f.parse("principal.agent.owner", &agent.owner);
            let backup_owner = f.parse_optional("principal.agent.backup_owner", &agent.backup_owner);
            let job = f.parse_optional("principal.agent.job", &agent.job);
            Some(PrincipalKind::Agent { owner: owner?, backup_owner: backup_owner?, job: job? })
        }
        pb::principal::Kind::Person(person) => {
            let certificate = f.digest("principal.person.certificate", &person.certificate);
            let email = Some(person.email.clone()).filter(|email| !email.is_empty());
            Some(PrincipalKind::Person { email, certificate: certificate? })
        }
    }
}

pub(crate) fn token_to_wire(owner: &Name, token: &Token) -> pb::Token {
    pb::Token {
        id: token.id.to_string(),
        principal: owner.to_string(),
        r#use: match token.usage {
            TokenUse::Gateway => pb::TokenUse::Gateway.into(),
            TokenUse::Admin => pb::TokenUse::Admin.into(),
        },
        label: token.label.clone(),
        expires: token.expires.map(timestamp),
        issued_by: token.issued_by.to_string(),
        issued: Some(timestamp(token.issued)),
    }
}

pub(crate) fn token_use(f: &mut Fields, field: &str, usage: i32) -> Option<TokenUse> {
    match pb::TokenUse::try_from(usage) {
        Ok(pb::TokenUse::Gateway) => Some(TokenUse::Gateway),
        Ok(pb::TokenUse::Admin) => Some(TokenUse::Admin),
        Ok(pb::TokenUse::Unspecified) | Err(_) => f.fault(field, "must be TOKEN_USE_GATEWAY or TOKEN_USE_ADMIN"),
    }
}
