//! What agents and persons share.

use std::collections::BTreeMap;

use proto::admin as pb;
use proto::admin::principal::Kind;

use super::{DeleteArgs, receipt};
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::text::{labels, yes};
use crate::when;

pub(crate) async fn find(client: &mut Client, name: &str) -> Result<pb::Principal, Failure> {
    rpc!(client.ask, principals_client::PrincipalsClient, get_principal, pb::GetPrincipalRequest { name: name.to_owned() })
}

/// The kind must be the one the command is about: `assize person get bot` does not show an agent.
pub(crate) fn expect_kind(principal: pb::Principal, agent: bool) -> Result<pb::Principal, Failure> {
    match (&principal.kind, agent) {
        (Some(Kind::Agent(_)), true) | (Some(Kind::Person(_)), false) => Ok(principal),
        (Some(Kind::Agent(_)), false) => Err(Failure::failed(format!("{} is an agent, not a person", principal.name))),
        (Some(Kind::Person(_)), true) => Err(Failure::failed(format!("{} is a person, not an agent", principal.name))),
        (None, _) => Err(Failure::failed(format!("{} is of a kind this command does not know", principal.name))),
    }
}

pub(crate) async fn create(client: &mut Client, out: &mut Output<'_>, principal: pb::Principal) -> Result<(), Failure> {
    let request = pb::CreatePrincipalRequest { principal: Some(principal), ..Default::default() };
    let made = rpc!(client.change, principals_client::PrincipalsClient, create_principal, request)?;
    out.show(&made, |made| format!("created {}\n", made.name))
}

pub(crate) async fn update(client: &mut Client, out: &mut Output<'_>, principal: pb::Principal) -> Result<(), Failure> {
    let request = pb::UpdatePrincipalRequest { principal: Some(principal), ..Default::default() };
    let done = rpc!(client.change, principals_client::PrincipalsClient, update_principal, request)?;
    out.show(&done, |done| format!("updated\n{}", receipt::render(done.receipt.as_ref())))
}

pub(crate) async fn delete(client: &mut Client, out: &mut Output<'_>, args: DeleteArgs) -> Result<(), Failure> {
    let request = pb::DeletePrincipalRequest { name: args.name.clone(), etag: args.etag.unwrap_or_default(), ..Default::default() };
    let done = rpc!(client.change, principals_client::PrincipalsClient, delete_principal, request)?;
    out.show(&done, |done| format!("deleted {}\n{}", args.name, receipt::render(done.receipt.as_ref())))
}

pub(crate) async fn list(client: &mut Client, out: &mut Output<'_>, kind: pb::PrincipalKindFilter) -> Result<(), Failure> {
    let request = pb::ListPrincipalsRequest { kind: kind.into(), ..Default::default() };
    let principals = super::all_pages!(client, principals_client::PrincipalsClient, list_principals, request, principals);
    let all = pb::ListPrincipalsResponse { principals, ..Default::default() };
    out.show(&all, |all| {
        let agents = kind == pb::PrincipalKindFilter::Agent;
        let mut table = if agents {
            Table::new(&["NAME", "OWNER", "JOB", "ACTIVE", "LABELS"])
        } else {
            Table::new(&["NAME", "EMAIL", "ACTIVE", "LABELS"])
        };
        for p in &all.principals {
            let (active, labels) = (yes(p.active()), labels(&p.labels));
            match &p.kind {
                Some(Kind::Agent(a)) => table.row([p.name.clone(), a.owner.clone(), a.job.clone(), active, labels]),
                Some(Kind::Person(h)) => table.row([p.name.clone(), h.email.clone(), active, labels]),
                None => {}
            }
        }
        table.render()
    })
}

pub(crate) fn render(p: &pb::Principal) -> String {
    let mut pairs = vec![("name", p.name.clone())];
    match &p.kind {
        Some(Kind::Agent(a)) => pairs.extend([
            ("kind", "agent".into()),
            ("owner", a.owner.clone()),
            ("backup owner", a.backup_owner.clone()),
            ("job", a.job.clone()),
        ]),
        Some(Kind::Person(h)) => {
            pairs.extend([("kind", "person".into()), ("email", h.email.clone()), ("certificate", h.certificate.clone())])
        }
        None => {}
    }
    pairs.extend([("active", yes(p.active())), ("labels", labels(&p.labels)), ("version", p.etag.clone())]);
    let mut text = fields(&pairs);
    for denials in &p.denials {
        let count = denials.count.unwrap_or_default();
        let last = when::show(count.last.as_ref());
        text.push_str(&format!("  denied {} times at {}, last {last}\n", count.operations, denials.target));
    }
    text
}

/// Labels with changes: `key=value` sets, `key=` removes.
pub(crate) fn relabel(labels: &mut BTreeMap<String, String>, changes: Vec<(String, String)>) {
    for (key, value) in changes {
        if value.is_empty() {
            labels.remove(&key);
        } else {
            labels.insert(key, value);
        }
    }
}
