//! What is generated after a mistake: enough that everything which uses the impl still compiles, so that the mistake
//! is reported alone.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::Model;

/// An impl that describes nothing and does nothing.
pub(crate) fn auditable(model: &Model) -> TokenStream {
    let Some(private) = model.container.library.private() else { return TokenStream::new() };
    let ident = &model.ident;
    let (impl_generics, type_generics, where_clause) = model.generics.split_for_impl();
    quote! {
        const _: () = {
            use #private as __audit;

            #[automatically_derived]
            impl #impl_generics __audit::Auditable for #ident #type_generics #where_clause {
                const RESOURCE: &'static __audit::ResourceSpec = &__audit::ResourceSpec::EMPTY;

                fn diff(&self, _new: &Self, _diff: &mut __audit::Diff<'_>) {}

                fn values(&self, _values: &mut __audit::FieldValues<'_>) {}
            }
        };
    }
}
