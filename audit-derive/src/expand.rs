//! Writes what `#[derive(Auditable)]` comes to.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields};

use crate::ctxt::Ctxt;
use crate::model::{Classification, Container, FailurePolicy, Field, Model};
use crate::{attr, check, fallback};

/// parse -> model -> check -> expand or fall back.
pub(crate) fn derive(input: DeriveInput) -> TokenStream {
    // The second struct that `#[sea_orm::model]` makes of a model, with the derives and attributes of the first.
    if input.ident == "ModelEx" {
        return TokenStream::new();
    }
    let mut ctxt = Ctxt::default();
    let model = read(input, &mut ctxt);
    check::check(&model, &mut ctxt);
    if ctxt.len() > 0 {
        let mut tokens = ctxt.finish();
        tokens.extend(fallback::auditable(&model));
        return tokens;
    }
    model.container.library.private().map(|private| auditable(&model, &private)).unwrap_or_default()
}

fn read(input: DeriveInput, ctxt: &mut Ctxt) -> Model {
    const FORM: &str = "`Auditable` is derived for the models of SeaORM entities: `pub struct Model { .. }` with named fields";
    let container = attr::container(&input.attrs, ctxt);
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => {
                fields.named.iter().filter_map(|field| attr::field(field, ctxt)).collect()
            }
            Fields::Unnamed(_) | Fields::Unit => {
                ctxt.error(&input.ident, FORM);
                Vec::new()
            }
        },
        Data::Enum(data) => {
            ctxt.error(data.enum_token, format!("{FORM}; an enum is a field's type, which needs no derive"));
            Vec::new()
        }
        Data::Union(data) => {
            ctxt.error(data.union_token, FORM);
            Vec::new()
        }
    };
    if !input.generics.params.is_empty() {
        ctxt.error(
            &input.generics,
            format!("{FORM}, and without generic parameters, as SeaORM's own derive has it"),
        );
    }
    Model { ident: input.ident, generics: input.generics, container, fields }
}

fn auditable(model: &Model, private: &TokenStream) -> TokenStream {
    let ident = &model.ident;
    let spec = resource_spec(model);
    let differences = model.fields.iter().enumerate().map(|(index, field)| field_difference(index, field));
    let values = model.fields.iter().enumerate().map(|(index, field)| field_value(index, field));
    let transforms =
        model.fields.iter().enumerate().filter_map(|(index, field)| transform(index, field, model));
    let columns = model.fields.iter().map(|field| &field.variant);
    let relations = relations(model);
    let column_type = quote_spanned! {at(ident)=>
        <<#ident as __audit::sea_orm::ModelTrait>::Entity as __audit::sea_orm::EntityTrait>::Column
    };
    quote! {
        const _: () = {
            use #private as __audit;

            #[automatically_derived]
            #[allow(deprecated)]
            impl __audit::Auditable for #ident {
                const RESOURCE: &'static __audit::ResourceSpec = &#spec;

                fn diff(&self, new: &Self, diff: &mut __audit::Diff<'_>) {
                    #[allow(unused_imports)]
                    use __audit::field::*;
                    #(#differences)*
                }

                fn values(&self, values: &mut __audit::FieldValues<'_>) {
                    #[allow(unused_imports)]
                    use __audit::field::*;
                    #(#values)*
                }
            }

            #(#transforms)*

            #relations

            type __Column = #column_type;

            __audit::inventory::submit! {
                __audit::Declaration::new(
                    ::core::module_path!(),
                    || __audit::Declared::derived::<#ident>(&[#(__Column::#columns),*]),
                )
            }
        };
    }
}

