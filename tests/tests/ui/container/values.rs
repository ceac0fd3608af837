//! Options without the value they need, with one they don't take, or with one of the wrong sort.

use audit_seaorm::Auditable;

mod missing {
    #[derive(super::Auditable)]
    #[audit]
    #[audit()]
    #[audit = "finance"]
    #[audit(resource, module, frameworks, classification, on, on_failure, crate)]
    pub struct Model {
        pub id: i64,
    }
}

mod wrong {
    #[derive(super::Auditable)]
    #[audit(resource = "", module = 5, frameworks = "SOX", classification = "top secret", on = "create")]
    #[audit(reads = true, snapshot(true), on_failure = "best effort", crate = 7)]
    pub struct Model {
        pub id: i64,
    }
}

mod failing {
    #[derive(super::Auditable)]
    #[audit(on_failure = Block, on_failure = "ignore")]
    pub struct Model {
        pub id: i64,
    }
}

mod waived {
    #[derive(super::Auditable)]
    #[audit(skip, reason = " ")]
    pub struct Model {
        pub id: i64,
    }
}

mod lists {
    #[derive(super::Auditable)]
    #[audit(frameworks("SOX", GDPR, "", "SOX", 5), on(create, insert, create, "read"))]
    pub struct Model {
        pub id: i64,
    }
}

mod empty {
    #[derive(super::Auditable)]
    #[audit(frameworks(), on())]
    #[audit(resource = "a" module = "b")]
    pub struct Model {
        pub id: i64,
    }
}

fn main() {}
