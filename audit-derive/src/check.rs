//! Finds what contradicts itself, within an attribute and between fields.

use proc_macro2::Ident;

use crate::ctxt::Ctxt;
use crate::model::{Container, Field, FieldOptions, Model};

/// Reports all contradictions.
pub(crate) fn check(model: &Model, ctxt: &mut Ctxt) {
    check_container(&model.container, ctxt);
    for field in &model.fields {
        check_field(&field.said, ctxt);
    }
    check_one_name(&model.fields, ctxt);
    check_name_is_recorded(&model.fields, ctxt);
    check_renames(model, ctxt);
    check_aliases(model, ctxt);
}

fn check_container(said: &Container, ctxt: &mut Ctxt) {
    if said.skip.is_some() {
        for option in
            said.options.iter().filter(|option| !["skip", "reason", "crate"].iter().any(|o| option == o))
        {
            ctxt.error(
                option,
                format!(
                    "`skip` and `{option}` contradict each other: a skipped entity makes no entries; \
                     write `skip, reason = \"..\"` or drop `skip`"
                ),
            );
        }
    } else if let Some(reason) = said.options.iter().find(|option| *option == "reason") {
        ctxt.error(reason, "`reason` says why an entity is skipped; write `skip, reason = \"..\"`");
    }
    if let Some(reads) = &said.reads
        && said.on.iter().flatten().any(|operation| operation == "read")
    {
        ctxt.error(reads, "`reads` and `read` in `on(..)` say the same; keep one of them");
    }
}

const MASKED_LABEL: &str = "the label would tell what the reference must not; keep one of them";

/// Options of a field of which only one can stand, and why.
const CONFLICTS: &[(&str, &str, &str)] = &[
    ("include", "mask", "a masked field is recorded by itself; write `mask` alone, or `include, sensitive`"),
    ("mask", "name", "a masked value can't name the resource; put `name` on another field"),
    (
        "mask",
        "with",
        "the value of a masked field isn't recorded, so there is none to transform; keep one of them",
    ),
    ("mask", "label", MASKED_LABEL),
    ("sensitive", "label", MASKED_LABEL),
    ("with", "label", "what the function makes of a reference refers to no row; keep one of them"),
    (
        "sensitive",
        "name",
        "a secret can't name the resource; put `name` on another field, or write `sensitive = false`",
    ),
];

fn check_field(said: &FieldOptions, ctxt: &mut Ctxt) {
    if said.exclude {
        for option in said.options.iter().filter(|option| *option != "exclude") {
            ctxt.error(
                option,
                format!(
                    "`exclude` and `{option}` contradict each other: nothing of an excluded field is recorded; \
                     keep one of them"
                ),
            );
        }
        return;
    }
    for (first, second, why) in CONFLICTS {
        if *first == "sensitive" && said.sensitive != Some(true) {
            continue;
        }
        let positions = (position(&said.options, first), position(&said.options, second));
        if let (Some(first_at), Some(second_at)) = positions
            && let Some(later) = said.options.get(first_at.max(second_at))
        {
            ctxt.error(later, format!("`{first}` and `{second}` contradict each other: {why}"));
        }
    }
}

fn position(options: &[Ident], name: &str) -> Option<usize> {
    options.iter().position(|option| option == name)
}

fn check_one_name(fields: &[Field], ctxt: &mut Ctxt) {
    let mut named = fields.iter().filter_map(|field| Some((field, field.said.name.as_ref()?)));
    let Some((first, _)) = named.next() else { return };
    for (field, option) in named {
        ctxt.error(
            option,
            format!(
                "both `{}` and `{}` have `name`, but one field names the resource; keep one of them",
                first.ident, field.ident
            ),
        );
    }
}

/// What isn't recorded can't name the resource either.
fn check_name_is_recorded(fields: &[Field], ctxt: &mut Ctxt) {
    let Some(included) = fields.iter().find(|field| field.said.include) else { return };
    for field in fields.iter().filter(|field| !field.said.include && !field.said.exclude && !field.said.mask)
    {
        if let Some(name) = &field.said.name {
            ctxt.error(
                name,
                format!(
                    "`{}` names the resource, but isn't recorded, because `{}` has `include`; \
                     write `include, name`",
                    field.ident, included.ident
                ),
            );
        }
    }
}

/// Two fields with one name would be one member of the record.
fn check_renames(model: &Model, ctxt: &mut Ctxt) {
    let recorded: Vec<_> = model.fields.iter().filter(|field| !field.said.exclude).collect();
    for (at, field) in recorded.iter().enumerate() {
        let Some(rename) = &field.said.rename else { continue };
        let name = rename.value();
        let taken = recorded.iter().enumerate().find(|(other_at, other)| match &other.said.rename {
            // Of two renames the second is told.
            Some(other_name) => *other_at < at && other_name.value() == name,
            None => !model.container.renames_columns && other.column == name,
        });
        if let Some((_, other)) = taken {
            ctxt.error(
                rename,
                format!("`{name}` is already the name of `{}` in entries; choose another one", other.ident),
            );
        }
    }
}

/// An older name must tell which field it was.
fn check_aliases(model: &Model, ctxt: &mut Ctxt) {
    let name_of = |field: &Field| match &field.said.rename {
        Some(rename) => Some(rename.value()),
        None => (!model.container.renames_columns).then(|| field.column.clone()),
    };
    let mut known: Vec<(&Field, String)> = Vec::new();
    for field in model.fields.iter().filter(|field| !field.said.exclude) {
        for alias in &field.said.aliases {
            let name = alias.value();
            if name_of(field).as_ref() == Some(&name) {
                ctxt.error(
                    alias,
                    format!("`{name}` is what `{}` is called in entries anyway; drop it", field.ident),
                );
            } else if let Some(other) = model.fields.iter().find(|other| {
                other.ident != field.ident && !other.said.exclude && name_of(other).as_ref() == Some(&name)
            }) {
                ctxt.error(
                    alias,
                    format!(
                        "alias `{name}` is already {}; an older name can mean one field only, so drop the alias",
                        if other.ident == name { "a field".to_owned() } else { format!("what `{}` is called in entries", other.ident) }
                    ),
                );
            } else if let Some((other, _)) = known.iter().find(|(_, known)| *known == name) {
                let why = if other.ident == field.ident {
                    "is given twice; keep one of them".to_owned()
                } else {
                    format!("is an alias of `{}` already; an older name can mean one field only", other.ident)
                };
                ctxt.error(alias, format!("`{name}` {why}"));
            } else {
                known.push((field, name));
            }
        }
    }
}
