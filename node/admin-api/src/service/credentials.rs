use domain::command::{Command, Expect};
use domain::id::Name;
use identity::Secret;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone};
use crate::call::Call;
use crate::convert::credential::to_wire;
use crate::convert::fields::{Fields, collect};
use crate::{failure, limits};

#[tonic::async_trait]
impl pb::credentials_server::Credentials for Api {
    async fn create_credential(&self, request: Request<pb::CreateCredentialRequest>) -> Result<Response<pb::Credential>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(&message.name)?;
        let (name, username) = collect(|f| {
            let name = f.parse::<Name>("name", &message.name);
            let username = f.filled("username", &message.username).map(str::to_owned);
            password(f, &message.password)?;
            Some((name?, username?))
        })?;
        let command = put(&call, &name, username, message.password, Expect::Absent)?;
        let done = call.submit(&message.request_id, "", command).await?;
        let made = done.state.credentials.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&done.state, to_wire(made))
    }

    async fn get_credential(&self, request: Request<pb::GetCredentialRequest>) -> Result<Response<pb::Credential>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let found = state.credentials.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&state, to_wire(found))
    }

    async fn list_credentials(
        &self,
        request: Request<pb::ListCredentialsRequest>,
    ) -> Result<Response<pb::ListCredentialsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let seen = call.visible(state.credentials.values().collect(), |credential| credential.name.to_string())?;
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: String::new() };
        let (page, next_page_token) = self.page(&call, &ask, seen, |credential| credential.name.to_string())?;
        call.answer(&state, pb::ListCredentialsResponse { credentials: page.into_iter().map(to_wire).collect(), next_page_token })
    }

    async fn rotate_credential(
        &self,
        request: Request<pb::RotateCredentialRequest>,
    ) -> Result<Response<pb::RotateCredentialResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let (name, expect) = collect(|f| {
            let name = f.parse::<Name>("name", &message.name);
            let expect = f.etag("etag", &message.etag);
            password(f, &message.password)?;
            Some((name?, expect?))
        })?;
        let found = state.credentials.get(&name).ok_or_else(|| gone(&name))?;
        let username = if message.username.is_empty() { found.username.clone() } else { message.username };
        let command = put(&call, &name, username, message.password, expect)?;
        let done = call.submit(&message.request_id, "", command).await?;
        let credential = done.state.credentials.get(&name).map(to_wire);
        call.answer(&done.state, pb::RotateCredentialResponse { credential, receipt: done.receipt })
    }

    async fn delete_credential(
        &self,
        request: Request<pb::DeleteCredentialRequest>,
    ) -> Result<Response<pb::DeleteCredentialResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(&message.name)?;
        let command = collect(|f| {
            let name = f.parse("name", &message.name);
            let expect = f.etag_optional("etag", &message.etag);
            Some(Command::DeleteCredential { name: name?, expect: expect? })
        })?;
        let done = call.submit(&message.request_id, "", command).await?;
        call.answer(&done.state, pb::DeleteCredentialResponse { receipt: done.receipt })
    }
}

fn password(f: &mut Fields, password: &str) -> Option<()> {
    match password.len() {
        1..=limits::PASSWORD_MAX if !password.contains('\0') => Some(()),
        _ => f.fault("password", format!("must have 1 to {} bytes and no NUL", limits::PASSWORD_MAX)),
    }
}

/// Seals the secret at this edge: beyond it only the envelope travels.
fn put(call: &Call, name: &Name, username: String, password: String, expect: Expect) -> Result<Command, Status> {
    let secret = Secret::from(password);
    let sealed = call.control().seal(name, &secret).map_err(|e| failure::control(&e))?;
    Ok(Command::PutCredential { name: name.clone(), username, sealed, expect })
}
