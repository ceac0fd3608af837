//! `#[audited]`: puts the library's hooks around the user's.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Attribute, ImplItem, Item, ItemImpl, Meta, Path};

use crate::ctxt::Ctxt;
use crate::model::Library;
use crate::{parse, words};

const FORM: &str = "`#[audited]` stands on `impl ActiveModelBehavior for ActiveModel { .. }`";

/// The hooks of `ActiveModelBehavior`; its other methods stay where they are.
const HOOKS: &[&str] = &["before_save", "after_save", "before_delete", "after_delete"];

/// parse -> check -> expand, or leave the item as it is.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut ctxt = Ctxt::default();
    let library = read_arguments(arguments, &mut ctxt);
    let behavior = read_item(item.clone(), &mut ctxt);
    let (Some(behavior), Some(private)) = (behavior, library.private()) else {
        let mut tokens = ctxt.finish();
        tokens.extend(item);
        return tokens;
    };
    let mut tokens = ctxt.finish();
    tokens.extend(hooked(behavior, &private));
    tokens
}

fn read_arguments(arguments: TokenStream, ctxt: &mut Ctxt) -> Library {
    const OPTIONS: &[&str] = &["crate"];
    let unknown = |name: &str| words::unknown("option", name, OPTIONS);
    let mut library = Library::Default;
    parse::options(arguments, OPTIONS, unknown, &mut Vec::new(), ctxt, |key, new, input, _| {
        if new {
            library = Library::Unknown;
        }
        let path = parse::crate_path(key, input)?;
        if new {
            library = Library::At(path);
        }
        Ok(())
    });
    library
}

/// The impl, with what is needed of its head.
struct Behavior {
    item: ItemImpl,
    trait_path: Path,
}

fn read_item(item: TokenStream, ctxt: &mut Ctxt) -> Option<Behavior> {
    let item = match syn::parse2(item) {
        Ok(Item::Impl(item)) => item,
        Ok(other) => {
            ctxt.error(first_words(other), FORM);
            return None;
        }
        Err(error) => {
            ctxt.push(error);
            return None;
        }
    };
    let Some((trait_path, _)) = &item.trait_ else {
        ctxt.error(&item.self_ty, format!("{FORM}, not on the type's own methods"));
        return None;
    };
    if trait_path.segments.last().is_none_or(|last| last.ident != "ActiveModelBehavior") {
        ctxt.error(trait_path, FORM);
        return None;
    }
    if !item.generics.params.is_empty() {
        ctxt.error(&item.generics, format!("{FORM}, without generic parameters"));
        return None;
    }
    if let Some(again) = item.attrs.iter().find(|attr| is_named(attr, "audited")) {
        ctxt.error(again, "`#[audited]` is given twice; keep one of them");
        return None;
    }
    let trait_path = trait_path.clone();
    Some(Behavior { item, trait_path })
}

