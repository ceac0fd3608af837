//! How each field of a resource is treated: what attributes, registration and configuration come to together.

use std::sync::Arc;

use crate::{
    Classification, Config, Error, FailurePolicy, FieldKind, FieldSpec, LabelSource, Operations,
    ResourceSpec, Sanitizer, Tracking, Unplannable, Value, classify, classify_field,
};

/// A column as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in the database.
    pub name: String,
    /// Sort of its type.
    pub kind: FieldKind,
    /// Digits after the point, where the column declares them.
    pub scale: Option<u32>,
    /// Part of the primary key.
    pub key: bool,
}

/// What a registration says about an entity; overrides its attributes. Fields are named by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntityOptions {
    /// Name of the resource in entries.
    pub resource: Option<String>,
    /// Functional area.
    pub module: Option<String>,
    /// Compliance frameworks; none given leaves the attributes' in force.
    pub frameworks: Vec<String>,
    /// Classification of the resource.
    pub classification: Option<Classification>,
    /// Which operations make entries.
    pub operations: Option<Operations>,
    /// Whether entries carry the whole row before and after.
    pub snapshot: Option<bool>,
    /// What happens to an operation whose entry can't be written.
    pub on_failure: Option<FailurePolicy>,
    /// If any: only these fields are recorded.
    pub include: Vec<String>,
    /// Never recorded.
    pub exclude: Vec<String>,
    /// That they changed is recorded; their values are not.
    pub mask: Vec<String>,
    /// Recorded with other changes; make no entry alone.
    pub silent: Vec<String>,
    /// Gives the entry its resource name.
    pub name: Option<String>,
    /// References with where their labels come from, as `#[audit(label = "..")]` says it: `("artist_id", "name")`. See
    /// [`LabelSource`].
    pub labels: Vec<(String, String)>,
    /// Columns with names that older entries have for them: `("title", "headline")`.
    pub aliases: Vec<(String, String)>,
}

impl EntityOptions {
    /// Says what happens to an operation whose entry can't be written.
    #[must_use]
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.on_failure = Some(policy);
        self
    }
}

/// How one field is treated.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)]
pub struct FieldPolicy {
    /// Name in entries.
    pub name: String,
    /// Name in the database.
    pub column: String,
    /// Digits after the point of a decimal column.
    pub scale: Option<u32>,
    /// Whether the field is recorded at all.
    pub tracked: bool,
    /// Said to be excluded, as opposed to merely not included. If it is part of the key, ids show a digest.
    pub excluded: bool,
    /// Whether only the fact of a change is recorded.
    pub masked: bool,
    /// Whether a change of it alone makes no entry.
    pub silent: bool,
    /// Part of the primary key.
    pub key: bool,
    /// The value is a secret: the entry is flagged as sensitive.
    pub sensitive: bool,
    /// Classification of the field.
    pub classification: Classification,
    /// Its value is recorded as a function of the program makes it.
    pub transformed: bool,
    /// It refers to another row, whose readable name is recorded along.
    pub label: Option<LabelSource>,
    /// Names that older entries have for it.
    pub aliases: Vec<String>,
}

impl FieldPolicy {
    /// Whether entries show what the field contains.
    pub fn is_recorded_as_it_is(&self) -> bool {
        self.tracked && !self.masked && !self.transformed
    }
}

/// How a resource is treated.
#[derive(Clone, Debug)]
pub struct ResourcePolicy {
    /// Name of the resource in entries.
    pub resource: String,
    /// Table, with its schema if it has one.
    pub table: String,
    /// Functional area.
    pub module: Option<String>,
    /// Compliance frameworks that apply, normalised (`"PCI_DSS"`).
    pub frameworks: Vec<String>,
    /// Classification of the entries.
    pub classification: Classification,
    /// Which operations make entries.
    pub operations: Operations,
    /// Whether entries carry the whole row before and after.
    pub snapshot: bool,
    /// What happens to an operation whose entry can't be written.
    pub on_failure: FailurePolicy,
    /// What happens to a statement that can't be recorded row by row.
    pub unplannable: Unplannable,
    /// Index of the field that names the resource.
    pub name_field: Option<usize>,
    /// The fields, in the order of [`ResourceSpec::fields`].
    pub fields: Vec<FieldPolicy>,
    pub(crate) max_value_bytes: usize,
    pub(crate) sanitizer: Arc<Sanitizer>,
}