fn resource_spec(model: &Model) -> TokenStream {
    let said = &model.container;
    let resource = option(said.resource.as_ref());
    let module = option(said.module.as_ref());
    let frameworks = &said.frameworks;
    let classification = option(said.classification);
    let operations = operations(said);
    let snapshot = said.snapshot;
    let on_failure = option(said.on_failure);
    let skip = match (&said.skip, &said.reason) {
        (None, _) => option(None::<TokenStream>),
        (Some(_), Some(reason)) => option(Some(reason)),
        (Some(_), None) => option(Some("")),
    };
    let fields = model.fields.iter().map(field_spec);
    quote! {
        __audit::ResourceSpec {
            resource: #resource,
            module: #module,
            frameworks: &[#(#frameworks),*],
            classification: #classification,
            operations: #operations,
            snapshot: #snapshot,
            on_failure: #on_failure,
            skip: #skip,
            fields: &[#(#fields),*],
        }
    }
}

fn operations(said: &Container) -> TokenStream {
    let makes_entry = |operation: &str| match &said.on {
        Some(listed) => listed.iter().any(|listed| listed == operation),
        None => operation != "read",
    };
    let (create, update, delete) = (makes_entry("create"), makes_entry("update"), makes_entry("delete"));
    let read = makes_entry("read") || said.reads.is_some();
    quote!(__audit::Operations { create: #create, update: #update, delete: #delete, read: #read })
}

fn field_spec(field: &Field) -> TokenStream {
    let said = &field.said;
    let ident = field.ident.unraw().to_string();
    let rename = option(said.rename.as_ref());
    let tracking = if said.exclude {
        quote!(Exclude)
    } else if said.mask {
        quote!(Mask)
    } else if said.include {
        quote!(Include)
    } else {
        quote!(Default)
    };
    let silent = said.silent;
    let name = said.name.is_some();
    let sensitive = option(said.sensitive);
    let classification = option(said.classification);
    let transformed = said.with.is_some();
    let label = option(said.label.as_ref().map(|label| &label.text));
    let aliases = &said.aliases;
    quote! {
        __audit::FieldSpec {
            ident: #ident,
            rename: #rename,
            tracking: __audit::Tracking::#tracking,
            silent: #silent,
            name: #name,
            sensitive: #sensitive,
            classification: #classification,
            transformed: #transformed,
            label: #label,
            aliases: &[#(#aliases),*],
        }
    }
}

/// The line of a field in `diff`. An excluded one has none, so that its values can't even be compared.
fn field_difference(index: usize, field: &Field) -> TokenStream {
    if field.said.exclude {
        return TokenStream::new();
    }
    let ident = &field.ident;
    let values = match &field.said.with {
        Some(_) => {
            let transform = transform_name(index);
            quote!((#transform(self), #transform(new)))
        }
        None => {
            quote_spanned! {at(&field.ty)=> ((&&One(&self.#ident)).render(), (&&One(&new.#ident)).render())}
        }
    };
    quote_spanned! {at(&field.ty)=>
        diff.field(#index, || (&&&Pair(&self.#ident, &new.#ident)).same(), || #values);
    }
}

/// The line of a field in `values`. Excluded ones have theirs as well: the key of a row may be excluded from its
/// entries, but not from its identity; the visitor knows.
fn field_value(index: usize, field: &Field) -> TokenStream {
    let ident = &field.ident;
    let value = match &field.said.with {
        Some(_) => {
            let transform = transform_name(index);
            quote!(#transform(self))
        }
        None => quote_spanned!(at(&field.ty)=> (&&One(&self.#ident)).render()),
    };
    quote_spanned!(at(&field.ty)=> values.field(#index, || #value);)
}

/// The function that calls `with = ..`. It stands apart so that the names which `field::*` brings into scope can't
/// be taken for the user's.
fn transform(index: usize, field: &Field, model: &Model) -> Option<TokenStream> {
    let path = field.said.with.as_ref()?;
    let name = transform_name(index);
    let (ident, model) = (&field.ident, &model.ident);
    Some(quote_spanned! {at(path)=>
        #[allow(deprecated)]
        fn #name(model: &#model) -> __audit::Value {
            ::core::convert::Into::into(#path(&model.#ident))
        }
    })
}

/// Names the relations that labels name, so that one that isn't there is the compiler's to report.
fn relations(model: &Model) -> Option<TokenStream> {
    let named: Vec<_> =
        model.fields.iter().filter_map(|field| field.said.label.as_ref()?.relation.as_ref()).collect();
    let ident = &model.ident;
    let relation = quote_spanned! {at(ident)=>
        <<#ident as __audit::sea_orm::ModelTrait>::Entity as __audit::sea_orm::EntityTrait>::Relation
    };
    (!named.is_empty()).then(|| {
        quote! {
            type __Relation = #relation;
            const _: &[fn() -> __Relation] = &[#(|| __Relation::#named),*];
        }
    })
}

fn transform_name(index: usize) -> syn::Ident {
    format_ident!("__transform_{index}")
}

/// The place of `tokens`, with the names of the macro: what is generated there is found in the user's code by
/// messages, and only by them.
fn at(tokens: &impl Spanned) -> Span {
    Span::call_site().located_at(tokens.span())
}

fn option(value: Option<impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

impl ToTokens for Classification {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let variant = format_ident!("{}", format!("{self:?}"));
        tokens.extend(quote!(__audit::Classification::#variant));
    }
}

impl ToTokens for FailurePolicy {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let variant = format_ident!("{}", format!("{self:?}"));
        tokens.extend(quote!(__audit::FailurePolicy::#variant));
    }
}
