use clap::{Args, Subcommand};
use proto::admin as pb;

use super::{DeleteArgs, NameArg, receipt};
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};

#[derive(Debug, Clone, Subcommand)]
pub enum RoleCommand {
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
    #[arg(long, default_value = "")]
    description: String,
    /// E.g. 'postgres:select,insert on app.public.orders(id,status)'.
    #[arg(short, long = "permission", required = true, value_name = "PERMISSION")]
    permissions: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    name: String,
    #[arg(long)]
    description: Option<String>,
    /// All permissions the role has from now on.
    #[arg(short, long = "permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
}

impl RoleCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            RoleCommand::Create(args) => {
                let role = pb::Role { name: args.name, description: args.description, permissions: args.permissions, ..Default::default() };
                let request = pb::CreateRoleRequest { role: Some(role), ..Default::default() };
                let made = rpc!(client.change, roles_client::RolesClient, create_role, request)?;
                out.show(&made, |made| format!("created {}\n", made.name))
            }
            RoleCommand::Update(args) => {
                let mut role = find(client, &args.name).await?;
                role.description = args.description.unwrap_or(role.description);
                if !args.permissions.is_empty() {
                    role.permissions = args.permissions;
                }
                let request = pb::UpdateRoleRequest { role: Some(role), ..Default::default() };
                let done = rpc!(client.change, roles_client::RolesClient, update_role, request)?;
                out.show(&done, |done| format!("updated\n{}", receipt::render(done.receipt.as_ref())))
            }
            RoleCommand::Get(args) => {
                let found = find(client, &args.name).await?;
                out.show(&found, |r| {
                    let mut text = fields(&[("name", r.name.clone()), ("description", r.description.clone()), ("version", r.etag.clone())]);
                    r.permissions.iter().for_each(|p| text.push_str(&format!("  {p}\n")));
                    text
                })
            }
            RoleCommand::List => {
                let roles = super::all_pages!(client, roles_client::RolesClient, list_roles, pb::ListRolesRequest::default(), roles);
                let all = pb::ListRolesResponse { roles, ..Default::default() };
                out.show(&all, |all| {
                    let mut table = Table::new(&["NAME", "PERMISSIONS", "DESCRIPTION"]);
                    for r in &all.roles {
                        table.row([r.name.clone(), r.permissions.len().to_string(), r.description.clone()]);
                    }
                    table.render()
                })
            }
            RoleCommand::Delete(args) => {
                let request = pb::DeleteRoleRequest { name: args.name.clone(), etag: args.etag.unwrap_or_default(), ..Default::default() };
                let done = rpc!(client.change, roles_client::RolesClient, delete_role, request)?;
                out.show(&done, |done| format!("deleted {}\n{}", args.name, receipt::render(done.receipt.as_ref())))
            }
        }
    }
}

pub(crate) async fn find(client: &mut Client, name: &str) -> Result<pb::Role, Failure> {
    rpc!(client.ask, roles_client::RolesClient, get_role, pb::GetRoleRequest { name: name.to_owned() })
}
