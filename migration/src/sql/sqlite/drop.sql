-- The triggers go with the table.
DROP TABLE {table};
DROP TABLE {table}_replace_guard;
