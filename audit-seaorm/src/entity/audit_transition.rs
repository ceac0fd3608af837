//! The table `audit_transition`: one row for each step in the handling of a violation or a system event.

super::recorded::record_entity! {
    /// A step as it is stored.
    Transition in "audit_transition", as_transition {
        /// Table of the record that it is about.
        record_table: String,
        /// Id of that record.
        record_id: Uuid,
        /// 1, 2, 3, .. for the steps of one record.
        step: i32,
        /// `investigating`, `resolved`, `closed`.
        status: String,
        /// Why, or what was found out.
        #[sea_orm(column_type = "Text", nullable)]
        notes: Option<String>,
    }
}
