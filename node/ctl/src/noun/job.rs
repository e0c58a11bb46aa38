use clap::{Args, Subcommand};
use proto::admin as pb;

use super::{DeleteArgs, NameArg, receipt};
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::when::{self, When};

#[derive(Debug, Clone, Subcommand)]
pub enum JobCommand {
    Create(CreateArgs),
    /// Change what is given, keep the rest
    Update(UpdateArgs),
    Get(NameArg),
    List,
    Delete(DeleteArgs),
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    name: String,
    /// What the agents that have it are for.
    #[arg(long)]
    purpose: String,
    /// The person who answers for it.
    #[arg(long)]
    owner: String,
    #[command(flatten)]
    rest: Settings,
}

#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    name: String,
    #[arg(long)]
    purpose: Option<String>,
    #[arg(long)]
    owner: Option<String>,
    #[command(flatten)]
    rest: Settings,
}

#[derive(Debug, Clone, Args)]
struct Settings {
    #[arg(long)]
    backup_owner: Option<String>,
    /// What the job needs, in the text form of permissions.
    #[arg(short, long = "permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
    /// What the job needs, by role.
    #[arg(long = "role", value_name = "NAME")]
    roles: Vec<String>,
    #[arg(long = "data-class", value_name = "CLASS")]
    data_classes: Vec<String>,
    #[arg(long = "environment", value_name = "NAME")]
    environments: Vec<String>,
    /// A span such as 90d, or a time.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    expires: Option<When>,
}

impl Settings {
    /// What was given replaces what was there, list by list.
    fn apply(self, job: &mut pb::Job) {
        job.backup_owner = self.backup_owner.unwrap_or_else(|| std::mem::take(&mut job.backup_owner));
        let lists = [
            (self.permissions, &mut job.permissions),
            (self.roles, &mut job.roles),
            (self.data_classes, &mut job.data_classes),
            (self.environments, &mut job.environments),
        ];
        for (given, kept) in lists {
            if !given.is_empty() {
                *kept = given;
            }
        }
        job.expires = self.expires.map(When::resolve).or(job.expires.take());
    }
}

impl JobCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            JobCommand::Create(args) => {
                let mut job = pb::Job { name: args.name, purpose: args.purpose, owner: args.owner, ..Default::default() };
                args.rest.apply(&mut job);
                let request = pb::CreateJobRequest { job: Some(job), ..Default::default() };
                let made = rpc!(client.change, jobs_client::JobsClient, create_job, request)?;
                out.show(&made, |made| format!("created {}\n", made.name))
            }
            JobCommand::Update(args) => {
                let mut job = find(client, &args.name).await?;
                job.purpose = args.purpose.unwrap_or(job.purpose);
                job.owner = args.owner.unwrap_or(job.owner);
                args.rest.apply(&mut job);
                let request = pb::UpdateJobRequest { job: Some(job), ..Default::default() };
                let done = rpc!(client.change, jobs_client::JobsClient, update_job, request)?;
                out.show(&done, |done| format!("updated\n{}", receipt::render(done.receipt.as_ref())))
            }
            JobCommand::Get(args) => {
                let found = find(client, &args.name).await?;
                out.show(&found, render)
            }
            JobCommand::List => {
                let jobs = super::all_pages!(client, jobs_client::JobsClient, list_jobs, pb::ListJobsRequest::default(), jobs);
                let all = pb::ListJobsResponse { jobs, ..Default::default() };
                out.show(&all, |all| {
                    let mut table = Table::new(&["NAME", "OWNER", "EXPIRES", "PURPOSE"]);
                    for j in &all.jobs {
                        table.row([j.name.clone(), j.owner.clone(), when::show(j.expires.as_ref()), j.purpose.clone()]);
                    }
                    table.render()
                })
            }
            JobCommand::Delete(args) => {
                let request = pb::DeleteJobRequest { name: args.name.clone(), etag: args.etag.unwrap_or_default(), ..Default::default() };
                let done = rpc!(client.change, jobs_client::JobsClient, delete_job, request)?;
                out.show(&done, |done| format!("deleted {}\n{}", args.name, receipt::render(done.receipt.as_ref())))
            }
        }
    }
}

pub(crate) async fn find(client: &mut Client, name: &str) -> Result<pb::Job, Failure> {
    rpc!(client.ask, jobs_client::JobsClient, get_job, pb::GetJobRequest { name: name.to_owned() })
}

fn render(j: &pb::Job) -> String {
    let mut text = fields(&[
        ("name", j.name.clone()),
        ("purpose", j.purpose.clone()),
        ("owner", j.owner.clone()),
        ("backup owner", j.backup_owner.clone()),
        ("roles", j.roles.join(",")),
        ("data classes", j.data_classes.join(",")),
        ("environments", j.environments.join(",")),
        ("expires", when::show(j.expires.as_ref())),
        ("version", j.etag.clone()),
    ]);
    j.permissions.iter().for_each(|p| text.push_str(&format!("  {p}\n")));
    text
}
