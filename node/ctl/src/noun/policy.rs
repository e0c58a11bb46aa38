use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use policy::{Bundle, Fault, check};
use proto::admin as pb;

use super::receipt;
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::when;

mod recorded;

#[derive(Debug, Clone, Subcommand)]
pub enum PolicyCommand {
    /// Check a bundle, run its tests, and put it at hand; nothing changes until it is activated
    Publish(BundleArg),
    List,
    /// One version, or the active one
    Show(ShowArgs),
    /// All nodes judge by it from one entry of the log on; live sessions are reviewed anew
    Activate(IdArg),
    /// Back to what was active before, by one
    Rollback,
    /// Judge without a policy
    Deactivate,
    /// Demand that somebody else than the publisher activates a policy, whatever its bundle says
    TwoPeople(TwoPeopleArgs),
    /// Check a bundle and run its tests, here: needs no cluster
    Test(BundleArg),
    /// What a bundle would have refused or held of what is on record
    DryRun(recorded::DryRunArgs),
    /// Recorded decisions in the format of OPA's decision logs
    Decisions(recorded::DecisionsArgs),
}

#[derive(Debug, Clone, Args)]
pub struct BundleArg {
    /// A directory in OPA's layout, or a bundle.tar.gz.
    #[arg(value_name = "DIR|TAR.GZ")]
    path: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct IdArg {
    /// E.g. policy-1047.
    id: String,
}

#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// E.g. policy-1047; by default the active one.
    id: Option<String>,
    /// Write the bundle into a tar file. Must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct TwoPeopleArgs {
    #[arg(value_parser = clap::builder::BoolishValueParser::new(), value_name = "on|off")]
    demanded: bool,
}

/// Files of a directory, so that one that is no bundle at all is not read whole.
const FILES_LOOKED_AT_MAX: usize = 10_000;

/// A bundle from where it lies.
pub(crate) fn read(path: &Path) -> Result<Bundle, Failure> {
    let about = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
    if !path.is_dir() {
        let bytes = std::fs::read(path).map_err(|e| about(&e))?;
        return Bundle::unpack(&bytes).map_err(|fault| about(&fault));
    }
    let (mut files, mut open, mut looked_at) = (Vec::new(), vec![(path.to_owned(), String::new())], 0);
    while let Some((directory, under)) = open.pop() {
        for entry in std::fs::read_dir(&directory).map_err(|e| about(&e))? {
            let entry = entry.map_err(|e| about(&e))?;
            looked_at += 1;
            if looked_at > FILES_LOOKED_AT_MAX {
                return Err(about(&format!("more than {FILES_LOOKED_AT_MAX} files")));
            }
            let name = format!("{under}{}", entry.file_name().to_string_lossy());
            if entry.file_type().map_err(|e| about(&e))?.is_dir() {
                open.push((entry.path(), format!("{name}/")));
            } else if policy::bundle::belongs(&name) {
                files.push((name, std::fs::read(entry.path()).map_err(|e| about(&e))?));
            }
        }
    }
    files.sort();
    Bundle::new(files).map_err(|fault| about(&fault))
}

/// All that is wrong with it, a line each.
pub(crate) fn told(faults: &[Fault]) -> Failure {
    Failure::failed(faults.iter().map(|fault| crate::text::plain(&fault.to_string())).collect::<Vec<_>>().join("\n        "))
}

