use domain::command::Command;
use domain::lock::{Lock, LockOn};
use domain::time::LogTime;
use proto::admin as pb;

use super::fields::Fields;
use super::{etag, timestamp};

pub(crate) fn to_wire(lock: &Lock, now: LogTime) -> pb::Lock {
    use pb::lock::On;
    let on = match &lock.on {
        LockOn::Principal(name) => On::Principal(name.to_string()),
        LockOn::Target(name) => On::Target(name.to_string()),
        LockOn::Role(name) => On::Role(name.to_string()),
        LockOn::Credential(name) => On::Credential(name.to_string()),
        LockOn::Session(session) => On::Session(session.to_string()),
    };
    pb::Lock {
        id: lock.id.to_string(),
        on: Some(on),
        reason: lock.reason.clone(),
        by: lock.by.to_string(),
        created: Some(timestamp(lock.created)),
        expires: lock.expires.map(timestamp),
        etag: etag(lock.version),
        live: lock.is_live(now),
    }
}

pub(crate) fn create(f: &mut Fields, lock: pb::Lock) -> Option<Command> {
    let on = f.present("lock.on", lock.on).and_then(|on| read_on(f, &on));
    let reason = f.filled("lock.reason", &lock.reason).map(str::to_owned);
    let expires = f.time("lock.expires", lock.expires.as_ref());
    Some(Command::CreateLock { on: on?, reason: reason?, expires: expires? })
}

fn read_on(f: &mut Fields, on: &pb::lock::On) -> Option<LockOn> {
    use pb::lock::On;
    match on {
        On::Principal(name) => f.parse("lock.principal", name).map(LockOn::Principal),
        On::Target(name) => f.parse("lock.target", name).map(LockOn::Target),
        On::Role(name) => f.parse("lock.role", name).map(LockOn::Role),
        On::Credential(name) => f.parse("lock.credential", name).map(LockOn::Credential),
        On::Session(id) => f.parse("lock.session", id).map(LockOn::Session),
    }
}

/// The name rights over this lock are checked by (see [`crate::policy`]).
pub(crate) fn guarded_by(on: &LockOn) -> String {
    match on {
        LockOn::Principal(name) | LockOn::Target(name) | LockOn::Role(name) | LockOn::Credential(name) => name.to_string(),
        LockOn::Session(_) => "*".into(),
    }
}
