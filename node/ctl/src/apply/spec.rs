//! What a document declares, as it is written: keys in camel case, unknown ones refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::outcome::Failure;
use crate::when;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document<S> {
    /// Read before: it says which `S` this is.
    #[serde(rename = "kind")]
    pub(crate) _kind: String,
    pub(crate) name: String,
    pub(crate) spec: S,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct AgentSpec {
    pub(crate) owner: String,
    #[serde(default)]
    pub(crate) backup_owner: String,
    #[serde(default)]
    pub(crate) job: String,
    #[serde(default = "yes")]
    pub(crate) active: bool,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct PersonSpec {
    #[serde(default)]
    pub(crate) email: String,
    #[serde(default)]
    pub(crate) certificate: String,
    #[serde(default = "yes")]
    pub(crate) active: bool,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct TargetSpec {
    #[serde(default)]
    pub(crate) protocol: Protocol,
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) tls: TlsSpec,
    pub(crate) credential: String,
    pub(crate) default_database: String,
    pub(crate) hold: Option<String>,
    pub(crate) request_expiry: Option<String>,
    pub(crate) approvals_needed: Option<u32>,
    #[serde(default)]
    pub(crate) owner: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) weak_cancel: bool,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    #[default]
    Postgres,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct TlsSpec {
    #[serde(default)]
    pub(crate) mode: TlsMode,
    /// PEM file, relative to the document's.
    pub(crate) roots_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) server_name: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsMode {
    #[default]
    VerifyFull,
    RequireUnverified,
    Off,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct CredentialSpec {
    pub(crate) username: String,
    pub(crate) password_from: PasswordFrom,
}

/// Never the password itself: files are kept and shared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct PasswordFrom {
    pub(crate) env: Option<String>,
    /// Relative to the document's file.
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RoleSpec {
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) permissions: Vec<String>,
}

/// Its name is the class.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RetentionSpec {
    /// A span; left out, for ever.
    pub(crate) keep: Option<String>,
    #[serde(default)]
    pub(crate) reason: String,
}

/// Words and defaults are those of `assize review trigger set`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct TriggerSpec {
    /// E.g. `owner-left` or `denials=20`.
    pub(crate) on: String,
    pub(crate) window: Option<String>,
    pub(crate) least: Option<u64>,
    pub(crate) gather: Option<String>,
    pub(crate) basis: String,
    pub(crate) reviewers: Vec<String>,
    pub(crate) due: String,
    pub(crate) overdue: Option<String>,
    pub(crate) certifies: Option<String>,
    #[serde(default)]
    pub(crate) fallback: Vec<String>,
    pub(crate) escalates: Option<String>,
    pub(crate) rationale_from: Option<String>,
    #[serde(default)]
    pub(crate) scope: ScopeSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ScopeSpec {
    pub(crate) subjects: Option<String>,
    #[serde(default)]
    pub(crate) principals: Vec<String>,
    #[serde(default)]
    pub(crate) owners: Vec<String>,
    #[serde(default)]
    pub(crate) targets: Vec<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) verbs: Vec<String>,
    pub(crate) risk: Option<String>,
    pub(crate) unused_for: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct JobSpec {
    pub(crate) purpose: String,
    pub(crate) owner: String,
    #[serde(default)]
    pub(crate) backup_owner: String,
    #[serde(default)]
    pub(crate) permissions: Vec<String>,
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    #[serde(default)]
    pub(crate) data_classes: Vec<String>,
    #[serde(default)]
    pub(crate) environments: Vec<String>,
    pub(crate) expires: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct GrantSpec {
    pub(crate) principal: String,
    /// A target's name, or `assize`; or else `targetLabels`.
    pub(crate) target: Option<String>,
    #[serde(default)]
    pub(crate) target_labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) permissions: Vec<String>,
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    pub(crate) valid_from: Option<String>,
    /// A time, or a span from when the grant is made.
    pub(crate) expires: Option<String>,
    pub(crate) review_due: Option<String>,
    #[serde(default)]
    pub(crate) strict: bool,
}

fn yes() -> bool {
    true
}

/// The span that a key of a document holds.
pub(crate) fn span(key: &str, text: &str) -> Result<Duration, Failure> {
    when::parse_span(text).map_err(|e| Failure::usage(format!("{key}: {e}")))
}
