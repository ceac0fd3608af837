//! Parses the attributes of a struct and its fields.

use heck::{ToSnakeCase, ToUpperCamelCase};
use proc_macro2::{Ident, Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, LitStr, Meta, Token, Type, token};

use crate::ctxt::Ctxt;
use crate::model::{Classification, Container, FailurePolicy, Field, FieldOptions, Library};
use crate::{parse, words};

/// Options of the struct.
const CONTAINER: &[&str] = &[
    "resource",
    "module",
    "frameworks",
    "classification",
    "on",
    "reads",
    "snapshot",
    "on_failure",
    "skip",
    "reason",
    "crate",
];

/// Options of a field.
const FIELD: &[&str] = &[
    "exclude",
    "include",
    "mask",
    "silent",
    "name",
    "label",
    "rename",
    "alias",
    "sensitive",
    "classification",
    "with",
];

/// Words of `on(..)`.
const OPERATIONS: &[&str] = &["create", "update", "delete", "read"];

/// Reads the attributes of the struct.
pub(crate) fn container(attrs: &[Attribute], ctxt: &mut Ctxt) -> Container {
    let mut said = Container { renames_columns: renames_columns(attrs), ..Container::default() };
    let mut seen = Vec::new();
    let unknown = |name: &str| match name {
        _ if FIELD.contains(&name) => format!(
            "`{name}` is an option of a field, not of the struct; the struct's options are {}",
            words::list(CONTAINER)
        ),
        _ => words::unknown("option", name, CONTAINER),
    };
    for tokens in audit_lists(attrs, "resource = \"BankAccount\"", ctxt) {
        parse::options(tokens, CONTAINER, unknown, &mut seen, ctxt, |key, new, input, ctxt| {
            let mut duplicate = Container::default();
            container_option(if new { &mut said } else { &mut duplicate }, key, input, ctxt)
        });
    }
    said.options = seen;
    said
}

fn container_option(
    said: &mut Container,
    key: &Ident,
    input: ParseStream<'_>,
    ctxt: &mut Ctxt,
) -> syn::Result<()> {
    match key.to_string().as_str() {
        "resource" => said.resource = Some(parse::text(key, input)?),
        "module" => said.module = Some(parse::text(key, input)?),
        "frameworks" => said.frameworks = parse::texts(key, input, ctxt)?,
        "classification" => said.classification = Some(parse::word(key, input, Classification::WORDS)?),
        "on" => said.on = Some(parse::chosen(key, input, "operation", OPERATIONS, ctxt)?),
        "reads" => {
            said.reads = Some(key.clone());
            parse::flag(key, input)?;
        }
        "snapshot" => {
            said.snapshot = true;
            parse::flag(key, input)?;
        }
        "on_failure" => said.on_failure = Some(parse::word(key, input, FailurePolicy::WORDS)?),
        "skip" => {
            said.skip = Some(key.clone());
            parse::flag(key, input)?;
        }
        "reason" => said.reason = Some(parse::text(key, input)?),
        _ => {
            said.library = Library::Unknown;
            said.library = Library::At(parse::crate_path(key, input)?);
        }
    }
    Ok(())
}

/// Reads a field with its attributes. `None`: the field isn't a column.
pub(crate) fn field(field: &syn::Field, ctxt: &mut Ctxt) -> Option<Field> {
    let ident = field.ident.clone()?;
    // SeaORM's `#[sea_orm::model]` copies the attributes of relations, too; there they mean nothing.
    if is_relation(&field.ty) {
        return None;
    }
    let column = column(&field.attrs);
    if column.ignore {
        for attr in field.attrs.iter().filter(|attr| attr.path().is_ident("audit")) {
            let why =
                "isn't a column (`#[sea_orm(ignore)]`), so there is nothing to record; drop `#[audit(..)]`";
            ctxt.error(attr, format!("`{ident}` {why}"));
        }
        return None;
    }
    let name = ident.unraw().to_string();
    let variant = escape_keyword(column.variant.unwrap_or_else(|| name.to_upper_camel_case()));
    Some(Field {
        // Where that is no identifier, SeaORM's own derive has failed as well.
        variant: syn::parse_str::<Ident>(&variant)
            .map_or_else(|_| ident.clone(), |found| located(&found, &ident)),
        // A name that isn't snake case becomes so: this, too, is SeaORM's rule.
        column: column.name.unwrap_or_else(|| name.to_snake_case()),
        ty: field.ty.clone(),
        said: field_options(&field.attrs, ctxt),
        ident,
    })
}

/// `ident` with the place of `field`, and with the names that the macro sees: the column enum is generated as well.
fn located(ident: &Ident, field: &Ident) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(Span::call_site().located_at(field.span()));
    ident
}

