//! What people call a statement.

use pg_query::NodeEnum;

pub(super) fn of(node: &NodeEnum) -> &'static str {
    match node {
        NodeEnum::SelectStmt(s) if s.into_clause.is_some() => "SELECT INTO",
        NodeEnum::SelectStmt(_) => "SELECT",
        NodeEnum::InsertStmt(_) => "INSERT",
        NodeEnum::UpdateStmt(_) => "UPDATE",
        NodeEnum::DeleteStmt(_) => "DELETE",
        NodeEnum::MergeStmt(_) => "MERGE",
        NodeEnum::TruncateStmt(_) => "TRUNCATE",
        NodeEnum::CopyStmt(_) => "COPY",
        NodeEnum::ExplainStmt(_) => "EXPLAIN",
        NodeEnum::PrepareStmt(_) => "PREPARE",
        NodeEnum::ExecuteStmt(_) => "EXECUTE",
        NodeEnum::DeallocateStmt(_) => "DEALLOCATE",
        NodeEnum::DeclareCursorStmt(_) => "DECLARE CURSOR",
        NodeEnum::FetchStmt(s) if s.ismove => "MOVE",
        NodeEnum::FetchStmt(_) => "FETCH",
        NodeEnum::ClosePortalStmt(_) => "CLOSE",
        NodeEnum::TransactionStmt(s) => transaction(s.kind()),
        NodeEnum::VariableSetStmt(s) => {
            use pg_query::protobuf::VariableSetKind as Kind;
            if matches!(s.kind(), Kind::VarReset | Kind::VarResetAll) { "RESET" } else { "SET" }
        }
        NodeEnum::VariableShowStmt(_) => "SHOW",
        NodeEnum::DiscardStmt(_) => "DISCARD",
        NodeEnum::ListenStmt(_) => "LISTEN",
        NodeEnum::UnlistenStmt(_) => "UNLISTEN",
        NodeEnum::NotifyStmt(_) => "NOTIFY",
        NodeEnum::LockStmt(_) => "LOCK TABLE",
        NodeEnum::DoStmt(_) => "DO",
        NodeEnum::CallStmt(_) => "CALL",
        NodeEnum::ConstraintsSetStmt(_) => "SET CONSTRAINTS",
        NodeEnum::GrantStmt(s) => {
            if s.is_grant {
                "GRANT"
            } else {
                "REVOKE"
            }
        }
        NodeEnum::GrantRoleStmt(s) => {
            if s.is_grant {
                "GRANT ROLE"
            } else {
                "REVOKE ROLE"
            }
        }
        NodeEnum::CommentStmt(_) => "COMMENT",
        NodeEnum::VacuumStmt(s) => {
            if s.is_vacuumcmd {
                "VACUUM"
            } else {
                "ANALYZE"
            }
        }
        NodeEnum::ClusterStmt(_) => "CLUSTER",
        NodeEnum::ReindexStmt(_) => "REINDEX",
        NodeEnum::CheckPointStmt(_) => "CHECKPOINT",
        NodeEnum::LoadStmt(_) => "LOAD",
        NodeEnum::AlterSystemStmt(_) => "ALTER SYSTEM",
        NodeEnum::RefreshMatViewStmt(_) => "REFRESH MATERIALIZED VIEW",
        NodeEnum::DropStmt(_) | NodeEnum::DropRoleStmt(_) | NodeEnum::DropdbStmt(_) | NodeEnum::DropTableSpaceStmt(_) => "DROP",
        NodeEnum::DropOwnedStmt(_) => "DROP OWNED",
        NodeEnum::ReassignOwnedStmt(_) => "REASSIGN OWNED",
        NodeEnum::CreateStmt(_) => "CREATE TABLE",
        NodeEnum::CreateTableAsStmt(_) => "CREATE TABLE AS",
        NodeEnum::IndexStmt(_) => "CREATE INDEX",
        NodeEnum::ViewStmt(_) => "CREATE VIEW",
        NodeEnum::CreateSeqStmt(_) => "CREATE SEQUENCE",
        NodeEnum::CreateSchemaStmt(_) => "CREATE SCHEMA",
        NodeEnum::CreateFunctionStmt(s) => {
            if s.is_procedure {
                "CREATE PROCEDURE"
            } else {
                "CREATE FUNCTION"
            }
        }
        NodeEnum::CreateTrigStmt(_) => "CREATE TRIGGER",
        NodeEnum::RuleStmt(_) => "CREATE RULE",
        NodeEnum::CreateExtensionStmt(_) => "CREATE EXTENSION",
        NodeEnum::CreateRoleStmt(_) => "CREATE ROLE",
        NodeEnum::CreatedbStmt(_) => "CREATE DATABASE",
        NodeEnum::AlterTableStmt(_) => "ALTER TABLE",
        NodeEnum::AlterRoleStmt(_) | NodeEnum::AlterRoleSetStmt(_) => "ALTER ROLE",
        NodeEnum::AlterDatabaseStmt(_) | NodeEnum::AlterDatabaseSetStmt(_) => "ALTER DATABASE",
        NodeEnum::RenameStmt(_) | NodeEnum::AlterOwnerStmt(_) | NodeEnum::AlterObjectSchemaStmt(_) => "ALTER",
        _ => "DDL",
    }
}

fn transaction(kind: pg_query::protobuf::TransactionStmtKind) -> &'static str {
    use pg_query::protobuf::TransactionStmtKind as Kind;
    match kind {
        Kind::TransStmtBegin | Kind::TransStmtStart => "BEGIN",
        Kind::TransStmtCommit => "COMMIT",
        Kind::TransStmtRollback | Kind::TransStmtRollbackTo => "ROLLBACK",
        Kind::TransStmtSavepoint => "SAVEPOINT",
        Kind::TransStmtRelease => "RELEASE",
        Kind::TransStmtPrepare => "PREPARE TRANSACTION",
        Kind::TransStmtCommitPrepared => "COMMIT PREPARED",
        Kind::TransStmtRollbackPrepared => "ROLLBACK PREPARED",
        Kind::Undefined => "TRANSACTION",
    }
}