impl PolicyCommand {
    /// What needs no cluster; the rest comes back.
    pub(crate) fn offline(self, out: &mut Output<'_>) -> Result<Option<PolicyCommand>, Failure> {
        let PolicyCommand::Test(args) = self else { return Ok(Some(self)) };
        let checked = check(&read(&args.path)?).map_err(|faults| told(&faults))?;
        let tests: Vec<BTreeMap<&str, &str>> = checked
            .tests
            .iter()
            .map(|test| BTreeMap::from([("name", test.name.as_str()), ("file", test.file.as_str()), ("result", "pass")]))
            .collect();
        out.show(&tests, |_| {
            let lines: String = checked.tests.iter().map(|test| format!("pass  {}\n", test.name)).collect();
            format!("{lines}{}: the bundle may be published, {} tests passed\n", args.path.display(), checked.tests.len())
        })?;
        Ok(None)
    }

    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            PolicyCommand::Publish(args) => {
                let bundle = read(&args.path)?.pack().map_err(|fault| told(&[fault]))?;
                let request = pb::PublishPolicyRequest { bundle: bundle.to_vec(), ..Default::default() };
                let done = rpc!(client.change, policies_client::PoliciesClient, publish_policy, request)?;
                out.show(&done, |done| {
                    let id = done.policy.as_ref().map(|p| p.id.clone()).unwrap_or_default();
                    let second = done.policy.as_ref().is_some_and(|p| p.two_people);
                    let who = if second { " (by somebody else)" } else { "" };
                    format!("published {id}, {} tests passed; put it in force{who}: assize policy activate {id}\n", done.tests.len())
                })
            }
            PolicyCommand::List => {
                let request = pb::ListPoliciesRequest { page_size: 1000, ..Default::default() };
                let all = rpc!(client.ask, policies_client::PoliciesClient, list_policies, request)?;
                out.show(&all, |all| {
                    let mut table = Table::new(&["ID", "REVISION", "ACTIVE", "TWO PEOPLE", "BY", "PUBLISHED", "DIGEST"]);
                    for p in &all.policies {
                        let state = if p.active {
                            "active"
                        } else if p.id == all.before {
                            "before"
                        } else {
                            ""
                        };
                        table.row([
                            p.id.clone(),
                            p.revision.clone(),
                            state.to_owned(),
                            crate::text::yes(p.two_people || all.two_people),
                            p.published_by.clone(),
                            when::show(p.published.as_ref()),
                            p.digest.chars().take(16).collect(),
                        ]);
                    }
                    table.render()
                })
            }
            PolicyCommand::Show(args) => show(client, out, args).await,
            PolicyCommand::Activate(args) => {
                let request = pb::ActivatePolicyRequest { id: args.id, ..Default::default() };
                let done = rpc!(client.change, policies_client::PoliciesClient, activate_policy, request)?;
                switched(client, out, done).await
            }
            PolicyCommand::Rollback => {
                let request = pb::RollbackPolicyRequest::default();
                let done = rpc!(client.change, policies_client::PoliciesClient, rollback_policy, request)?;
                switched(client, out, done).await
            }
            PolicyCommand::Deactivate => {
                let request = pb::DeactivatePolicyRequest::default();
                let done = rpc!(client.change, policies_client::PoliciesClient, deactivate_policy, request)?;
                switched(client, out, done).await
            }
            PolicyCommand::TwoPeople(args) => {
                let request = pb::SetPolicyRuleRequest { two_people: args.demanded, ..Default::default() };
                let done = rpc!(client.change, policies_client::PoliciesClient, set_policy_rule, request)?;
                out.show(&done, |_| match args.demanded {
                    true => "every policy needs a second person\n".to_owned(),
                    false => "a policy needs a second person where its bundle says so\n".to_owned(),
                })
            }
            PolicyCommand::Test(_) => Ok(()),
            PolicyCommand::DryRun(args) => recorded::dry_run(client, out, args).await,
            PolicyCommand::Decisions(args) => recorded::decisions(client, out, args).await,
        }
    }
}

async fn switched(client: &mut Client, out: &mut Output<'_>, mut done: pb::SwitchPolicyResponse) -> Result<(), Failure> {
    receipt::look_again(client, &mut done.receipt).await;
    out.show(&done, |done| {
        let head = if done.active.is_empty() { "no policy is active\n".to_owned() } else { format!("{} is active\n", done.active) };
        head + &receipt::render(done.receipt.as_ref())
    })
}

async fn show(client: &mut Client, out: &mut Output<'_>, args: ShowArgs) -> Result<(), Failure> {
    let request = pb::GetPolicyRequest { id: args.id.unwrap_or_default() };
    let found = rpc!(client.ask, policies_client::PoliciesClient, get_policy, request)?;
    if let Some(path) = &args.out {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        std::io::Write::write_all(&mut file, &found.bundle)?;
    }
    out.show(&found, |p| {
        let head = fields(&[
            ("id", p.id.clone()),
            ("revision", p.revision.clone()),
            ("active", crate::text::yes(p.active)),
            ("two people", crate::text::yes(p.two_people)),
            ("published by", p.published_by.clone()),
            ("published", when::show(p.published.as_ref())),
            ("digest", p.digest.clone()),
        ]);
        let names = Bundle::unpack(&p.bundle).map(|bundle| bundle.files().map(|(path, _)| format!("  {path}\n")).collect::<String>());
        format!("{head}files\n{}", names.unwrap_or_default())
    })
}
