use domain::command::{Command, Reply};
use domain::id::{LockId, RevocationId};
use domain::lock::Lock;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone, numbered};
use crate::call::Call;
use crate::convert::fields::collect;
use crate::convert::lock::{create, guarded_by, to_wire};
use crate::convert::receipt;

#[tonic::async_trait]
impl pb::locks_server::Locks for Api {
    async fn create_lock(&self, request: Request<pb::CreateLockRequest>) -> Result<Response<pb::CreateLockResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let command = collect(|f| {
            let lock = f.present("lock", message.lock)?;
            create(f, lock)
        });
        let command = match command {
            Ok(command) => command,
            Err(fault) => return Err(call.may("*").err().unwrap_or(fault)),
        };
        if let Command::CreateLock { on, .. } = &command {
            call.may(&guarded_by(on))?;
        }
        let done = call.submit(&message.request_id, "lock", command).await?;
        let Reply::Lock(id) = done.reply else { return Err(gone("the lock")) };
        let lock = done.state.locks.get(&id).map(|lock| to_wire(lock, call.now()));
        call.answer(&done.state, pb::CreateLockResponse { lock, receipt: done.receipt })
    }

    async fn get_lock(&self, request: Request<pb::GetLockRequest>) -> Result<Response<pb::Lock>, Status> {
        let (call, message) = self.enter(request)?;
        let lock = find(&call, &message.id)?;
        let state = call.may(&guarded_by(&lock.on))?;
        call.answer(&state, to_wire(&lock, call.now()))
    }

    async fn list_locks(&self, request: Request<pb::ListLocksRequest>) -> Result<Response<pb::ListLocksResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let (state, now) = (call.unfiltered(), call.now());
        let wanted = state.locks.values().filter(|lock| message.all || lock.is_live(now));
        let seen = call.visible(wanted.collect(), |lock| guarded_by(&lock.on))?;
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: message.all.to_string() };
        let (page, next_page_token) = self.page(&call, &ask, seen, |lock| numbered(lock.id.0))?;
        let locks = page.into_iter().map(|lock| to_wire(lock, now)).collect();
        call.answer(&state, pb::ListLocksResponse { locks, next_page_token })
    }

    async fn delete_lock(&self, request: Request<pb::DeleteLockRequest>) -> Result<Response<pb::DeleteLockResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let lock = find(&call, &message.id)?;
        call.may(&guarded_by(&lock.on))?;
        let done = call.submit(&message.request_id, "", Command::DeleteLock { lock: lock.id }).await?;
        call.answer(&done.state, pb::DeleteLockResponse {})
    }

    async fn get_receipt(&self, request: Request<pb::GetReceiptRequest>) -> Result<Response<pb::Receipt>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may("*")?;
        let id = collect(|f| f.parse::<RevocationId>("revocation", &message.revocation))?;
        let found = state.receipts.get(&id).ok_or_else(|| gone(id))?;
        call.answer(&state, receipt::to_wire(found))
    }
}

fn find(call: &Call, id: &str) -> Result<Lock, Status> {
    let id = match collect(|f| f.parse::<LockId>("id", id)) {
        Ok(id) => id,
        Err(fault) => return Err(call.may("*").err().unwrap_or(fault)),
    };
    match call.unfiltered().locks.get(&id) {
        Some(lock) => Ok(lock.clone()),
        None => Err(call.may("*").err().unwrap_or_else(|| gone(id))),
    }
}
