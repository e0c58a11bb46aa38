//! The rules of a node: compiles the active bundle once, asks it, and refuses when it cannot.

use std::sync::Arc;

use domain::id::Digest;
use domain::policy::{AtAdmission, OnOperation, Policy, Rules, Ruling};
use parking_lot::Mutex;

use crate::answer::Kind;
use crate::compiled::Failure;
use crate::limits::{COMPILED_KEPT_MAX, GRANTS_SHOWN_MAX};
use crate::{Bundle, Compiled, document};

/// A bundle that was looked at, good or not.
type Loaded = Arc<Result<Compiled, String>>;

#[derive(Debug, Default)]
pub struct Engine {
    /// Latest used last.
    loaded: Mutex<Vec<(Digest, Loaded)>>,
}

impl Engine {
    /// Compiles at the first question; a node that cannot refuses everything, and says why.
    fn load(&self, policy: &Policy) -> Loaded {
        let mut loaded = self.loaded.lock();
        if let Some(at) = loaded.iter().position(|(digest, _)| *digest == policy.digest) {
            let found = loaded.remove(at);
            let compiled = found.1.clone();
            loaded.push(found);
            return compiled;
        }
        let compiled = Bundle::unpack(&policy.bundle).map_err(|fault| fault.to_string()).and_then(|bundle| {
            Compiled::new(&bundle).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        });
        match &compiled {
            Ok(_) => tracing::info!(policy = %policy.id, revision = policy.revision, "the policy is loaded"),
            Err(error) => tracing::error!(policy = %policy.id, error, "the policy cannot be loaded: everything it is asked is refused"),
        }
        let compiled = Arc::new(compiled);
        if loaded.len() == COMPILED_KEPT_MAX {
            loaded.remove(0);
        }
        loaded.push((policy.digest, compiled.clone()));
        compiled
    }

    fn ask(&self, policy: &Policy, kind: Kind, input: impl FnOnce() -> regorus::Value) -> Ruling {
        match self.load(policy).as_ref() {
            Err(_) => Ruling::refused(format!("{} cannot be loaded on this node", policy.id)),
            Ok(compiled) if !compiled.asks(kind) => Ruling::default(),
            Ok(compiled) => match compiled.evaluate(kind, input()) {
                Ok(ruling) => ruling,
                Err(failure) => {
                    let detail = match &failure {
                        Failure::Rule(fault) => fault.to_string(),
                        Failure::Budget | Failure::Answer(_) => String::new(),
                    };
                    tracing::warn!(policy = %policy.id, %failure, detail, "a policy could not be evaluated: refused");
                    Ruling::refused(format!("{} could not be evaluated: {failure}", policy.id))
                }
            },
        }
    }
}

impl Rules for Engine {
    fn at_admission(&self, policy: &Policy, question: &AtAdmission<'_>) -> Ruling {
        if question.grants.len() > GRANTS_SHOWN_MAX {
            return Ruling::refused(format!("{} is shown at most {GRANTS_SHOWN_MAX} grants", policy.id));
        }
        self.ask(policy, Kind::Admission, || document::admission(question))
    }

    fn on_operation(&self, policy: &Policy, question: &OnOperation<'_>) -> Ruling {
        self.ask(policy, Kind::Operation, || document::operation(question))
    }

    fn judges_operations(&self, policy: &Policy) -> bool {
        self.load(policy).as_ref().as_ref().map_or(true, |compiled| compiled.asks(Kind::Operation))
    }
}
