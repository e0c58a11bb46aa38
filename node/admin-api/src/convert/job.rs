use domain::command::{Command, Expect};
use domain::job::Job;
use proto::admin as pb;

use super::fields::Fields;
use super::{etag, permissions, text, timestamp};

pub(crate) fn to_wire(job: &Job) -> pb::Job {
    pb::Job {
        name: job.name.to_string(),
        purpose: job.purpose.clone(),
        owner: job.owner.to_string(),
        backup_owner: text(job.backup_owner.as_ref()),
        permissions: permissions(&job.permissions),
        roles: job.roles.iter().map(ToString::to_string).collect(),
        data_classes: job.data_classes.iter().cloned().collect(),
        environments: job.environments.iter().cloned().collect(),
        expires: job.expires.map(timestamp),
        etag: etag(job.version),
        narrowed: job.narrowed.0,
    }
}

pub(crate) fn put(f: &mut Fields, job: pb::Job, expect: Option<Expect>) -> Option<Command> {
    let name = f.parse("job.name", &job.name);
    let purpose = f.filled("job.purpose", &job.purpose).map(str::to_owned);
    let owner = f.parse("job.owner", &job.owner);
    let backup_owner = f.parse_optional("job.backup_owner", &job.backup_owner);
    let permissions = f.permissions("job.permissions", &job.permissions);
    let roles = f.names("job.roles", &job.roles);
    let expires = f.time("job.expires", job.expires.as_ref());
    Some(Command::PutJob {
        name: name?,
        purpose: purpose?,
        owner: owner?,
        backup_owner: backup_owner?,
        permissions: permissions?,
        roles: roles?,
        data_classes: job.data_classes.into_iter().collect(),
        environments: job.environments.into_iter().collect(),
        expires: expires?,
        expect: expect?,
    })
}
