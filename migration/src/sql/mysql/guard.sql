-- {table} is append-only.
--
-- REPLACE fires the DELETE trigger, ON DUPLICATE KEY UPDATE the UPDATE trigger.
-- TRUNCATE fires none, but InnoDB refuses to truncate a table that a foreign key points to: this empty table exists
-- for its constraint, whose name is what the error shows. It stands first: without it the triggers would not be enough.
CREATE TABLE {table}_truncate_guard (
    {table}_id binary(16) NOT NULL PRIMARY KEY,
    CONSTRAINT {table}_is_append_only FOREIGN KEY ({table}_id) REFERENCES {table} (id)
) ENGINE = InnoDB;

CREATE TRIGGER {table}_refuse_update BEFORE UPDATE ON {table} FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{table} is append-only: UPDATE refused';

CREATE TRIGGER {table}_refuse_delete BEFORE DELETE ON {table} FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{table} is append-only: DELETE refused';

-- No statement chooses its place in the order: an entry at the largest number would bar every one after it.
CREATE TRIGGER {table}_refuse_seq BEFORE INSERT ON {table} FOR EACH ROW
    IF NEW.seq <> 0 THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{table} is append-only: explicit seq refused';
    END IF;
