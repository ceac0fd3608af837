//! What can be asked of each family, besides what can be asked of all.

use audit_core::{
    EventKind, Export, LoginAttempt, LoginStatus, Query, QueryType, Severity, Status, SystemEvent,
    Transition, Violation, ViolationStatus,
};
use uuid::Uuid;

use super::filter::RecordFilter;
use super::names::{Named, Sort, word};
use crate::entity::StoredFamily;

/// A family of records that can be asked for: [`Query`], [`Export`], [`Violation`], [`LoginAttempt`], [`SystemEvent`],
/// [`Transition`]. `Entity` is the SeaORM entity of its table, from [`entity`](crate::entity).
///
/// Nothing else can implement it.
pub trait RecordFamily: StoredFamily {
    /// The filters that only this family has.
    #[doc(hidden)]
    const FILTERS: &'static [Named];
}

/// The filters of a family: for each the methods for one and for several values (of a type, if it isn't any that is a text), its
/// column, and how its text is read. Its name is that of the first method; after `also` stand others.
macro_rules! filters {
    (
        $family:ident {$(
            $(#[$doc:meta])*
            $one:ident, $several:ident $(of $value:ty)?, $column:literal as $sort:expr $(, also $other:literal)*;
        )+}
    ) => {
        impl RecordFamily for $family {
            const FILTERS: &'static [Named] = &[$(
                Named { name: stringify!($one), column: $column, sort: $sort },
                $( Named { name: $other, column: $column, sort: $sort }, )*
            )+];
        }

        impl RecordFilter<$family> {$(
            $(#[$doc])*
            pub fn $one(self, value: filters!(@one $($value)?)) -> Self {
                self.with(stringify!($one), [value.to_string()])
            }

            #[doc = concat!("One of several, each as [`", stringify!($one), "`](Self::", stringify!($one), ") takes it. Of none, nothing is found.")]
            pub fn $several(self, values: impl IntoIterator<Item = filters!(@one $($value)?)>) -> Self {
                self.with(stringify!($one), values.into_iter().map(|value| value.to_string()))
            }
        )+}
    };
    (@one $value:ty) => { $value };
    (@one) => { impl ToString };
}

filters! {
    Violation {
        /// This sort of violation, such as `"unauthorized_access"`. The set is open: of a sort that there isn't, nothing is found.
        violation_type, violation_types, "violation_type" as Sort::Names(100);
        /// This severity.
        severity, severities of Severity, "severity" as Sort::Words(word::<Severity>);
        /// Where its handling stands now: at its last step, or open.
        status, statuses of ViolationStatus, "id" as Sort::Handling(word::<ViolationStatus>);
        /// This functional area.
        module, modules, "module" as Sort::Names(100);
        /// About resources of this type.
        model, models, "resource_type" as Sort::Text(255), also "entity";
        /// About the resource with this id; composite ids as [`join_key`](audit_core::join_key) makes them.
        resource_id, resource_ids, "resource_id" as Sort::ResourceId, also "entity_id";
    }
}

filters! {
    SystemEvent {
        /// This sort of event.
        event_type, event_types of EventKind, "event_type" as Sort::Words(word::<EventKind>);
        /// Where its handling stands now: at its last step, or open.
        status, statuses of ViolationStatus, "id" as Sort::Handling(word::<ViolationStatus>);
        /// This module of the program.
        module, modules, "module" as Sort::Names(255);
        /// This code of an error.
        error_code, error_codes, "error_code" as Sort::Text(100);
    }
}

filters! {
    LoginAttempt {
        /// The name that was given, as it was typed.
        username, usernames, "username" as Sort::Text(320);
        /// How it ended.
        status, statuses of LoginStatus, "status" as Sort::Words(word::<LoginStatus>), also "result";
        /// The country that the address is in, as the geography called it.
        country, countries, "country" as Sort::Text(100);
    }
}

filters! {
    Export {
        /// This format, such as `"csv"`.
        format, formats, "format" as Sort::Names(32);
        /// What it is for people, such as `"user data"`.
        export_type, export_types, "export_type" as Sort::Text(100);
        /// Of resources of this type.
        model, models, "resource_type" as Sort::Text(255), also "entity";
        /// How it ended.
        status, statuses of Status, "status" as Sort::Words(word::<Status>);
        /// This functional area.
        module, modules, "module" as Sort::Names(100);
    }
}

filters! {
    Query {
        /// What was asked for.
        query_type, query_types of QueryType, "query_type" as Sort::Words(word::<QueryType>);
        /// Of resources of this type.
        model, models, "resource_type" as Sort::Text(255), also "entity";
        /// How it ended.
        status, statuses of Status, "status" as Sort::Words(word::<Status>);
        /// This functional area.
        module, modules, "module" as Sort::Names(100);
    }
}

filters! {
    Transition {
        /// Steps in the handling of the record with this id.
        record_id, record_ids of Uuid, "record_id" as Sort::Uuid;
        /// Steps to this status.
        status, statuses of ViolationStatus, "status" as Sort::Words(word::<ViolationStatus>);
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use sea_orm::{IdenStatic, Iterable};

    use super::super::names::COMMON;
    use super::*;

    fn check<F: RecordFamily>() {
        let columns: Vec<String> = <F::Entity as sea_orm::EntityTrait>::Column::iter()
            .map(|column| column.as_str().to_owned())
            .collect();
        let mut names = std::collections::HashSet::new();
        for named in COMMON.iter().chain(F::FILTERS) {
            assert!(columns.iter().any(|column| column == named.column), "{}: {named:?}", F::TABLE);
            assert!(names.insert(named.name), "{}: {named:?}", F::TABLE);
        }
    }

    #[test]
    fn q1_each_filter_is_about_a_column_that_there_is() {
        check::<Violation>();
        check::<SystemEvent>();
        check::<LoginAttempt>();
        check::<Export>();
        check::<Query>();
        check::<Transition>();
    }

    #[test]
    fn q1_the_filters_of_records_say_what_would_do() {
        fn refused<F: RecordFamily>(name: &str, text: &str, says: &str) {
            let error = RecordFilter::<F>::new().set(name, text, &Utc).expect_err(text).to_string();
            assert!(error.contains(says), "{name} {text}: {error}");
            assert!(text.len() < 6 || !error.contains(text), "{error}");
        }
        refused::<Violation>("severity", "terrible", "low, medium, high, critical");
        refused::<Violation>("status", "pending", "open, investigating, resolved, closed");
        refused::<Violation>("violation_type", "", "1 to 100 characters");
        refused::<Violation>("violation_type", &"a".repeat(101), "1 to 100 characters");
        refused::<Violation>("query_type", "select", "there are days, start_date");
        refused::<SystemEvent>("event_type", "nuisance", "error, warning, info, security, performance");
        refused::<SystemEvent>("severity", "high", "event_type, status, module, error_code");
        refused::<LoginAttempt>("result", "nearly", "success, failed, blocked");
        refused::<LoginAttempt>("username", &"a".repeat(321), "1 to 320 characters");
        refused::<LoginAttempt>("ip", "300.1.1.1", "an IP address");
        refused::<Export>("format", "csv,,pdf", "with commas between");
        refused::<Query>("query_type", "guess", "select, count, aggregate, exists");
        refused::<Transition>("record_id", "seven", "a UUID");
        for (name, text) in [("days", "0"), ("start_date", "2026-02-29"), ("end_date", "tomorrow")] {
            refused::<Query>(name, text, if name == "days" { "from 1 on" } else { "a day that exists" });
        }
    }
}
