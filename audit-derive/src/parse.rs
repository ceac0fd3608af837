//! Reads lists of options, `key = value, key, key(..)`, and goes on after a mistake with the next option.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Expr, ExprLit, Lit, LitStr, Path, Token, token};

use crate::ctxt::Ctxt;
use crate::model::Label;
use crate::words;

/// Reads `tokens` as options with the names in `accepted`; `unknown` explains what is wrong with any other name.
///
/// `read` is called behind each name and reads what belongs to it. Names that were there before are in `seen`: a
/// duplicate is reported, and read with `new` false for the mistakes in it.
pub(crate) fn options(
    tokens: TokenStream,
    accepted: &[&str],
    unknown: impl Fn(&str) -> String,
    seen: &mut Vec<Ident>,
    ctxt: &mut Ctxt,
    mut read: impl FnMut(&Ident, bool, ParseStream<'_>, &mut Ctxt) -> syn::Result<()>,
) {
    list(tokens, ctxt, |input, ctxt| {
        let key = Ident::parse_any(input).map_err(|error| {
            syn::Error::new(error.span(), format!("expected an option; accepted: {}", words::list(accepted)))
        })?;
        let name = key.to_string();
        if !accepted.contains(&name.as_str()) {
            return Err(syn::Error::new(key.span(), unknown(&name)));
        }
        let new = !seen.contains(&key);
        if new {
            seen.push(key.clone());
        } else if key != "alias" {
            ctxt.error(&key, format!("`{key}` is given twice; keep one of them"));
        }
        read(&key, new, input, ctxt)
    });
}

/// Reads the items of a list; a mistake in one doesn't hide those in the next.
fn list(
    tokens: TokenStream,
    ctxt: &mut Ctxt,
    mut item: impl FnMut(ParseStream<'_>, &mut Ctxt) -> syn::Result<()>,
) {
    let before = ctxt.len();
    let result = (|input: ParseStream<'_>| {
        while !input.is_empty() {
            if let Err(error) = item(input, ctxt) {
                ctxt.push(error);
                skip_item(input)?;
            } else if !input.is_empty() && !input.peek(Token![,]) {
                ctxt.push(input.error("expected `,`"));
                skip_item(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    })
    .parse2(tokens);
    // What is left over inside a group after a mistake comes up again here.
    if let Err(error) = result
        && ctxt.len() == before
    {
        ctxt.push(error);
    }
}

fn skip_item(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// Reads nothing: the option is a word alone.
pub(crate) fn flag(key: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(());
    }
    Err(syn::Error::new(input.span(), format!("`{key}` takes no value; write `{key}` alone")))
}

/// Reads `= "text"`.
pub(crate) fn text(key: &Ident, input: ParseStream<'_>) -> syn::Result<LitStr> {
    let form = format!("`{key}` takes a text; write `{key} = \"..\"`");
    equals(key, input, &form)?;
    let literal = literal(input, &form)?;
    filled(&literal, key)?;
    Ok(literal)
}

/// Reads `= "column"`, `= "Relation::Name"` or `= "Relation::Name.column"`, or nothing.
pub(crate) fn label(key: &Ident, input: ParseStream<'_>) -> syn::Result<Label> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(Label { text: String::new(), relation: None });
    }
    let form = "accepted are `label`, `label = \"column\"`, `label = \"Relation::Name\"` and `label = \"Relation::Name.column\"`";
    equals(key, input, form)?;
    let literal = literal(input, form)?;
    filled(&literal, key)?;
    let text = literal.value();
    let Some(rest) = text.strip_prefix("Relation::") else { return Ok(Label { text, relation: None }) };
    let (name, column) = rest.split_once('.').map_or((rest, None), |(name, column)| (name, Some(column)));
    let mut relation = syn::parse_str::<Ident>(name).map_err(|_| syn::Error::new(literal.span(), form))?;
    if column.is_some_and(|column| column.trim().is_empty()) {
        return Err(syn::Error::new(literal.span(), form));
    }
    relation.set_span(literal.span());
    Ok(Label { relation: Some(relation), text })
}

/// Reads `= true` or `= false`, or nothing, which is `true`.
pub(crate) fn truth(key: &Ident, input: ParseStream<'_>) -> syn::Result<bool> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(true);
    }
    let form = format!("accepted are `{key}`, `{key} = true` and `{key} = false`");
    equals(key, input, &form)?;
    match input.parse() {
        Ok(Lit::Bool(literal)) => Ok(literal.value),
        Ok(other) => Err(syn::Error::new(other.span(), form)),
        Err(error) => Err(syn::Error::new(error.span(), form)),
    }
}

/// Reads `= path` or `= "path"`, the path of a crate.
pub(crate) fn crate_path(key: &Ident, input: ParseStream<'_>) -> syn::Result<Path> {
    let form = format!("`{key}` takes the path of the library; write `{key} = \"my_app::audit\"`");
    equals(key, input, &form)?;
    let path = if input.peek(LitStr) {
        input.parse::<LitStr>()?.parse_with(Path::parse_mod_style)
    } else {
        input.call(Path::parse_mod_style)
    };
    path.map_err(|error| syn::Error::new(error.span(), form))
}

/// Reads `= ` and something; `form` says what.
pub(crate) fn value<T: Parse>(key: &Ident, input: ParseStream<'_>, form: &str) -> syn::Result<T> {
    equals(key, input, form)?;
    input.parse().map_err(|error| syn::Error::new(error.span(), form))
}

/// Reads `= "text"`, or `= path` of a constant.
pub(crate) fn text_or_constant(key: &Ident, input: ParseStream<'_>) -> syn::Result<Expr> {
    let form =
        format!("`{key}` takes a text or a constant; write `{key} = \"..\"` or `{key} = my_module::NAME`");
    equals(key, input, &form)?;
    let expression: Expr = input.parse().map_err(|error| syn::Error::new(error.span(), &form))?;
    match &expression {
        Expr::Path(_) => Ok(expression),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => filled(text, key).map(|()| expression),
        _ => Err(syn::Error::new_spanned(expression, form)),
    }
}

/// Reads `("a", "b")`.
pub(crate) fn texts(key: &Ident, input: ParseStream<'_>, ctxt: &mut Ctxt) -> syn::Result<Vec<LitStr>> {
    let form = format!("`{key}` takes a list of texts; write `{key}(\"..\", \"..\")`");
    let mut texts: Vec<LitStr> = Vec::new();
    list(group(key, input, &form)?, ctxt, |input, ctxt| {
        let text = literal(input, &form)?;
        filled(&text, key)?;
        if texts.iter().any(|known| known.value().eq_ignore_ascii_case(&text.value())) {
            ctxt.error(&text, format!("`{}` is listed twice; keep one of them", text.value()));
        } else {
            texts.push(text);
        }
        Ok(())
    });
    Ok(texts)
}

/// Reads `= "text"`, or `("a", "b")`.
pub(crate) fn text_or_texts(
    key: &Ident,
    input: ParseStream<'_>,
    ctxt: &mut Ctxt,
) -> syn::Result<Vec<LitStr>> {
    if input.peek(token::Paren) {
        return texts(key, input, ctxt);
    }
    let form = format!("`{key}` takes a text or a list; write `{key} = \"..\"` or `{key}(\"..\", \"..\")`");
    equals(key, input, &form)?;
    let literal = literal(input, &form)?;
    filled(&literal, key)?;
    Ok(vec![literal])
}

/// Reads `(a, b)`, each one of `accepted`; `what` names one of them.
pub(crate) fn chosen(
    key: &Ident,
    input: ParseStream<'_>,
    what: &str,
    accepted: &[&str],
    ctxt: &mut Ctxt,
) -> syn::Result<Vec<Ident>> {
    let form = format!("`{key}` takes a list; write `{key}({})`", accepted.join(", "));
    let mut words: Vec<Ident> = Vec::new();
    list(group(key, input, &form)?, ctxt, |input, ctxt| {
        let word = Ident::parse_any(input).map_err(|error| syn::Error::new(error.span(), &form))?;
        if !accepted.iter().any(|accepted| word == accepted) {
            ctxt.error(&word, words::unknown(what, &word.to_string(), accepted));
        } else if words.contains(&word) {
            ctxt.error(&word, format!("`{word}` is listed twice; keep one of them"));
        } else {
            words.push(word);
        }
        Ok(())
    });
    Ok(words)
}

/// Reads `= "word"`, in any case, and gives what stands beside it in `accepted`.
pub(crate) fn word<T: Copy>(key: &Ident, input: ParseStream<'_>, accepted: &[(&str, T)]) -> syn::Result<T> {
    let names: Vec<_> = accepted.iter().map(|(name, _)| *name).collect();
    let form = format!("`{key}` takes a text; write `{key} = \"..\"` with one of {}", words::list(&names));
    equals(key, input, &form)?;
    let literal = literal(input, &form)?;
    let written = literal.value();
    accepted
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&written))
        .map(|(_, value)| *value)
        .ok_or_else(|| syn::Error::new(literal.span(), words::unknown(&key.to_string(), &written, &names)))
}

/// Reads `=`, which must follow the key.
fn equals(key: &Ident, input: ParseStream<'_>, form: &str) -> syn::Result<()> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        return Ok(());
    }
    Err(syn::Error::new(key.span(), form))
}

fn group(key: &Ident, input: ParseStream<'_>, form: &str) -> syn::Result<TokenStream> {
    if !input.peek(token::Paren) {
        return Err(syn::Error::new(key.span(), form));
    }
    let content;
    syn::parenthesized!(content in input);
    let tokens: TokenStream = content.parse()?;
    if tokens.is_empty() { Err(syn::Error::new(key.span(), form)) } else { Ok(tokens) }
}

fn literal(input: ParseStream<'_>, form: &str) -> syn::Result<LitStr> {
    // `parse` looks through the invisible groups that a `macro_rules!` puts around its arguments.
    input.parse().map_err(|error| syn::Error::new(error.span(), form))
}

fn filled(text: &LitStr, key: &Ident) -> syn::Result<()> {
    if text.value().trim().is_empty() {
        return Err(syn::Error::new(text.span(), format!("the text of `{key}` must not be empty")));
    }
    Ok(())
}
