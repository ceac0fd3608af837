//! `#[audit_action]`: records what an async function did.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Attribute, Block, Expr, ExprAsync, FnArg, GenericArgument, Pat, PathArguments, ReturnType, Signature,
    Stmt, Token, Type, TypeParamBound, Visibility, token,
};

use crate::ctxt::Ctxt;
use crate::model::Library;
use crate::{parse, words};

const OPTIONS: &[&str] =
    &["entity_type", "action", "entity_id", "entity_name", "module", "severity", "db", "crate"];

/// Words of `severity`, and the variants they stand for.
const SEVERITIES: &[(&str, &str)] =
    &[("low", "Low"), ("medium", "Medium"), ("high", "High"), ("critical", "Critical")];

/// Arguments that are taken for the connection if they are references and `db = ..` isn't given.
const CONNECTIONS: &[&str] = &["db", "conn", "txn"];

/// parse -> check -> expand, or leave the item as it is.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut ctxt = Ctxt::default();
    let arguments = read_arguments(arguments, &mut ctxt);
    let function = match syn::parse2::<Function>(item.clone()) {
        Ok(function) => Some(function),
        Err(error) => {
            ctxt.push(error);
            None
        }
    };
    let body = function.as_ref().and_then(|function| Body::of(function, &mut ctxt));
    if ctxt.len() == 0
        && let (Some(function), Some(body), Some(private)) = (function, body, arguments.library.private())
    {
        return recorded(&arguments, &function, &body, &private);
    }
    let mut tokens = ctxt.finish();
    tokens.extend(item);
    tokens
}

/// `#[audit_action(..)]`.
#[derive(Default)]
struct Arguments {
    entity_type: Option<Expr>,
    action: Option<Expr>,
    entity_id: Option<Expr>,
    entity_name: Option<Expr>,
    module: Option<Expr>,
    severity: Option<&'static str>,
    db: Option<Expr>,
    library: Library,
}

fn read_arguments(tokens: TokenStream, ctxt: &mut Ctxt) -> Arguments {
    let mut read = Arguments::default();
    let mut seen = Vec::new();
    let unknown = |name: &str| words::unknown("option", name, OPTIONS);
    parse::options(tokens, OPTIONS, unknown, &mut seen, ctxt, |key, new, input, _| {
        let mut duplicate = Arguments::default();
        read_argument(if new { &mut read } else { &mut duplicate }, key, input)
    });
    for required in ["entity_type", "action"] {
        if !seen.iter().any(|seen| seen == required) {
            ctxt.push(syn::Error::new(
                Span::call_site(),
                format!(
                    "`{required}` is missing; write `#[audit_action(entity_type = \"alert\", action = \"escalate\")]`"
                ),
            ));
        }
    }
    read
}

fn read_argument(read: &mut Arguments, key: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    let expression = || {
        let form = format!(
            "`{key}` takes an expression, in which the function's arguments can be used; write `{key} = ..`"
        );
        parse::value(key, input, &form).map(Some)
    };
    match key.to_string().as_str() {
        "entity_type" => read.entity_type = Some(parse::text_or_constant(key, input)?),
        "action" => read.action = Some(parse::text_or_constant(key, input)?),
        "module" => read.module = Some(parse::text_or_constant(key, input)?),
        "severity" => read.severity = Some(parse::word(key, input, SEVERITIES)?),
        "entity_id" => read.entity_id = expression()?,
        "entity_name" => read.entity_name = expression()?,
        "db" => read.db = expression()?,
        _ => {
            read.library = Library::Unknown;
            read.library = Library::At(parse::crate_path(key, input)?);
        }
    }
    Ok(())
}

/// A function or method. The body is kept as it is, unread: it may be incomplete while it is being typed.
struct Function {
    attrs: Vec<Attribute>,
    vis: Visibility,
    defaultness: Option<Token![default]>,
    sig: Signature,
    inner_attrs: Vec<Attribute>,
    body: TokenStream,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        const FORM: &str = "`#[audit_action(..)]` stands on an `async fn`";
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let defaultness = input.parse()?;
        let sig: Signature = input.parse().map_err(|error| syn::Error::new(error.span(), FORM))?;
        if !input.peek(token::Brace) {
            return Err(syn::Error::new_spanned(
                sig.ident,
                format!("{FORM} with a body; in a trait, put it on the methods of the impls"),
            ));
        }
        let content;
        syn::braced!(content in input);
        let inner_attrs = content.call(Attribute::parse_inner)?;
        let body = content.parse()?;
        Ok(Self { attrs, vis, defaultness, sig, inner_attrs, body })
    }
}

