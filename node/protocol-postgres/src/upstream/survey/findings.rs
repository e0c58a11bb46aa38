//! What a survey means to somebody who reviews access.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use domain::operation::{Access, Protocol, Resource, Verb};
use domain::permission::PermissionSet;

use super::{Attribute, Survey};

/// Names listed in one finding; how many more there are is said.
const LISTED_MAX: usize = 8;
/// Membership in these reaches past tables: to files, programs, or everybody's data.
const POWERFUL: [&str; 6] = [
    "pg_execute_server_program",
    "pg_write_server_files",
    "pg_read_server_files",
    "pg_write_all_data",
    "pg_read_all_data",
    "pg_signal_backend",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Low,
    Medium,
    High,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// Stable, for programs.
    pub code: &'static str,
    pub text: String,
}

/// What is known on Assize's side.
#[derive(Debug, Clone, Default)]
pub struct Used {
    /// What live grants give at this target, cut to the jobs.
    pub permissions: Vec<PermissionSet>,
    /// Addresses of the nodes, as the cluster knows them.
    pub nodes: BTreeSet<IpAddr>,
}

/// The gravest first, and among those in the order of the catalogue.
pub fn findings(survey: &Survey, used: &Used) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut found = |severity, code, text: String| all.push(Finding { severity, code, text });
    let role = &survey.role;
    for attribute in &survey.attributes {
        match attribute {
            Attribute::Superuser => found(Severity::High, "role-superuser", format!("{role} is a superuser: no right is kept from it")),
            Attribute::BypassRls => found(Severity::High, "role-bypasses-rls", format!("{role} is not held by row security")),
            Attribute::CreateRole => found(Severity::High, "role-creates-roles", format!("{role} can make roles, and log in as them")),
            Attribute::CreateDb => found(Severity::Low, "role-creates-databases", format!("{role} can make databases")),
            Attribute::Replication => found(Severity::High, "role-replicates", format!("{role} can read everything by replication")),
        }
    }
    let (powerful, plain): (Vec<&String>, Vec<&String>) = survey.member_of.iter().partition(|name| POWERFUL.contains(&name.as_str()));
    if !powerful.is_empty() {
        found(Severity::High, "role-member-of-powerful", format!("{role} is a member of {}", listed(&powerful)));
    }
    if !plain.is_empty() {
        found(Severity::Medium, "role-member-of", format!("{role} is a member of {}, with what they may do", listed(&plain)));
    }
    if !survey.attributes.contains(&Attribute::Superuser) {
        for (verb, tables) in beyond(survey, used) {
            let severity = if verb == "select" { Severity::Low } else { Severity::Medium };
            found(severity, "role-wider-than-grants", format!("{role} may {verb} where no live grant does: {}", listed(&tables)));
        }
    }
    let (superusers, others): (Vec<_>, Vec<_>) = survey.logins.iter().partition(|login| login.superuser);
    let names = |logins: &[&super::LoginRole]| listed(&logins.iter().map(|login| &login.name).collect::<Vec<_>>());
    if !superusers.is_empty() {
        found(Severity::Medium, "superuser-logins", format!("superusers can log in without the gateway: {}", names(&superusers)));
    }
    if !others.is_empty() {
        found(
            Severity::Low,
            "other-logins",
            format!("other roles can log in to {} without the gateway: {}", survey.database, names(&others)),
        );
    }
    sessions(survey, used, &mut found);
    if survey.cut {
        found(Severity::Low, "survey-cut", format!("the catalogue has more than {} rows; the rest was not looked at", super::ROWS_MAX));
    }
    all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    all
}

/// Tables by the verb that the role has and no grant uses.
fn beyond(survey: &Survey, used: &Used) -> BTreeMap<&'static str, Vec<String>> {
    const VERBS: [(&str, Verb); 5] = [
        ("select", Verb::Select),
        ("insert", Verb::Insert),
        ("update", Verb::Update),
        ("delete", Verb::Delete),
        ("truncate", Verb::Truncate),
    ];
    let mut all: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for table in &survey.tables {
        let path = [survey.database.as_str(), table.schema.as_str(), table.name.as_str()];
        let on = PermissionSet::new([exactly(&path)]);
        for (word, verb) in VERBS {
            if !table.privileges.iter().any(|has| has == word) {
                continue;
            }
            let whole = Access { protocol: Protocol::Postgres, verb, resource: Resource::new(path) };
            // A grant on some columns uses the table too.
            let uses = |set: &PermissionSet| set.allows(&whole) || set.intersect(&on).iter().any(|p| p.verbs.contains(&verb));
            if !used.permissions.iter().any(uses) {
                all.entry(word).or_default().push(format!("{}.{}", table.schema, table.name));
            }
        }
    }
    all
}

/// Every verb on one table.
fn exactly(path: &[&str; 3]) -> domain::permission::Permission {
    use domain::permission::{Pattern, Permission, Segment};
    let segments = path.iter().map(|name| Segment::Exact((*name).into())).collect();
    Permission {
        protocol: Protocol::Postgres,
        verbs: [Verb::Select, Verb::Insert, Verb::Update, Verb::Delete, Verb::Truncate].into_iter().collect(),
        on: Pattern { segments, columns: None },
        except: Default::default(),
    }
}

/// The gateway is known by its role and by where it comes from; nothing else of a session cannot be made up.
fn sessions(survey: &Survey, used: &Used, found: &mut impl FnMut(Severity, &'static str, String)) {
    let is_node = |address: &Option<IpAddr>| *address == survey.seen_as || address.is_some_and(|at| used.nodes.contains(&at));
    let (own, others): (Vec<_>, Vec<_>) = survey.sessions.iter().partition(|session| session.role == survey.role);
    let shown = |session: &&super::Session| {
        let from = session.address.map_or_else(|| "an address that is not shown".into(), |at| at.to_string());
        let application = if session.application.is_empty() { String::new() } else { format!(" ({})", session.application) };
        format!("{} pid {} from {from}{application}", session.role, session.pid)
    };
    let stolen: Vec<String> = own.iter().filter(|session| !is_node(&session.address)).map(shown).collect();
    if !stolen.is_empty() {
        found(Severity::High, "sealed-role-elsewhere", format!("sessions as the sealed role that come from no node: {}", listed(&stolen)));
    }
    let around: Vec<String> = others.iter().map(shown).collect();
    if !around.is_empty() {
        found(Severity::Medium, "sessions-around", format!("sessions that did not come through the gateway: {}", listed(&around)));
    }
    if !survey.sees_sessions {
        let text = format!("{} does not see where other roles' sessions come from; pg_read_all_stats would show it", survey.role);
        found(Severity::Low, "sessions-hidden", text);
    }
}

fn listed(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(LISTED_MAX).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(LISTED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
