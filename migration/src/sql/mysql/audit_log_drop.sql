-- The triggers go with the table.
DROP TABLE IF EXISTS audit_log_truncate_guard;
DROP TABLE IF EXISTS audit_log;