/// An item without its attributes and body, to point at.
fn first_words(item: Item) -> TokenStream {
    let name = match item {
        Item::Struct(item) => item.ident,
        Item::Enum(item) => item.ident,
        Item::Union(item) => item.ident,
        Item::Trait(item) => item.ident,
        Item::Mod(item) => item.ident,
        Item::Fn(item) => item.sig.ident,
        other => return quote!(#other),
    };
    quote!(#name)
}

fn hooked(behavior: Behavior, private: &TokenStream) -> TokenStream {
    let Behavior { item, trait_path } = behavior;
    let ItemImpl { attrs, unsafety, self_ty, items, .. } = item;
    let attributes = Attributes::of(attrs, private);
    let (hooks, others): (Vec<_>, Vec<_>) = items.into_iter().partition(is_hook);
    // Hooks that `#[async_trait]` has already rewritten are no longer `async`.
    let rewrite = hooks.iter().any(|hook| matches!(hook, ImplItem::Fn(hook) if hook.sig.asyncness.is_some()));
    let Attributes { plain, conditions, async_trait } = attributes;
    let on_user_hooks = rewrite.then_some(&async_trait);
    let result = |ok: TokenStream| quote!(::core::result::Result<#ok, #private::sea_orm::DbErr>);
    let (this, model) =
        (result(quote!(Self)), result(quote!(<Self::Entity as #private::sea_orm::EntityTrait>::Model)));
    let update_result = result(quote!(#private::sea_orm::UpdateResult));
    quote! {
        #(#plain)*
        #on_user_hooks
        impl #private::UserHooks for #self_ty {
            #(#hooks)*
        }

        // Before a write, what the user's code makes of the row counts; after it, what the database holds is recorded
        // before the user's code can fail.
        #(#plain)*
        #async_trait
        #unsafety impl #trait_path for #self_ty {
            #(#others)*

            async fn before_save<C>(self, db: &C, insert: bool) -> #this
            where
                C: #private::sea_orm::ConnectionTrait,
            {
                let this = <Self as #private::UserHooks>::before_save(self, db, insert).await?;
                #private::hooks::before_save(this, db, insert).await
            }

            async fn after_save<C>(
                model: <Self::Entity as #private::sea_orm::EntityTrait>::Model,
                db: &C,
                insert: bool,
            ) -> #model
            where
                C: #private::sea_orm::ConnectionTrait,
            {
                let model = #private::hooks::after_save::<Self, C>(model, db, insert).await?;
                <Self as #private::UserHooks>::after_save(model, db, insert).await
            }

            async fn before_delete<C>(self, db: &C) -> #this
            where
                C: #private::sea_orm::ConnectionTrait,
            {
                let this = <Self as #private::UserHooks>::before_delete(self, db).await?;
                #private::hooks::before_delete(this, db).await
            }

            async fn after_delete<C>(self, db: &C) -> #this
            where
                C: #private::sea_orm::ConnectionTrait,
            {
                let this = #private::hooks::after_delete(self, db).await?;
                <Self as #private::UserHooks>::after_delete(this, db).await
            }
        }

        #(#conditions)*
        impl #self_ty {
            /// Updates the row without reading it back, and records the change.
            ///
            /// It stands before SeaORM's method of this name, which runs no `after_save`, so that the change would not
            /// be recorded. Like that one it doesn't run an `after_save` of your own.
            ///
            /// # Errors
            /// As `ActiveModelTrait::update_without_returning`, and if the change can't be recorded.
            #[allow(dead_code)]
            pub async fn update_without_returning<C>(self, db: &C) -> #update_result
            where
                C: #private::sea_orm::ConnectionTrait,
            {
                #private::hooks::update_without_returning(self, db).await
            }
        }

        #(#conditions)*
        const _: () = {
            use #private as __audit;

            __audit::inventory::submit! {
                __audit::Declaration::new(::core::module_path!(), || __audit::Declared::hooked::<#self_ty>())
            }
        };
    }
}

fn is_hook(item: &ImplItem) -> bool {
    matches!(item, ImplItem::Fn(method) if HOOKS.iter().any(|hook| method.sig.ident == hook))
}

/// The attributes of the user's impl, by where they go.
struct Attributes {
    /// Documentation, lints and other plain ones: they hold for the user's hooks and for the rest of the impl.
    plain: Vec<Attribute>,
    /// `#[cfg(..)]`: it holds for everything.
    conditions: Vec<Attribute>,
    /// The user's own `#[async_trait]`, so that its import stays in use; or the library's.
    async_trait: TokenStream,
}

impl Attributes {
    fn of(attrs: Vec<Attribute>, private: &TokenStream) -> Self {
        let (async_traits, plain): (Vec<_>, Vec<_>) =
            attrs.into_iter().partition(|attr| is_named(attr, "async_trait"));
        let async_trait = async_traits
            .first()
            .map_or_else(|| quote!(#[#private::async_trait::async_trait]), |own| quote!(#own));
        let plain: Vec<_> = plain.into_iter().map(expect_to_allow).collect();
        let conditions = plain.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect();
        Self { plain, conditions, async_trait }
    }
}

/// An expectation about the user's impl is met in one of the two halves, and would be reported for the other one.
fn expect_to_allow(mut attr: Attribute) -> Attribute {
    if attr.path().is_ident("expect")
        && let Meta::List(list) = &mut attr.meta
        && let Some(segment) = list.path.segments.first_mut()
    {
        segment.ident = Ident::new("allow", segment.ident.span());
    }
    attr
}

fn is_named(attr: &Attribute, name: &str) -> bool {
    attr.path().segments.last().is_some_and(|last| last.ident == name)
}
