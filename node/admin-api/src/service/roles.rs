use domain::command::{Command, Expect};
use domain::id::Name;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone};
use crate::convert::fields::collect;
use crate::convert::role::{put, to_wire};

#[tonic::async_trait]
impl pb::roles_server::Roles for Api {
    async fn create_role(&self, request: Request<pb::CreateRoleRequest>) -> Result<Response<pb::Role>, Status> {
        let (call, message) = self.enter(request)?;
        let role = message.role.unwrap_or_default();
        call.may(&role.name)?;
        let name = collect(|f| f.parse::<Name>("role.name", &role.name))?;
        let command = collect(|f| put(f, role, Some(Expect::Absent)))?;
        let done = call.submit(&message.request_id, "role", command).await?;
        let made = done.state.roles.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&done.state, to_wire(made))
    }

    async fn get_role(&self, request: Request<pb::GetRoleRequest>) -> Result<Response<pb::Role>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let found = state.roles.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&state, to_wire(found))
    }

    async fn list_roles(&self, request: Request<pb::ListRolesRequest>) -> Result<Response<pb::ListRolesResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let seen = call.visible(state.roles.values().collect(), |role| role.name.to_string())?;
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: String::new() };
        let (page, next_page_token) = self.page(&call, &ask, seen, |role| role.name.to_string())?;
        call.answer(&state, pb::ListRolesResponse { roles: page.into_iter().map(to_wire).collect(), next_page_token })
    }

    async fn update_role(&self, request: Request<pb::UpdateRoleRequest>) -> Result<Response<pb::UpdateRoleResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let role = message.role.unwrap_or_default();
        call.may(&role.name)?;
        let name = collect(|f| f.parse::<Name>("role.name", &role.name))?;
        let command = collect(|f| {
            let expect = f.etag("role.etag", &role.etag);
            put(f, role, expect)
        })?;
        let done = call.submit(&message.request_id, "role", command).await?;
        let role = done.state.roles.get(&name).map(to_wire);
        call.answer(&done.state, pb::UpdateRoleResponse { role, receipt: done.receipt })
    }

    async fn delete_role(&self, request: Request<pb::DeleteRoleRequest>) -> Result<Response<pb::DeleteRoleResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let expect = collect(|f| f.etag_optional("etag", &message.etag))?;
        let command = Command::DeleteRole { name: name.clone(), expect };
        let done = call.submit(&message.request_id, "", command).await?;
        call.answer(&done.state, pb::DeleteRoleResponse { receipt: done.receipt })
    }
}