impl ResourcePolicy {
    /// Combines what the attributes say (`spec`), what the registration says (`options`) and the configuration.
    ///
    /// `columns` has one item for each of `spec.fields`, in their order; where there is no derive, `spec.fields` is
    /// empty and `columns` alone counts.
    ///
    /// # Errors
    /// [`Error::Registration`] if `options` names a field that isn't there or contradicts itself, or if an option
    /// makes the field that names the resource unreadable, or if a reference that isn't recorded as it is has a label.
    pub fn resolve(
        table: &str,
        columns: &[Column],
        spec: &ResourceSpec,
        options: &EntityOptions,
        config: &Config,
        sanitizer: &Arc<Sanitizer>,
    ) -> Result<Self, Error> {
        let resource =
            options.resource.clone().or(spec.resource.map(str::to_owned)).unwrap_or_else(|| table.to_owned());
        check_names(&resource, columns, options)?;
        let including = !options.include.is_empty()
            || spec.fields.iter().any(|field| field.tracking == Tracking::Include);
        let fields: Vec<FieldPolicy> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let field = spec.fields.get(at).copied().unwrap_or(FieldSpec::new(""));
                field_policy(&resource, column, &field, including, options, config, sanitizer)
            })
            .collect::<Result<_, _>>()?;
        check_aliases(&resource, &fields)?;
        let name_field = match &options.name {
            Some(name) => columns.iter().position(|column| column.name == *name),
            None => spec.fields.iter().position(|field| field.name),
        };
        if let Some(field) = name_field.and_then(|at| fields.get(at))
            && (!field.tracked || field.masked)
        {
            return Err(Error::Registration(format!(
                "`{}` of `{resource}` can't name the resource: it is excluded or masked; choose another field or `include` it with `sensitive = false`",
                field.column
            )));
        }
        let frameworks = if options.frameworks.is_empty() {
            config.frameworks.applying(spec.frameworks)
        } else {
            config.frameworks.applying(&options.frameworks)
        };
        let classification = options.classification.or(spec.classification).unwrap_or_else(|| {
            classify(fields.iter().filter(|field| field.tracked).map(|field| field.classification))
        });
        Ok(Self {
            table: table.to_owned(),
            module: options.module.clone().or(spec.module.map(str::to_owned)),
            frameworks,
            classification,
            operations: {
                let mut operations = options.operations.unwrap_or(spec.operations);
                operations.read |= config.log_reads;
                operations
            },
            snapshot: options.snapshot.unwrap_or(spec.snapshot || config.snapshot),
            on_failure: config
                .resource(&resource, table)
                .and_then(|said| said.on_failure)
                .or(options.on_failure)
                .or(spec.on_failure)
                .unwrap_or(config.on_failure),
            unplannable: config
                .resource(&resource, table)
                .and_then(|said| said.unplannable)
                .unwrap_or(config.unplannable),
            name_field,
            fields,
            max_value_bytes: config.max_value_bytes,
            sanitizer: Arc::clone(sanitizer),
            resource,
        })
    }

    /// What of a field's value is recorded: nothing of a masked one, no secrets inside texts and documents, and no
    /// more than the size cap.
    pub fn guard(&self, field: &FieldPolicy, value: Value) -> Value {
        if field.masked { Value::Masked } else { self.guard_value(value, field.scale) }
    }

    /// What of a value that isn't masked is recorded.
    pub(crate) fn guard_value(&self, value: Value, scale: Option<u32>) -> Value {
        let value = match value {
            Value::Text(text) => match self.sanitizer.sanitize_text(&text) {
                std::borrow::Cow::Borrowed(_) => Value::Text(text),
                std::borrow::Cow::Owned(clean) => Value::Text(clean),
            },
            Value::Json(document) => Value::Json(self.sanitizer.sanitize_json(document)),
            decimal @ Value::Decimal(_) => decimal.with_scale(scale.unwrap_or(0)),
            Value::List(items) => {
                Value::List(items.into_iter().map(|item| self.guard_value(item, scale)).collect())
            }
            other => other,
        };
        if value.size_hint() <= self.max_value_bytes {
            return value;
        }
        Value::oversized(&value.to_json())
    }

    /// The size from which on a value is replaced by its length and digest, in bytes.
    pub fn max_value_bytes(&self) -> usize {
        self.max_value_bytes
    }

    /// The index of the field that entries call by this name: its own, an alias of it, or its column's.
    pub fn field_of_name(&self, name: &str) -> Option<usize> {
        let by = |is: &dyn Fn(&FieldPolicy) -> bool| self.fields.iter().position(is);
        by(&|field| field.name == name)
            .or_else(|| by(&|field| field.aliases.iter().any(|alias| alias == name)))
            .or_else(|| self.field_of_column(name))
    }

    /// The index of the field with this column name.
    pub fn field_of_column(&self, column: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.column == column)
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
    out
}

