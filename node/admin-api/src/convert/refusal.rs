use domain::refusal::Refusal;

/// Why not, for an operator who may see all: unlike what the peer is told, unknown and forbidden differ.
pub(crate) fn in_words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownPrincipal => "there is no such principal".into(),
        Refusal::WrongSecret => "the secret is not a live token's".into(),
        Refusal::PrincipalInactive => "the principal is not active".into(),
        Refusal::OwnerInactive { owner } => format!("its owner {owner} is not active"),
        Refusal::NoJob => "the agent has no job description".into(),
        Refusal::JobExpired => "its job description has expired".into(),
        Refusal::UnknownTarget => "there is no such target".into(),
        Refusal::NoGrant => "no grant reaches the target".into(),
        Refusal::ReviewOverdue => "the grant's review is overdue".into(),
        Refusal::GrantExpired => "the grant has expired".into(),
        Refusal::Locked { lock, reason } => format!("{lock} is in force: {reason}"),
        Refusal::NotGranted { missing } => format!("not granted: {}", missing.join("; ")),
        Refusal::Revoked { revocation, reason } => format!("the grant was revoked ({revocation}): {reason}"),
        Refusal::Denied { request, reason } => format!("{request} was denied: {reason}"),
        Refusal::RequestExpired { request } => format!("{request} has expired"),
        Refusal::Pending { request } | Refusal::PendingInTransaction { request } => format!("{request} waits for a decision"),
        Refusal::Unparseable { message } => {
            format!("it cannot be parsed ({message}), so it needs the widest class, and nothing of it is passed on whatever is granted")
        }
        Refusal::Pinned { setting } => format!("it changes the setting {setting}, which the gateway pins whatever is granted"),
        other => other.to_string(),
    }
}