/// The part of a function that is run and recorded.
struct Body {
    /// What the function gives.
    output: TokenStream,
    statements: TokenStream,
    /// Of a method that `#[async_trait]` has rewritten: what surrounds the statements.
    pinned: Option<Pinned>,
}

/// `..; Box::pin(async move { .. })`.
struct Pinned {
    before: Vec<Stmt>,
    pin: Expr,
    attrs: Vec<Attribute>,
}

impl Body {
    fn of(function: &Function, ctxt: &mut Ctxt) -> Option<Self> {
        let body = if function.sig.asyncness.is_some() {
            let output = match &function.sig.output {
                ReturnType::Default => quote!(()),
                ReturnType::Type(_, output) => quote!(#output),
            };
            Self { output, statements: function.body.clone(), pinned: None }
        } else if let Some(body) = Self::of_pinned(function) {
            body
        } else {
            ctxt.error(
                function.sig.fn_token,
                "`#[audit_action(..)]` stands on an `async fn`: recording waits for the database; \
                 write `async fn`, or call `audit_seaorm::log_action` where there is a runtime",
            );
            return None;
        };
        if let Some(token) =
            find(&body.output, &|token| matches!(token, TokenTree::Ident(word) if word == "impl"))
        {
            ctxt.error(
                token,
                "`#[audit_action(..)]` needs a return type that can be named; write the type itself, \
                 or `Box<dyn Trait>` in place of `impl Trait`",
            );
            return None;
        }
        if let ReturnType::Type(_, output) = &function.sig.output
            && matches!(**output, Type::Never(_))
        {
            ctxt.error(
                output,
                "this function never returns, so it has no outcome to record; drop `#[audit_action(..)]`",
            );
            return None;
        }
        Some(body)
    }

    fn of_pinned(function: &Function) -> Option<Self> {
        let ReturnType::Type(_, pinned) = &function.sig.output else { return None };
        let output = future_output(boxed(pinned)?)?;
        let body = &function.body;
        let Block { stmts: mut before, .. } = syn::parse2(quote!({ #body })).ok()?;
        let Some(Stmt::Expr(Expr::Call(call), None)) = before.pop() else { return None };
        let mut arguments = call.args.into_iter();
        let (Some(Expr::Async(ExprAsync { attrs, capture: Some(_), block, .. })), None) =
            (arguments.next(), arguments.next())
        else {
            return None;
        };
        let statements = block.stmts.iter().map(ToTokens::to_token_stream).collect();
        Some(Self {
            output: output.to_token_stream(),
            statements,
            pinned: Some(Pinned { before, pin: *call.func, attrs }),
        })
    }
}

/// `T` of `Pin<Box<T>>`.
fn boxed(ty: &Type) -> Option<&Type> {
    argument(argument(ty, "Pin")?, "Box")
}

/// `T` of `name<T>`.
fn argument<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// `T` of `dyn Future<Output = T> + ..`.
fn future_output(ty: &Type) -> Option<&Type> {
    let Type::TraitObject(object) = ty else { return None };
    object.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last().filter(|last| last.ident == "Future")?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(output) if output.ident == "Output" => Some(&output.ty),
            _ => None,
        })
    })
}

/// The first token that fits, also inside of groups.
fn find(tokens: &TokenStream, fits: &dyn Fn(&TokenTree) -> bool) -> Option<TokenTree> {
    tokens.clone().into_iter().find_map(|token| match &token {
        TokenTree::Group(group) => find(&group.stream(), fits),
        _ => fits(&token).then_some(token),
    })
}

fn recorded(arguments: &Arguments, function: &Function, body: &Body, private: &TokenStream) -> TokenStream {
    let Function { attrs, vis, defaultness, sig, inner_attrs, .. } = function;
    let statements = around(arguments, sig, body, private);
    let content = match &body.pinned {
        None => statements,
        Some(Pinned { before, pin, attrs }) => {
            quote!(#(#before)* #pin(#(#attrs)* async move { #statements }))
        }
    };
    quote! {
        #(#attrs)* #vis #defaultness #sig {
            #(#inner_attrs)*
            #content
        }
    }
}

