-- {table} is append-only.
--
-- Statement-level: TRUNCATE has no other kind, an upsert that could update is refused before it reads anything, and a
-- statement that happens to match no row is refused as well.
-- The function stands in the table's schema. Its search_path is fixed, so that nobody can slip operators or functions
-- of their own under it.
CREATE OR REPLACE FUNCTION {table}_refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    RAISE EXCEPTION '{table} is append-only: % refused', TG_OP
        USING ERRCODE = 'restrict_violation',
              SCHEMA = TG_TABLE_SCHEMA,
              TABLE = TG_TABLE_NAME;
END
$function$;

CREATE TRIGGER {table}_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse_change();

-- ALWAYS: also under session_replication_role = replica, which switches ordinary triggers off.
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only;
