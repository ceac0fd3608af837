-- By full name: an unqualified DROP would take an audit_log of a later schema in search_path if ours is already gone.
DO $do$
BEGIN
    EXECUTE format('DROP TABLE %I.audit_log', current_schema());
    EXECUTE format('DROP FUNCTION IF EXISTS %I.audit_log_refuse_change()', current_schema());
END
$do$;
