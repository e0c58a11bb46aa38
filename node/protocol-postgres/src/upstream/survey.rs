//! What goes round the gateway: what a target's own catalogue says of the role the gateway logs in as, of other roles
//! that can log in, and of sessions that did not come through. Reads catalogues only, in a read-only session.

mod findings;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use tokio::io::AsyncWriteExt;

use super::ask::{Row, ask, text};
use super::{Address, Connected, Login, UpstreamError, establish};
pub use findings::{Finding, Severity, Used, findings};

/// Rows of one answer: a catalogue of more tables is told as being cut.
pub const ROWS_MAX: usize = 20_000;

/// What the catalogue says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    pub version: String,
    pub database: String,
    pub role: String,
    pub attributes: Vec<Attribute>,
    /// Roles whose rights it has, itself left out.
    pub member_of: Vec<String>,
    pub logins: Vec<LoginRole>,
    /// Tables that are not the system's.
    pub tables: Vec<Table>,
    pub sessions: Vec<Session>,
    /// From where the target sees this node; none over a local socket.
    pub seen_as: Option<IpAddr>,
    /// The role may see where other roles' sessions come from.
    pub sees_sessions: bool,
    /// There were more rows than [`ROWS_MAX`].
    pub cut: bool,
}

/// What a role may do whatever it was granted on tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    Superuser,
    BypassRls,
    CreateRole,
    CreateDb,
    Replication,
}

/// Another role that can log in to this database without the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRole {
    pub name: String,
    pub superuser: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// Of `select insert update delete truncate`, those the role has.
    pub privileges: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub pid: String,
    pub role: String,
    pub application: String,
    /// None over a local socket, or when it is hidden from the role.
    pub address: Option<IpAddr>,
}

/// Logs in and reads the catalogue.
///
/// # Errors
/// [`UpstreamError`].
pub async fn survey(address: &Address, login: &Login<'_>) -> Result<Survey, UpstreamError> {
    let mut visit = Visit { connected: establish(address, login).await?, cut: false };
    let survey = visit.survey().await?;
    visit.connected.stream.write_all(b"X\0\0\0\x04").await?;
    Ok(survey)
}

struct Visit {
    connected: Connected,
    cut: bool,
}

impl Visit {
    async fn survey(&mut self) -> Result<Survey, UpstreamError> {
        let own = self
            .rows(
                "SELECT r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication, current_user, current_database(), \
                 pg_catalog.host(pg_catalog.inet_client_addr()), pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') \
                 FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
            )
            .await?;
        let own = own.into_iter().next().ok_or(UpstreamError::Rules("the role does not find itself in the catalogue"))?;
        let is = |at: usize| text(&own, at) == "t";
        let all = [Attribute::Superuser, Attribute::BypassRls, Attribute::CreateRole, Attribute::CreateDb, Attribute::Replication];
        let attributes: Vec<Attribute> = all.into_iter().enumerate().filter(|(at, _)| is(*at)).map(|(_, attribute)| attribute).collect();
        // A superuser counts as a member of every role.
        let member_of = if attributes.contains(&Attribute::Superuser) {
            Vec::new()
        } else {
            self.rows(
                "SELECT r.rolname FROM pg_catalog.pg_roles r \
                 WHERE r.rolname <> current_user AND pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') ORDER BY 1",
            )
            .await?
        };
        let logins = self
            .rows(
                "SELECT r.rolname, r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolcanlogin AND r.rolname <> current_user \
                 AND pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CONNECT') ORDER BY 1",
            )
            .await?;
        let tables = self
            .rows(
                "SELECT n.nspname, c.relname, pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
                 pg_catalog.has_table_privilege(c.oid, 'INSERT'), pg_catalog.has_table_privilege(c.oid, 'UPDATE'), \
                 pg_catalog.has_table_privilege(c.oid, 'DELETE'), pg_catalog.has_table_privilege(c.oid, 'TRUNCATE') \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
                 AND n.nspname !~ '^pg_(toast_)?temp_' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') ORDER BY 1, 2",
            )
            .await?;
        let sessions = self
            .rows(
                "SELECT a.pid, a.usename, a.application_name, pg_catalog.host(a.client_addr) FROM pg_catalog.pg_stat_activity a \
                 WHERE a.datname = pg_catalog.current_database() AND a.usename IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() \
                 AND coalesce(a.backend_type, 'client backend') IN ('client backend', 'walsender') ORDER BY 1",
            )
            .await?;
        let address = |row: &Row, at: usize| text(row, at).parse().ok();
        Ok(Survey {
            version: self.connected.parameters.get("server_version").cloned().unwrap_or_else(|| "of unknown version".into()),
            database: text(&own, 6),
            role: text(&own, 5),
            attributes,
            member_of: member_of.iter().map(|row| text(row, 0)).collect(),
            logins: logins.iter().map(|row| LoginRole { name: text(row, 0), superuser: text(row, 1) == "t" }).collect(),
            tables: tables.iter().map(table).collect(),
            sessions: sessions
                .iter()
                .map(|row| Session { pid: text(row, 0), role: text(row, 1), application: text(row, 2), address: address(row, 3) })
                .collect(),
            seen_as: address(&own, 7),
            sees_sessions: is(8) || is(0),
            cut: self.cut,
        })
    }

    /// One statement; its rows as text.
    async fn rows(&mut self, sql: &str) -> Result<Vec<Row>, UpstreamError> {
        let answer = ask(&mut self.connected, sql, ROWS_MAX).await?;
        self.cut |= answer.cut;
        Ok(answer.rows)
    }
}

fn table(row: &Row) -> Table {
    let verbs = ["select", "insert", "update", "delete", "truncate"];
    let privileges = verbs.iter().enumerate().filter(|(at, _)| text(row, at + 2) == "t").map(|(_, verb)| (*verb).to_owned());
    Table { schema: text(row, 0), name: text(row, 1), privileges: privileges.collect() }
}
