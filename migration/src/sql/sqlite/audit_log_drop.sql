-- The triggers go with the table.
DROP TABLE audit_log;
DROP TABLE audit_log_replace_guard;
