//! Who may call what: one row for every method of the router, and nothing is reachable without a row. A test compares
//! this table with the descriptors of all served services.
//!
//! The right a call needs is `assize:VERB on NOUN/NAME`. NAME is, for principals, targets, credentials, roles, jobs, sinks and
//! witnesses, their own; for tokens the principal's; for requests and break-glass the target's; for reviews their own name; for grants the target's (or `assize`, or `*` for a
//! selector by labels); for locks the name of what is locked; for listing sessions the principal's and for ending one its
//! id; for retention rules the class; for the rest `*`.
//!
//! What gives power over the administration itself needs the verb `operate` besides: people and their tokens, grants on
//! `assize`, roles with `assize:` permissions. `domain::command::authority` says so, here before a command is proposed
//! and again where it is applied. So an operator of targets cannot make itself an admin.

use domain::operation::Verb;

/// One method of the API, and what it needs.
#[derive(Debug)]
pub struct Row {
    /// As it stands in the URI: `/package.Service/Method`.
    pub path: &'static str,
    pub needs: Needs,
    /// Answered also while this node holds no lease: what an operator needs to see then.
    pub without_lease: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Anybody that reaches the port. Says nothing but "up".
    Public,
    /// Any principal with an admin token or certificate.
    Identity,
    /// A grant on `assize` with this verb and noun; the name is in the message.
    Right(Verb, &'static str),
    /// For oneself a live identity is enough; for others the right.
    OwnOrRight(Verb, &'static str),
    /// By right, or as owner of the target the request is for.
    DecideOnTarget,
}

const fn row(path: &'static str, verb: Verb, noun: &'static str) -> Row {
    Row { path, needs: Needs::Right(verb, noun), without_lease: false }
}

const fn special(path: &'static str, needs: Needs, without_lease: bool) -> Row {
    Row { path, needs, without_lease }
}

use Verb::{Decide, Operate, Read, Write};

pub const POLICY: &[Row] = &[
    row("/assize.admin.v1.Principals/CreatePrincipal", Write, "principal"),
    row("/assize.admin.v1.Principals/GetPrincipal", Read, "principal"),
    row("/assize.admin.v1.Principals/ListPrincipals", Read, "principal"),
    row("/assize.admin.v1.Principals/UpdatePrincipal", Write, "principal"),
    row("/assize.admin.v1.Principals/DeletePrincipal", Write, "principal"),
    special("/assize.admin.v1.Tokens/IssueToken", Needs::OwnOrRight(Write, "token"), false),
    special("/assize.admin.v1.Tokens/ListTokens", Needs::OwnOrRight(Read, "token"), false),
    special("/assize.admin.v1.Tokens/RevokeToken", Needs::OwnOrRight(Write, "token"), false),
    row("/assize.admin.v1.Targets/CreateTarget", Write, "target"),
    row("/assize.admin.v1.Targets/GetTarget", Read, "target"),
    row("/assize.admin.v1.Targets/ListTargets", Read, "target"),
    row("/assize.admin.v1.Targets/UpdateTarget", Write, "target"),
    row("/assize.admin.v1.Targets/DeleteTarget", Write, "target"),
    row("/assize.admin.v1.Targets/CheckTarget", Write, "target"),
    row("/assize.admin.v1.Credentials/CreateCredential", Write, "credential"),
    row("/assize.admin.v1.Credentials/GetCredential", Read, "credential"),
    row("/assize.admin.v1.Credentials/ListCredentials", Read, "credential"),
    row("/assize.admin.v1.Credentials/RotateCredential", Write, "credential"),
    row("/assize.admin.v1.Credentials/DeleteCredential", Write, "credential"),
    row("/assize.admin.v1.Roles/CreateRole", Write, "role"),
    row("/assize.admin.v1.Roles/GetRole", Read, "role"),
    row("/assize.admin.v1.Roles/ListRoles", Read, "role"),
    row("/assize.admin.v1.Roles/UpdateRole", Write, "role"),
    row("/assize.admin.v1.Roles/DeleteRole", Write, "role"),
    row("/assize.admin.v1.Jobs/CreateJob", Write, "job"),
    row("/assize.admin.v1.Jobs/GetJob", Read, "job"),
    row("/assize.admin.v1.Jobs/ListJobs", Read, "job"),
    row("/assize.admin.v1.Jobs/UpdateJob", Write, "job"),
    row("/assize.admin.v1.Jobs/DeleteJob", Write, "job"),
    row("/assize.admin.v1.Grants/CreateGrant", Write, "grant"),
    row("/assize.admin.v1.Grants/GetGrant", Read, "grant"),
    row("/assize.admin.v1.Grants/ListGrants", Read, "grant"),
    row("/assize.admin.v1.Grants/RevokeGrant", Write, "grant"),
    row("/assize.admin.v1.Grants/ConfirmGrant", Write, "grant"),
    special("/assize.admin.v1.Requests/OpenRequest", Needs::OwnOrRight(Write, "request"), false),
    special("/assize.admin.v1.Requests/GetRequest", Needs::OwnOrRight(Read, "request"), false),
    special("/assize.admin.v1.Requests/ListRequests", Needs::OwnOrRight(Read, "request"), false),
    special("/assize.admin.v1.Requests/ApproveRequest", Needs::DecideOnTarget, false),
    special("/assize.admin.v1.Requests/DenyRequest", Needs::DecideOnTarget, false),
    special("/assize.admin.v1.Requests/WithdrawRequest", Needs::OwnOrRight(Write, "request"), false),
    row("/assize.admin.v1.BreakGlass/BreakGlass", Operate, "break-glass"),
    special("/assize.admin.v1.BreakGlass/GetBreakGlass", Needs::OwnOrRight(Read, "break-glass"), false),
    special("/assize.admin.v1.BreakGlass/ListBreakGlass", Needs::OwnOrRight(Read, "break-glass"), false),
    special("/assize.admin.v1.BreakGlass/ReviewBreakGlass", Needs::DecideOnTarget, false),
    row("/assize.admin.v1.Reviews/OpenReview", Write, "review"),
    special("/assize.admin.v1.Reviews/GetReview", Needs::OwnOrRight(Read, "review"), false),
    special("/assize.admin.v1.Reviews/ListReviews", Needs::OwnOrRight(Read, "review"), false),
    special("/assize.admin.v1.Reviews/ListReviewItems", Needs::OwnOrRight(Read, "review"), false),
    special("/assize.admin.v1.Reviews/DecideReviewItems", Needs::OwnOrRight(Decide, "review"), false),
    special("/assize.admin.v1.Reviews/HandReviewItems", Needs::OwnOrRight(Write, "review"), false),
    row("/assize.admin.v1.Reviews/CloseReview", Operate, "review"),
    row("/assize.admin.v1.Reviews/ExportReview", Read, "review"),
    row("/assize.admin.v1.Reviews/PutReviewTrigger", Write, "review"),
    row("/assize.admin.v1.Reviews/GetReviewTrigger", Read, "review"),
    row("/assize.admin.v1.Reviews/ListReviewTriggers", Read, "review"),
    row("/assize.admin.v1.Reviews/DeleteReviewTrigger", Write, "review"),
    row("/assize.admin.v1.Locks/CreateLock", Write, "lock"),
    row("/assize.admin.v1.Locks/GetLock", Read, "lock"),
    row("/assize.admin.v1.Locks/ListLocks", Read, "lock"),
    row("/assize.admin.v1.Locks/DeleteLock", Write, "lock"),
    row("/assize.admin.v1.Locks/GetReceipt", Read, "lock"),
    row("/assize.admin.v1.Policies/PublishPolicy", Write, "policy"),
    row("/assize.admin.v1.Policies/GetPolicy", Read, "policy"),
    row("/assize.admin.v1.Policies/ListPolicies", Read, "policy"),
    row("/assize.admin.v1.Policies/ActivatePolicy", Write, "policy"),
    row("/assize.admin.v1.Policies/RollbackPolicy", Write, "policy"),
    row("/assize.admin.v1.Policies/DeactivatePolicy", Write, "policy"),
    row("/assize.admin.v1.Policies/SetPolicyRule", Operate, "policy"),
    row("/assize.admin.v1.Sinks/CreateSink", Write, "sink"),
    row("/assize.admin.v1.Sinks/GetSink", Read, "sink"),
    row("/assize.admin.v1.Sinks/ListSinks", Read, "sink"),
    row("/assize.admin.v1.Sinks/UpdateSink", Write, "sink"),
    row("/assize.admin.v1.Sinks/DeleteSink", Write, "sink"),
    row("/assize.admin.v1.Sinks/TestSink", Write, "sink"),
    row("/assize.admin.v1.Witnesses/CreateWitness", Write, "witness"),
    row("/assize.admin.v1.Witnesses/GetWitness", Read, "witness"),
    row("/assize.admin.v1.Witnesses/ListWitnesses", Read, "witness"),
    row("/assize.admin.v1.Witnesses/UpdateWitness", Write, "witness"),
    row("/assize.admin.v1.Witnesses/DeleteWitness", Write, "witness"),
    row("/assize.admin.v1.Retention/SetRetentionRule", Operate, "retention"),
    row("/assize.admin.v1.Retention/ListRetentionRules", Read, "retention"),
    row("/assize.admin.v1.Retention/CreateHold", Write, "hold"),
    row("/assize.admin.v1.Retention/ListHolds", Read, "hold"),
    row("/assize.admin.v1.Retention/ReleaseHold", Operate, "hold"),
    row("/assize.admin.v1.Sessions/ListSessions", Read, "session"),
    row("/assize.admin.v1.Sessions/EndSession", Write, "session"),
    special("/assize.admin.v1.Runs/GetRun", Needs::OwnOrRight(Read, "run"), false),
    row("/assize.admin.v1.Explain/ExplainAccess", Read, "principal"),
    row("/assize.admin.v1.Explain/ListAccess", Read, "audit"),
    row("/assize.admin.v1.Audit/QueryRecords", Read, "audit"),
    row("/assize.admin.v1.Audit/GetCheckpoint", Read, "audit"),
    row("/assize.admin.v1.Audit/GetInclusionProof", Read, "audit"),
    row("/assize.admin.v1.Audit/GetConsistencyProof", Read, "audit"),
    row("/assize.admin.v1.Audit/Export", Read, "audit"),
    special("/assize.admin.v1.Cluster/GetStatus", Needs::Right(Read, "cluster"), true),
    row("/assize.admin.v1.Cluster/CreateJoinToken", Operate, "cluster"),
    row("/assize.admin.v1.Cluster/AddVoter", Operate, "cluster"),
    row("/assize.admin.v1.Cluster/RemoveNode", Operate, "cluster"),
    row("/assize.admin.v1.Cluster/TransferLeader", Operate, "cluster"),
    row("/assize.admin.v1.Cluster/Backup", Operate, "cluster"),
    special("/grpc.health.v1.Health/Check", Needs::Public, true),
    special("/grpc.health.v1.Health/Watch", Needs::Public, true),
    special("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Needs::Identity, true),
];

/// The row of a path, compared exactly.
pub fn of(path: &str) -> Option<&'static Row> {
    POLICY.iter().find(|row| row.path == path)
}
