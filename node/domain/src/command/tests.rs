mod break_glass;
mod cluster;
mod grants;
mod nouns;
mod outbound;
mod policy;
mod requests;
mod retention;
mod reviews;
mod time;
mod triggers;
mod twins;

use super::*;
use crate::fixture::*;

#[track_caller]
fn forbidden(rejection: &Rejection) {
    assert!(matches!(rejection, Rejection::Forbidden { .. }), "{rejection:?}");
}

#[track_caller]
fn separated(rejection: &Rejection) {
    assert!(matches!(rejection, Rejection::SeparationOfDuties { .. }), "{rejection:?}");
}

#[track_caller]
fn invalid_field(rejection: &Rejection, wanted: &str) {
    assert!(matches!(rejection, Rejection::Invalid { field, .. } if field == wanted), "{rejection:?}");
}
