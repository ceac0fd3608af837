//! Every option of `#[derive(Auditable)]`, in each of the formats in which entities are written.

use audit_seaorm::{
    Auditable, Classification, Config, Diff, FailurePolicy, FieldSpec, Operations, ResourceSpec, Tracking,
};

mod classic {
    use audit_seaorm::Auditable;
    use sea_orm::entity::prelude::*;

    /// The names are those that the derive's own code uses.
    struct Pair;

    impl Pair {
        fn shorten(text: &str) -> Option<String> {
            text.get(..2).map(str::to_owned)
        }
    }

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Auditable)]
    #[sea_orm(table_name = "classic", schema_name = "books")]
    #[audit(resource = "BankAccount", module = "finance", frameworks("SOX", "PCI_DSS"))]
    #[audit(classification = "Top_Secret", on(update, delete), reads, snapshot, on_failure = "best_effort")]
    pub(super) struct Model {
        #[sea_orm(primary_key, column_name = "ID")]
        #[audit(exclude)]
        pub(super) id: i64,
        #[audit(name, include, silent, alias = "headline")]
        #[audit(alias("heading", "caption"))]
        pub(super) title: String,
        #[audit(include, rename = "iban", classification = "restricted", with = Pair::shorten)]
        pub(super) reference: String,
        #[audit(mask)]
        #[audit(sensitive)]
        pub(super) pin: String,
        #[audit(sensitive = false)]
        #[sea_orm(enum_name = "Kind")]
        pub(super) r#type: Option<String>,
        #[deprecated]
        pub(super) self_: i32,
        #[sea_orm(ignore)]
        pub(super) cache: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[test]
fn c1_every_option_of_the_derive_is_described() {
    const EXPECTED: ResourceSpec = ResourceSpec {
        resource: Some("BankAccount"),
        module: Some("finance"),
        frameworks: &["SOX", "PCI_DSS"],
        classification: Some(Classification::TopSecret),
        operations: Operations { create: false, update: true, delete: true, read: true },
        snapshot: true,
        on_failure: Some(FailurePolicy::BestEffort),
        skip: None,
        fields: &[
            FieldSpec { tracking: Tracking::Exclude, ..FieldSpec::new("id") },
            FieldSpec {
                tracking: Tracking::Include,
                name: true,
                silent: true,
                aliases: &["headline", "heading", "caption"],
                ..FieldSpec::new("title")
            },
            FieldSpec {
                tracking: Tracking::Include,
                rename: Some("iban"),
                classification: Some(Classification::Restricted),
                transformed: true,
                ..FieldSpec::new("reference")
            },
            FieldSpec { tracking: Tracking::Mask, sensitive: Some(true), ..FieldSpec::new("pin") },
            FieldSpec { sensitive: Some(false), ..FieldSpec::new("type") },
            FieldSpec::new("self_"),
        ],
    };
    assert_eq!(*classic::Model::RESOURCE, EXPECTED);
}

#[test]
#[allow(deprecated)]
fn c1_the_derived_diff_transforms_and_leaves_out() {
    let audit = audit_seaorm::Audit::builder()
        .config(Config::default())
        .register::<classic::Entity>(audit_seaorm::EntityOptions::default())
        .build()
        .unwrap();
    let policy = audit.registry().get::<classic::Entity>().unwrap().unwrap().policy();
    let old = classic::Model {
        id: 1,
        title: "Savings".into(),
        reference: "DE89".into(),
        pin: "1234".into(),
        r#type: None,
        self_: 1,
        cache: vec![],
    };
    let diff = |change: &dyn Fn(&mut classic::Model)| {
        let mut new = old.clone();
        change(&mut new);
        let mut diff = Diff::new(policy);
        old.diff(&new, &mut diff);
        diff.finish().map(|changes| changes.to_json(policy))
    };
    assert_eq!(diff(&|new| new.reference = "FR89".into()).unwrap(), r#"{"iban":{"old":"DE","new":"FR"}}"#);
    assert_eq!(diff(&|new| new.reference = "DE00".into()), None, "the transform gives the same");
    assert_eq!(diff(&|new| new.pin = "0000".into()).unwrap(), r#"{"pin":{"old":"***","new":"***"}}"#);
    assert_eq!(
        diff(&|new| (new.id, new.self_, new.cache) = (2, 2, vec![1])),
        None,
        "excluded, not included, no column"
    );
}

mod model_format {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, audit_seaorm::Auditable)]
    #[sea_orm(table_name = "model_format")]
    #[audit(skip, reason = "a copy of another table")]
    pub(super) struct Model {
        #[sea_orm(primary_key)]
        pub(super) id: i64,
        #[audit(mask)]
        pub(super) title: String,
        pub(super) parent_id: Option<i64>,
        #[audit(exclude)]
        #[sea_orm(self_ref, relation_enum = "Parent", from = "parent_id", to = "id")]
        pub(super) parent: HasOne<Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

#[test]
fn c1_relations_are_no_fields() {
    const EXPECTED: ResourceSpec = ResourceSpec {
        skip: Some("a copy of another table"),
        fields: &[
            FieldSpec::new("id"),
            FieldSpec { tracking: Tracking::Mask, ..FieldSpec::new("title") },
            FieldSpec::new("parent_id"),
        ],
        ..ResourceSpec::EMPTY
    };
    assert_eq!(*model_format::Model::RESOURCE, EXPECTED);
}

mod written_out {
    use sea_orm::entity::prelude::*;

    /// The library under another path, as an application may re-export it.
    mod platform {
        pub(super) use audit_seaorm as audit;
    }

    #[derive(Copy, Clone, Default, Debug, DeriveEntity)]
    pub(super) struct Entity;

    impl EntityName for Entity {
        fn table_name(&self) -> &'static str {
            "written_out"
        }
    }

    #[derive(Clone, Debug, PartialEq, Eq, DeriveModel, DeriveActiveModel, platform::audit::Auditable)]
    #[audit(skip, crate = platform::audit)]
    pub(super) struct Model {
        pub(super) id: i64,
        pub(super) full_name: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveColumn)]
    pub(super) enum Column {
        Id,
        #[sea_orm(column_name = "name")]
        FullName,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DerivePrimaryKey)]
    pub(super) enum PrimaryKey {
        Id,
    }

    impl PrimaryKeyTrait for PrimaryKey {
        type ValueType = i64;

        fn auto_increment() -> bool {
            true
        }
    }

    #[derive(Copy, Clone, Debug, EnumIter)]
    pub(super) enum Relation {}

    impl ColumnTrait for Column {
        type EntityName = Entity;

        fn def(&self) -> ColumnDef {
            match self {
                Self::Id => ColumnType::BigInteger.def(),
                Self::FullName => ColumnType::Text.def(),
            }
        }
    }

    impl RelationTrait for Relation {
        fn def(&self) -> RelationDef {
            match *self {}
        }
    }

    #[platform::audit::audited(crate = "platform::audit")]
    impl ActiveModelBehavior for ActiveModel {}
}

#[test]
fn c1_entities_that_are_written_out_can_derive() {
    const EXPECTED: ResourceSpec = ResourceSpec {
        skip: Some(""),
        fields: &[FieldSpec::new("id"), FieldSpec::new("full_name")],
        ..ResourceSpec::EMPTY
    };
    assert_eq!(*written_out::Model::RESOURCE, EXPECTED);
}

/// Names that come out of a macro are told apart from those that it was given.
macro_rules! entity {
    ($module:ident, $field:ident: $ty:ty) => {
        mod $module {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, audit_seaorm::Auditable)]
            #[sea_orm(table_name = "from_macro")]
            pub(super) struct Model {
                #[sea_orm(primary_key)]
                pub(super) id: i64,
                #[audit(rename = "given")]
                pub(super) $field: $ty,
                pub(super) own: String,
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub(super) enum Relation {}

            #[audit_seaorm::audited]
            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}
entity!(from_macro, amount: i64);

#[test]
fn c1_entities_from_macros_can_derive() {
    let names: Vec<_> = from_macro::Model::RESOURCE.fields.iter().map(|field| field.ident).collect();
    assert_eq!(names, ["id", "amount", "own"]);
}