fn field_options(attrs: &[Attribute], ctxt: &mut Ctxt) -> FieldOptions {
    let mut said = FieldOptions::default();
    let mut seen = Vec::new();
    let unknown = |name: &str| match name {
        // Not so `skip`, by which people mean `exclude`.
        _ if CONTAINER.contains(&name) && name != "skip" => format!(
            "`{name}` is an option of the struct, not of a field; a field's options are {}",
            words::list(FIELD)
        ),
        _ => words::unknown("option", name, FIELD),
    };
    for tokens in audit_lists(attrs, "exclude", ctxt) {
        parse::options(tokens, FIELD, unknown, &mut seen, ctxt, |key, new, input, ctxt| {
            let mut duplicate = FieldOptions::default();
            // A field may have had several names: they can stand in one list or each by itself.
            let counts = new || key == "alias";
            field_option(if counts { &mut said } else { &mut duplicate }, key, input, ctxt)
        });
    }
    said.options = seen;
    said
}

fn field_option(
    said: &mut FieldOptions,
    key: &Ident,
    input: ParseStream<'_>,
    ctxt: &mut Ctxt,
) -> syn::Result<()> {
    let is_flag = match key.to_string().as_str() {
        "exclude" => Some(&mut said.exclude),
        "include" => Some(&mut said.include),
        "mask" => Some(&mut said.mask),
        "silent" => Some(&mut said.silent),
        _ => None,
    };
    if let Some(flag) = is_flag {
        *flag = true;
        return parse::flag(key, input);
    }
    match key.to_string().as_str() {
        "name" => {
            said.name = Some(key.clone());
            parse::flag(key, input)?;
        }
        "label" => said.label = Some(parse::label(key, input)?),
        "rename" => said.rename = Some(parse::text(key, input)?),
        "alias" => said.aliases.extend(parse::text_or_texts(key, input, ctxt)?),
        "sensitive" => said.sensitive = Some(parse::truth(key, input)?),
        "classification" => said.classification = Some(parse::word(key, input, Classification::WORDS)?),
        _ => {
            let form = "`with` takes the path of a function; write `with = my_module::my_function`";
            said.with = Some(parse::value(key, input, form)?);
        }
    }
    Ok(())
}

/// What stands in the parentheses of each `#[audit(..)]`.
fn audit_lists(attrs: &[Attribute], example: &str, ctxt: &mut Ctxt) -> Vec<TokenStream> {
    let mut lists = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("audit")) {
        match &attr.meta {
            Meta::List(list) if !list.tokens.is_empty() => lists.push(list.tokens.clone()),
            _ => ctxt.error(attr, format!("options are missing; write `#[audit({example})]`")),
        }
    }
    lists
}

/// What `#[sea_orm(..)]` says about a column, as far as it matters here.
#[derive(Default)]
struct Column {
    ignore: bool,
    name: Option<String>,
    /// `enum_name`.
    variant: Option<String>,
}

fn column(attrs: &[Attribute]) -> Column {
    let mut said = Column::default();
    each_sea_orm_option(attrs, |name, text| match name {
        "ignore" => said.ignore = true,
        "column_name" => said.name = text,
        "enum_name" => said.variant = text,
        _ => {}
    });
    said
}

fn renames_columns(attrs: &[Attribute]) -> bool {
    let mut found = false;
    each_sea_orm_option(attrs, |name, _| found |= name == "rename_all");
    found
}

/// Calls `read` with the name of each option in `#[sea_orm(..)]`, and its text if it has one. Mistakes are left to
/// SeaORM's own derive.
fn each_sea_orm_option(attrs: &[Attribute], mut read: impl FnMut(&str, Option<String>)) {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("sea_orm")) {
        _ = attr.parse_nested_meta(|meta| {
            let mut text = None;
            if meta.input.peek(Token![=]) {
                let value = meta.value()?;
                if value.peek(LitStr) {
                    text = Some(value.parse::<LitStr>()?.value());
                } else {
                    value.parse::<syn::Expr>()?;
                }
            } else if meta.input.peek(token::Paren) {
                let content;
                syn::parenthesized!(content in meta.input);
                content.parse::<TokenStream>()?;
            }
            if let Some(name) = meta.path.get_ident() {
                read(&name.to_string(), text);
            }
            Ok(())
        });
    }
}

/// Whether SeaORM takes a field of this type for a relation. It looks at the last name, too.
fn is_relation(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path
        .segments
        .last()
        .is_some_and(|last| ["HasOne", "HasMany", "BelongsTo"].iter().any(|relation| last.ident == relation))
}

