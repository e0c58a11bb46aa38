-- Makes functions.txt: the names of pg_catalog whose every callable form is immutable or stable, or stands on the
-- reviewed list of harmless volatile ones, less the reviewed list of those that reach outside what their arguments
-- name. Run against the oldest supported server, as any user:
--   psql -X -At -f functions.sql > functions.txt
-- A name qualifies only as a whole, because a statement does not tell which form the server will choose.
with callable as (
    select p.proname, p.provolatile, p.prokind
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'pg_catalog' and p.prokind <> 'p'
      and p.prorettype not in ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype,
                               'language_handler'::regtype, 'fdw_handler'::regtype,
                               'index_am_handler'::regtype, 'tsm_handler'::regtype, 'table_am_handler'::regtype,
                               'cstring'::regtype)
      and not ('internal'::regtype = any (p.proargtypes::oid[]))
      and not ('cstring'::regtype = any (p.proargtypes::oid[]))
),
-- Volatile, yet they only observe, or change nothing but the session's own random state.
harmless(name) as (values
    ('clock_timestamp'), ('timeofday'), ('random'), ('setseed'), ('gen_random_uuid'), ('currval'), ('lastval'),
    ('pg_sleep'), ('pg_sleep_for'), ('pg_sleep_until'),
    ('pg_relation_size'), ('pg_table_size'), ('pg_indexes_size'), ('pg_total_relation_size'), ('pg_database_size'),
    ('pg_tablespace_size'), ('pg_is_in_recovery'), ('pg_is_wal_replay_paused'), ('pg_get_wal_replay_pause_state'),
    ('pg_current_wal_lsn'), ('pg_current_wal_insert_lsn'), ('pg_current_wal_flush_lsn'),
    ('pg_last_wal_receive_lsn'), ('pg_last_wal_replay_lsn'), ('pg_last_xact_replay_timestamp'),
    ('pg_last_committed_xact'), ('pg_xact_commit_timestamp'), ('pg_xact_status'), ('txid_status'),
    ('pg_blocking_pids'), ('pg_safe_snapshot_blocking_pids'), ('pg_isolation_test_session_is_blocked'),
    ('pg_lock_status'), ('pg_stat_clear_snapshot'), ('pg_notification_queue_usage'), ('pg_jit_available'),
    ('pg_stat_get_xact_numscans'), ('pg_stat_get_xact_tuples_returned'), ('pg_stat_get_xact_tuples_fetched'),
    ('pg_stat_get_xact_tuples_inserted'), ('pg_stat_get_xact_tuples_updated'), ('pg_stat_get_xact_tuples_deleted'),
    ('pg_stat_get_xact_tuples_hot_updated'), ('pg_stat_get_xact_blocks_fetched'), ('pg_stat_get_xact_blocks_hit'),
    ('pg_stat_get_xact_function_calls'), ('pg_stat_get_xact_function_total_time'),
    ('pg_stat_get_xact_function_self_time'), ('pg_prepared_xact'), ('pg_prepared_statement'), ('pg_cursor'),
    ('pg_partition_tree'), ('pg_partition_ancestors'), ('current_query'), ('pg_get_wal_resource_managers'),
    ('pg_control_system'), ('pg_control_checkpoint'), ('pg_control_recovery'), ('pg_control_init'),
    ('pg_stat_get_recovery_prefetch'), ('pg_stat_have_stats'), ('pg_get_multixact_members'),
    ('pg_sequence_last_value'), ('pg_collation_actual_version'), ('pg_database_collation_actual_version'),
    ('pg_conf_load_time'), ('pg_postmaster_start_time'), ('pg_timezone_names'), ('pg_timezone_abbrevs')
),
-- Not volatile, yet they run SQL given as text, read tables or files not named in the statement, or act on the server.
reaching(name) as (values
    ('query_to_xml'), ('query_to_xmlschema'), ('query_to_xml_and_xmlschema'),
    ('table_to_xml'), ('table_to_xmlschema'), ('table_to_xml_and_xmlschema'),
    ('schema_to_xml'), ('schema_to_xmlschema'), ('schema_to_xml_and_xmlschema'),
    ('database_to_xml'), ('database_to_xmlschema'), ('database_to_xml_and_xmlschema'),
    ('cursor_to_xml'), ('cursor_to_xmlschema'), ('ts_stat'), ('ts_rewrite'),
    ('pg_config'), ('pg_show_all_file_settings'), ('pg_hba_file_rules'), ('pg_ident_file_mappings'),
    ('txid_current'), ('pg_current_xact_id'), ('set_config'), ('nextval'), ('setval'), ('pg_notify'),
    ('ts_parse'), ('ts_token_type'), ('pg_mcv_list_items'), ('pg_get_publication_tables')
)
select proname
from callable
where proname not in (select name from reaching)
  and (proname in ('log', 'log10', 'lower', 'lower_inc', 'lower_inf')
    or proname !~ '^(lo_|lo[a-z]*$|binary_upgrade_|pg_read_|pg_ls_|pg_stat_file|pg_logical_|pg_replication_|pg_advisory_|pg_try_advisory_|fmgr_|dblink)')
group by proname
having bool_and(provolatile in ('i', 's')) or proname in (select name from harmless)
order by proname collate "C";
