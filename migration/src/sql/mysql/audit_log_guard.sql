-- audit_log is append-only.
--
-- REPLACE fires the DELETE trigger, ON DUPLICATE KEY UPDATE the UPDATE trigger.
-- TRUNCATE fires none, but InnoDB refuses to truncate a table that a foreign key points to: this empty table exists
-- for its constraint, whose name is what the error shows. It stands first: without it the triggers would not be enough.
CREATE TABLE audit_log_truncate_guard (
    audit_log_id binary(16) NOT NULL PRIMARY KEY,
    CONSTRAINT audit_log_is_append_only FOREIGN KEY (audit_log_id) REFERENCES audit_log (id)
) ENGINE = InnoDB;

CREATE TRIGGER audit_log_refuse_update BEFORE UPDATE ON audit_log FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'audit_log is append-only: UPDATE refused';

CREATE TRIGGER audit_log_refuse_delete BEFORE DELETE ON audit_log FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'audit_log is append-only: DELETE refused';

-- No statement chooses its place in the order: an entry at the largest number would bar every one after it.
CREATE TRIGGER audit_log_refuse_seq BEFORE INSERT ON audit_log FOR EACH ROW
    IF NEW.seq <> 0 THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'audit_log is append-only: explicit seq refused';
    END IF;