/// As SeaORM escapes the variants of its column enum. In upper camel case no other keyword can come up, except by
/// `enum_name`.
fn escape_keyword(name: String) -> String {
    match name.as_str() {
        "Self" | "self" | "crate" => format!("{name}_"),
        _ if syn::parse_str::<Ident>(&name).is_err() => format!("r#{name}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;
    use syn::DeriveInput;
    use syn::parse::Parser;

    use super::*;

    fn read(field: TokenStream) -> (Option<Field>, usize) {
        let mut ctxt = Ctxt::default();
        let field = syn::Field::parse_named.parse2(field).unwrap();
        let read = super::field(&field, &mut ctxt);
        (read, ctxt.len())
    }

    #[test]
    fn variants_are_named_as_seaorm_names_them() {
        for (field, variant, column) in [
            (quote!(id: i32), "Id", "id"),
            (quote!(bank_name: String), "BankName", "bank_name"),
            (quote!(r#type: String), "Type", "type"),
            (quote!(self_: String), "Self_", "self"),
            (quote!(address2: String), "Address2", "address2"),
            (quote!(camelCase: String), "CamelCase", "camel_case"),
            (quote!(#[sea_orm(enum_name = "Kind")] r#type: String), "Kind", "type"),
            (quote!(#[sea_orm(primary_key, column_name = "ID", enum_name = "Key")] id: i32), "Key", "ID"),
            (
                quote!(#[sea_orm(column_type = "Text", nullable)] #[sea_orm(enum_name = "T")] t: String),
                "T",
                "t",
            ),
        ] {
            let (read, errors) = read(field);
            let read = read.unwrap();
            assert_eq!(
                (read.variant.to_string().as_str(), read.column.as_str(), errors),
                (variant, column, 0)
            );
        }
    }

    #[test]
    fn fields_that_are_no_columns_are_left_out() {
        assert!(read(quote!(#[sea_orm(ignore)] cache: String)).0.is_none());
        assert!(
            read(quote!(#[sea_orm(has_many)] #[audit(exclude)] fruits: HasMany<super::fruit::Entity>))
                .0
                .is_none()
        );
        assert!(read(quote!(owner: sea_orm::prelude::BelongsTo<Option<super::user::Entity>>)).0.is_none());
        let (ignored, errors) = read(quote!(#[sea_orm(ignore)] #[audit(mask)] cache: String));
        assert_eq!((ignored.is_none(), errors), (true, 1));
    }

    #[test]
    fn a_mistake_does_not_hide_the_next() {
        for (field, expected) in [
            (quote!(#[audit(mask)] a: i32), 0),
            (quote!(#[audit(mask,)] a: i32), 0),
            (quote!(#[audit(mask = true, silence, rename = 5, with = "f")] a: i32), 4),
            (quote!(#[audit(mask, mask)] #[audit(mask(1, 2))] a: i32), 3),
            (quote!(#[audit] #[audit()] #[audit = "x"] a: i32), 3),
            (quote!(#[audit(mask silent)] a: i32), 1),
            (quote!(#[audit("mask", sensitive = maybe, rename, classification = "hidden")] a: i32), 4),
        ] {
            let text = field.to_string();
            assert_eq!(read(field).1, expected, "{text}");
        }
    }

    #[test]
    fn container_options_are_read() {
        let input: DeriveInput = syn::parse_quote! {
            #[audit(resource = "BankAccount", frameworks("SOX", "PCI_DSS"), crate = "my::audit")]
            #[audit(classification = "Top_Secret", on(create, read), snapshot, on_failure = "best_effort")]
            struct Model { id: i32 }
        };
        let mut ctxt = Ctxt::default();
        let said = container(&input.attrs, &mut ctxt);
        assert_eq!(ctxt.len(), 0);
        assert_eq!(said.resource.unwrap().value(), "BankAccount");
        assert_eq!(said.frameworks.iter().map(LitStr::value).collect::<Vec<_>>(), ["SOX", "PCI_DSS"]);
        assert_eq!(said.classification, Some(Classification::TopSecret));
        assert_eq!(said.on.unwrap(), ["create", "read"]);
        assert_eq!(said.on_failure, Some(FailurePolicy::BestEffort));
        assert!(said.snapshot && said.reads.is_none());
        assert_eq!(said.library.private().unwrap().to_string(), "my :: audit :: __private");
    }

    #[test]
    fn lists_report_every_mistake() {
        for (attr, expected) in [
            (quote!(#[audit(on(create, updat, create, 5))]), 3),
            (quote!(#[audit(on)]), 1),
            (quote!(#[audit(on())]), 1),
            (quote!(#[audit(frameworks("SOX", "sox", "", GDPR))]), 3),
            (quote!(#[audit(classification = "secrt", crate = 5, reads = true)]), 3),
        ] {
            let input: DeriveInput = syn::parse_quote!(#attr struct Model { id: i32 });
            let mut ctxt = Ctxt::default();
            container(&input.attrs, &mut ctxt);
            assert_eq!(ctxt.len(), expected, "{attr}");
        }
    }
}