fn around(arguments: &Arguments, sig: &Signature, body: &Body, private: &TokenStream) -> TokenStream {
    // Names that the user's code can neither see nor disturb.
    let local = |name: &str| Ident::new(name, Span::mixed_site());
    let (operation, db, outcome, error) = (local("operation"), local("db"), local("outcome"), local("error"));
    let (early, failed) = (local("early"), local("failed"));
    let described = operation_of(arguments, private);
    let connection = connection_of(arguments, sig, private);
    let Body { output, statements, .. } = body;
    quote! {
        // Before the body: it may consume the arguments.
        let #operation = #described;
        let #db = #connection;
        // Before anything is done that then couldn't be recorded.
        if let (true, ::core::result::Result::Err(#error)) = (#db.is_none(), #private::action::connected()) {
            #[allow(unused_imports)]
            use #private::action::*;
            if let ::core::option::Option::Some(#failed) = (&&Unrecorded::<#output>::new()).refuse(#error) {
                return #failed;
            }
        }
        // A block of its own, so that `?` and `return` end it and not the function.
        let #outcome = async {
            // Tells the compiler the block's type, which can't be written.
            #[allow(unreachable_code, clippy::all)]
            if let ::core::option::Option::Some(#early) = ::core::option::Option::None::<#output> {
                return #early;
            }
            #statements
        }
        .await;
        let #error = {
            #[allow(unused_imports)]
            use #private::action::*;
            (&&Outcome(&#outcome)).error()
        };
        if let ::core::result::Result::Err(#error) = #private::action::record(#operation, #db, #error).await {
            #[allow(unused_imports)]
            use #private::action::*;
            if let ::core::option::Option::Some(#failed) =
                (&&Unrecorded::<#output>::new()).convert(#error, &#outcome)
            {
                return #failed;
            }
        }
        #outcome
    }
}

fn operation_of(arguments: &Arguments, private: &TokenStream) -> TokenStream {
    let (entity_type, action) = (&arguments.entity_type, &arguments.action);
    let id = arguments.entity_id.as_ref().map(|id| quote_spanned!(at(id)=> .id(&(#id))));
    let name = arguments.entity_name.as_ref().map(|name| quote_spanned!(at(name)=> .name(&(#name))));
    let module = arguments.module.as_ref().map(|module| quote_spanned!(at(module)=> .module(#module)));
    let severity = arguments.severity.map(|severity| {
        let variant = format_ident!("{severity}");
        quote!(.severity(#private::Severity::#variant))
    });
    quote!(#private::Operation::new(#action, #entity_type) #id #name #module #severity)
}

/// An `Option<&C>`, with a connection that was named, or an argument that is one.
///
/// Method resolution finds the connection through references and smart pointers. An argument that merely has the
/// name of a connection falls to the second trait.
fn connection_of(arguments: &Arguments, sig: &Signature, private: &TokenStream) -> TokenStream {
    let none = quote!(::core::option::Option::None::<&#private::sea_orm::DatabaseConnection>);
    let (expression, otherwise) = match (&arguments.db, connection_argument(sig)) {
        (Some(expression), _) => (quote_spanned!(at(expression)=> (#expression)), None),
        (None, Some(argument)) => {
            let otherwise = quote! {
                #[allow(dead_code)]
                trait NoConnection {
                    fn audit_connection(&self) -> ::core::option::Option<&#private::sea_orm::DatabaseConnection>;
                }
                impl<T: ?::core::marker::Sized> NoConnection for &T {
                    fn audit_connection(&self) -> ::core::option::Option<&#private::sea_orm::DatabaseConnection> {
                        #none
                    }
                }
            };
            (quote!(#argument), Some(otherwise))
        }
        (None, None) => return none,
    };
    let found = quote_spanned!(at(&expression)=> #expression.audit_connection());
    quote! {{
        #[allow(dead_code)]
        trait Connection {
            fn audit_connection(&self) -> ::core::option::Option<&Self>;
        }
        impl<C: #private::sea_orm::ConnectionTrait> Connection for C {
            fn audit_connection(&self) -> ::core::option::Option<&Self> {
                ::core::option::Option::Some(self)
            }
        }
        #otherwise
        #found
    }}
}

/// The argument with a connection's name. Only references: one that the function owns may be consumed by its body.
fn connection_argument(sig: &Signature) -> Option<&Ident> {
    let mut found = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) => match (&*argument.pat, &*argument.ty) {
            (Pat::Ident(name), Type::Reference(_)) => Some(&name.ident),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    });
    found.find(|name| CONNECTIONS.iter().any(|known| name == known))
}

/// The place of `tokens`, with the names of the macro.
fn at(tokens: &impl Spanned) -> Span {
    Span::call_site().located_at(tokens.span())
}
