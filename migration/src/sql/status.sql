-- Where each violation and each system event stands: at its last step, or open.
CREATE VIEW audit_status AS
SELECT
    audit_record.id AS record_id,
    audit_record.record_table AS record_table,
    COALESCE(audit_transition.step, 0) AS step,
    COALESCE(audit_transition.status, 'open') AS status,
    audit_transition.notes AS notes,
    audit_transition.timestamp AS changed_at,
    audit_transition.actor_id AS changed_by,
    audit_transition.actor_name AS changed_by_name
FROM (
    SELECT id, 'audit_violation' AS record_table FROM audit_violation
    UNION ALL
    SELECT id, 'audit_system_event' AS record_table FROM audit_system_event
) AS audit_record
LEFT JOIN audit_transition
    ON audit_transition.record_id = audit_record.id
    AND audit_transition.step = (SELECT MAX(later.step) FROM audit_transition AS later WHERE later.record_id = audit_record.id)
