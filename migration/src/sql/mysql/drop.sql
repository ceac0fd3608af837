-- The triggers go with the table.
DROP TABLE IF EXISTS {table}_truncate_guard;
DROP TABLE IF EXISTS {table};
