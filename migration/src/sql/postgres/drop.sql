-- By full name: an unqualified DROP would take a {table} of a later schema in search_path if ours is already gone.
DO $do$
BEGIN
    EXECUTE format('DROP TABLE %I.{table}', current_schema());
    EXECUTE format('DROP FUNCTION IF EXISTS %I.{table}_refuse_change()', current_schema());
END
$do$;
