use domain::command::{Command, Expect};
use domain::id::Name;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone};
use crate::convert::fields::collect;
use crate::convert::principal::{put, to_wire};
use crate::convert::usage::denials_to_wire;

#[tonic::async_trait]
impl pb::principals_server::Principals for Api {
    async fn create_principal(&self, request: Request<pb::CreatePrincipalRequest>) -> Result<Response<pb::Principal>, Status> {
        let (call, message) = self.enter(request)?;
        let principal = message.principal.unwrap_or_default();
        call.may(&principal.name)?;
        let name = collect(|f| f.parse::<Name>("principal.name", &principal.name))?;
        let command = collect(|f| put(f, principal, Some(Expect::Absent)))?;
        let done = call.submit(&message.request_id, "principal", command).await?;
        let made = done.state.principals.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&done.state, to_wire(made))
    }

    async fn get_principal(&self, request: Request<pb::GetPrincipalRequest>) -> Result<Response<pb::Principal>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let found = state.principals.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&state, pb::Principal { denials: denials_to_wire(&state, &name), ..to_wire(found) })
    }

    async fn list_principals(&self, request: Request<pb::ListPrincipalsRequest>) -> Result<Response<pb::ListPrincipalsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let wanted = match message.kind() {
            pb::PrincipalKindFilter::Unspecified => None,
            pb::PrincipalKindFilter::Agent => Some(false),
            pb::PrincipalKindFilter::Person => Some(true),
        };
        let all = state.principals.values().filter(|p| wanted.is_none_or(|person| p.is_person() == person));
        let seen = call.visible(all.collect(), |principal| principal.name.to_string())?;
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: message.kind.to_string() };
        let (page, next_page_token) = self.page(&call, &ask, seen, |principal| principal.name.to_string())?;
        call.answer(&state, pb::ListPrincipalsResponse { principals: page.into_iter().map(to_wire).collect(), next_page_token })
    }

    async fn update_principal(
        &self,
        request: Request<pb::UpdatePrincipalRequest>,
    ) -> Result<Response<pb::UpdatePrincipalResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let principal = message.principal.unwrap_or_default();
        call.may(&principal.name)?;
        let name = collect(|f| f.parse::<Name>("principal.name", &principal.name))?;
        let command = collect(|f| {
            let expect = f.etag("principal.etag", &principal.etag);
            put(f, principal, expect)
        })?;
        let done = call.submit(&message.request_id, "principal", command).await?;
        let principal = done.state.principals.get(&name).map(to_wire);
        call.answer(&done.state, pb::UpdatePrincipalResponse { principal, receipt: done.receipt })
    }

    async fn delete_principal(
        &self,
        request: Request<pb::DeletePrincipalRequest>,
    ) -> Result<Response<pb::DeletePrincipalResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(&message.name)?;
        let command = collect(|f| {
            let name = f.parse("name", &message.name);
            let expect = f.etag_optional("etag", &message.etag);
            Some(Command::DeletePrincipal { name: name?, expect: expect? })
        })?;
        let done = call.submit(&message.request_id, "", command).await?;
        call.answer(&done.state, pb::DeletePrincipalResponse { receipt: done.receipt })
    }
}
