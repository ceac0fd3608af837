-- {table} is append-only.
CREATE TRIGGER {table}_refuse_update BEFORE UPDATE ON {table}
BEGIN
    SELECT RAISE(ABORT, '{table} is append-only: UPDATE refused');
END;

CREATE TRIGGER {table}_refuse_delete BEFORE DELETE ON {table}
BEGIN
    SELECT RAISE(ABORT, '{table} is append-only: DELETE refused');
END;

-- INSERT OR REPLACE (or REPLACE) deletes the row that is in the way, by id or by seq, and fires no DELETE trigger
-- while recursive_triggers is off, as it is by default. A trigger can't see the conflict clause of its statement, but
-- it can feel it: SQLite applies that clause to the INSERTs inside the trigger too, in place of their own. So the
-- INSERT OR IGNORE below changes the guard's only row under REPLACE, and under nothing else. Plain INSERT, OR IGNORE
-- and ON CONFLICT go on to what they always do: a unique violation, nothing, or the UPDATE trigger.
--
-- The RAISE takes the guard's row back with the rest of the statement. A row lost or changed otherwise means refusal.
CREATE TABLE {table}_replace_guard (
    id integer NOT NULL PRIMARY KEY,
    mark text NOT NULL
);

INSERT INTO {table}_replace_guard (id, mark) VALUES (1, 'kept');

-- Only for an entry that exists: an ordinary insert pays one look-up of its id.
CREATE TRIGGER {table}_refuse_replace BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)
BEGIN
    INSERT OR IGNORE INTO {table}_replace_guard (id, mark) VALUES (1, 'replaced');
    SELECT RAISE(ABORT, '{table} is append-only: REPLACE refused')
    WHERE NOT EXISTS (SELECT 1 FROM {table}_replace_guard WHERE id = 1 AND mark = 'kept');
END;

-- No statement chooses its own place in the order, replaces an entry by its place, or takes the last one there is,
-- after which AUTOINCREMENT would have none left. NEW.seq is -1 where the statement gives none; the table's CHECK
-- refuses a seq of -1 that it does give.
CREATE TRIGGER {table}_refuse_seq BEFORE INSERT ON {table}
WHEN NEW.seq <> -1
BEGIN
    SELECT RAISE(ABORT, '{table} is append-only: explicit seq refused');
END;
