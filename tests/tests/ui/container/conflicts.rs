//! Options of which only one can stand.

use audit_seaorm::Auditable;

mod skipped {
    #[derive(super::Auditable)]
    #[audit(skip, reason = "no personal data", resource = "A", module = "b")]
    #[audit(on(read), reads, snapshot, on_failure = "block", frameworks("SOX"), classification = "public")]
    pub struct Model {
        pub id: i64,
    }
}

mod reason_alone {
    #[derive(super::Auditable)]
    #[audit(reason = "no personal data")]
    pub struct Model {
        pub id: i64,
    }
}

mod reads_twice {
    #[derive(super::Auditable)]
    #[audit(reads, on(create, read))]
    pub struct Model {
        pub id: i64,
    }
}

fn main() {}