fn check_names(resource: &str, columns: &[Column], options: &EntityOptions) -> Result<(), Error> {
    let lists = [
        ("include", &options.include),
        ("exclude", &options.exclude),
        ("mask", &options.mask),
        ("silent", &options.silent),
    ];
    let named = lists
        .iter()
        .flat_map(|(list, names)| names.iter().map(move |name| (*list, name)))
        .chain(options.name.iter().map(|name| ("name", name)))
        .chain(options.labels.iter().map(|(name, _)| ("labels", name)))
        .chain(options.aliases.iter().map(|(name, _)| ("aliases", name)));
    for (list, name) in named {
        if !columns.iter().any(|column| column.name == *name) {
            let known: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(Error::Registration(format!(
                "`{list}` of `{resource}` names `{name}`, which isn't a column; the columns are {}",
                known.join(", ")
            )));
        }
    }
    for name in &options.exclude {
        for (list, names) in
            [("include", &options.include), ("mask", &options.mask), ("silent", &options.silent)]
        {
            if names.contains(name) {
                return Err(Error::Registration(format!(
                    "`{name}` of `{resource}` is both in `exclude` and in `{list}`"
                )));
            }
        }
    }
    Ok(())
}

/// An older name must tell which field it was.
fn check_aliases(resource: &str, fields: &[FieldPolicy]) -> Result<(), Error> {
    for (at, field) in fields.iter().enumerate() {
        for alias in &field.aliases {
            let taken = fields.iter().enumerate().find(|(other_at, other)| {
                *other_at != at && (other.name == *alias || other.aliases.contains(alias))
            });
            if let Some((_, other)) = taken {
                return Err(Error::Registration(format!(
                    "the alias `{alias}` of `{}` of `{resource}` is also a name of `{}`; an older name can mean one field only",
                    field.column, other.column
                )));
            }
        }
    }
    Ok(())
}

fn field_policy(
    resource: &str,
    column: &Column,
    field: &FieldSpec,
    including: bool,
    options: &EntityOptions,
    config: &Config,
    sanitizer: &Sanitizer,
) -> Result<FieldPolicy, Error> {
    let named_in = |names: &[String]| names.contains(&column.name);
    let tracking = if named_in(&options.exclude) {
        Tracking::Exclude
    } else if named_in(&options.mask) {
        Tracking::Mask
    } else if named_in(&options.include) {
        Tracking::Include
    } else {
        field.tracking
    };
    let sensitive = field.sensitive.unwrap_or_else(|| sanitizer.is_sensitive_name(&column.name));
    // The configuration may raise or lower a class; a secret is never less than restricted by itself.
    let classification = config
        .classifications
        .get(&format!("{resource}.{}", column.name))
        .or_else(|| config.classifications.get(&column.name))
        .copied()
        .or(field.classification)
        .unwrap_or_else(|| {
            let automatic = classify_field(&column.name, column.kind);
            if sensitive { automatic.max(Classification::Restricted) } else { automatic }
        });
    let said = options.labels.iter().find(|(name, _)| *name == column.name).map(|(_, text)| text.as_str());
    let label = match said.or(field.label) {
        None => None,
        Some(text) => Some(LabelSource::parse(text).ok_or_else(|| {
            Error::Registration(format!(
                "`{text}` is no label of `{}` of `{resource}`; accepted are {}",
                column.name,
                LabelSource::FORMS
            ))
        })?),
    };
    let policy = FieldPolicy {
        name: field.rename.unwrap_or(&column.name).to_owned(),
        column: column.name.clone(),
        scale: column.scale,
        tracked: match tracking {
            Tracking::Exclude => false,
            Tracking::Include | Tracking::Mask => true,
            Tracking::Default => !including,
        },
        excluded: tracking == Tracking::Exclude,
        masked: sensitive || tracking == Tracking::Mask,
        silent: field.silent || named_in(&options.silent),
        key: column.key,
        sensitive,
        classification,
        transformed: field.transformed,
        label,
        aliases: field
            .aliases
            .iter()
            .map(|alias| (*alias).to_owned())
            .chain(
                options
                    .aliases
                    .iter()
                    .filter(|(name, _)| *name == column.name)
                    .map(|(_, alias)| alias.clone()),
            )
            .collect(),
    };
    if policy.label.is_some() && !policy.is_recorded_as_it_is() {
        return Err(Error::Registration(format!(
            "`{}` of `{resource}` can't have a label: what it refers to isn't recorded, because it is excluded, masked, sensitive or transformed; drop `label`, or record the field",
            column.name
        )));
    }
    Ok(policy)
}
