//! One evaluation: what `assize explain` would say of the caller, and whether it can be asked for.

use axum::http::StatusCode;
use axum::response::Response;
use domain::admission::Outcome;
use domain::refusal::Refusal;
use domain::verdict::Verdict;

use super::wire::{self, Decision, DecisionContext, Evaluation, Offer};
use super::{Caller, Problem, REQUESTS, Room};
use crate::asked::{Asked, Judged, is_open_to_request};
use crate::limits::DENIAL_VALID;

pub(super) async fn evaluate(room: &Room, caller: &Caller) -> Result<Response, Problem> {
    let evaluation: Evaluation = wire::read(&caller.body)?;
    let asked = evaluation.asked(caller)?;
    let control = room.parts.control.as_ref();
    let (state, now) = (control.state(), control.now());
    let judged = asked.judge(&room.parts, &state);
    let access_request = is_requestable(&asked, &judged).then(|| {
        let expires = now.after(DENIAL_VALID);
        Offer {
            endpoint: format!("{}{REQUESTS}", caller.base),
            expires_at: expires.rfc_3339(),
            binding_token: room.denials.token(&[caller.name.as_str(), &evaluation.fingerprint()], &expires.0.to_string()),
        }
    });
    let verdict = match judged.judgement.as_ref().map(|judgement| &judgement.verdict) {
        Some(_) if judged.impossible.is_some() => "refuse",
        Some(Verdict::Allow { .. } | Verdict::AllowByApproval { .. }) => "allow",
        Some(Verdict::Hold { .. }) => "hold",
        Some(Verdict::Refuse(_) | Verdict::EndSession(_)) | None => "refuse",
    };
    let missing = match judged.judgement.as_ref().map(|judgement| &judgement.verdict) {
        Some(Verdict::Hold { missing }) => missing.iter().map(ToString::to_string).collect(),
        Some(_) | None => Vec::new(),
    };
    let context = DecisionContext {
        evaluated_at: now.rfc_3339(),
        index: state.applied.0,
        outcome: match judged.admission.outcome {
            Outcome::Approved => "approved",
            Outcome::Modified { .. } => "modified",
            Outcome::Revoked(_) => "revoked",
        },
        verdict,
        reason: judged.refusal().map(told).unwrap_or_default(),
        missing,
        access_request,
    };
    Ok(wire::json(StatusCode::OK, &Decision { decision: judged.is_allowed(), context }))
}

fn is_requestable(asked: &Asked, judged: &Judged) -> bool {
    match judged.refusal() {
        Some(refusal) => is_open_to_request(refusal, &asked.what),
        None => !judged.is_allowed(),
    }
}

/// As the gateway tells an agent: what is unknown and what is forbidden look the same.
pub(super) fn told(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownTarget => Refusal::NoGrant.code().into(),
        Refusal::Policy { reason, .. } => format!("policy: {reason}"),
        other => other.code().into(),
    }
}
