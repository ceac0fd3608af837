//! Collects mistakes, so that all of them are reported at once, each at its token.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::ToTokens;

/// The mistakes found so far. Every pipeline ends with [`finish`](Self::finish), or they would be lost.
#[derive(Default)]
#[must_use]
pub(crate) struct Ctxt {
    errors: Vec<syn::Error>,
}

impl Ctxt {
    /// Reports a mistake at `tokens`.
    pub(crate) fn error(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.errors.push(syn::Error::new_spanned(tokens, message));
    }

    /// Reports a mistake that the parser found.
    pub(crate) fn push(&mut self, error: syn::Error) {
        self.errors.push(error);
    }

    /// Number of mistakes so far.
    pub(crate) fn len(&self) -> usize {
        self.errors.len()
    }

    /// All mistakes as `compile_error!`s; empty if there are none.
    pub(crate) fn finish(self) -> TokenStream {
        self.errors.iter().map(syn::Error::to_compile_error).collect()
    }
}
