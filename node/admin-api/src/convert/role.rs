use domain::command::{Command, Expect};
use domain::role::Role;
use proto::admin as pb;

use super::fields::Fields;
use super::{etag, permissions};

pub(crate) fn to_wire(role: &Role) -> pb::Role {
    pb::Role {
        name: role.name.to_string(),
        description: role.description.clone(),
        permissions: permissions(&role.permissions),
        etag: etag(role.version),
        narrowed: role.narrowed.0,
    }
}

pub(crate) fn put(f: &mut Fields, role: pb::Role, expect: Option<Expect>) -> Option<Command> {
    let name = f.parse("role.name", &role.name);
    let permissions = f.permissions("role.permissions", &role.permissions);
    Some(Command::PutRole { name: name?, description: role.description, permissions: permissions?, expect: expect? })
}
