//! A node tells what its check of a target found. Evidence only: no permit reads it.

use super::check::{invalid, long, not_empty, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::Name;
use crate::limits::FINDINGS_MAX;
use crate::review::trigger::{Finding, TargetFindings};

pub(super) fn apply(step: &mut Step<'_>, target: Name, findings: Vec<Finding>) -> Result<Reply, Rejection> {
    if !step.state.targets.contains_key(&target) {
        return Err(not_found(format!("target {target}")));
    }
    if findings.len() > FINDINGS_MAX {
        return Err(invalid("findings", format!("are more than {FINDINGS_MAX}")));
    }
    for finding in &findings {
        not_empty("findings.code", &finding.code)?;
        long("findings.text", &finding.text)?;
    }
    step.put_findings(TargetFindings { target, at: step.now, findings });
    Ok(step.done())
}
