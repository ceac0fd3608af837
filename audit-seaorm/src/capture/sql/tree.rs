//! What the parser says about a statement.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Delete, Expr, FromTable, FunctionArguments, Insert, ObjectName, ObjectNamePart, Query, SelectItem,
    SetExpr, Statement, TableFactor, TableObject, Update, Visit, Visitor,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::TableName;
use super::lex::{Lang, offset};
use super::piece::{fold, fold_ident, table};

/// How deep brackets may be nested.
const NESTING: usize = 100;

/// How long an expression without commas may be, in tokens. Trees are as deep.
pub(super) const LONGEST: usize = 50_000;

/// Makes room for trees of this depth, also to drop them, which recurses: a thread of a runtime has 2 MiB.
pub(super) fn with_stack<T>(depth: usize, work: impl FnOnce() -> T) -> T {
    let room = 512 * 1024 + depth.min(LONGEST) * 2048;
    stacker::maybe_grow(room, room * 2, work)
}

/// Parses all of the tokens as one thing.
fn all<T>(
    lang: Lang,
    tokens: Vec<TokenWithSpan>,
    parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Option<T> {
    let mut parser =
        Parser::new(lang.dialect()).with_recursion_limit(NESTING).with_tokens_with_locations(tokens);
    let parsed = parse(&mut parser).ok()?;
    (parser.peek_token_ref().token == Token::EOF).then_some(parsed)
}

/// The tokens as a statement.
pub(super) fn statement(lang: Lang, tokens: Vec<TokenWithSpan>) -> Option<Statement> {
    all(lang, tokens, |parser| parser.parse_statement())
}

/// Where the parser doesn't go on in a text of statements: `None` if it reads all of them, an empty place for their end.
pub(super) fn stuck(lang: Lang, tokens: Vec<TokenWithSpan>) -> Option<Location> {
    let mut parser =
        Parser::new(lang.dialect()).with_recursion_limit(NESTING).with_tokens_with_locations(tokens);
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token_ref().token == Token::EOF {
            return None;
        }
        let read = parser.parse_statement().is_ok();
        let next = parser.peek_token_ref();
        if !read || !matches!(next.token, Token::SemiColon | Token::EOF) {
            return Some(next.span.start);
        }
    }
}

/// The tokens as an expression.
pub(super) fn expression(lang: Lang, tokens: Vec<TokenWithSpan>) -> Option<Expr> {
    all(lang, tokens, |parser| parser.parse_expr())
}

/// The tokens as a query.
pub(super) fn query(lang: Lang, tokens: Vec<TokenWithSpan>) -> Option<Box<Query>> {
    all(lang, tokens, |parser| parser.parse_query())
}

/// The tokens as an item of a `SELECT` or a `RETURNING`.
pub(super) fn item(lang: Lang, tokens: Vec<TokenWithSpan>) -> Option<SelectItem> {
    all(lang, tokens, |parser| parser.parse_select_item())
}

/// The parts of a name, folded.
pub(super) fn names(lang: Lang, name: &ObjectName) -> Option<Vec<String>> {
    let part = |part: &ObjectNamePart| part.as_ident().map(|ident| fold_ident(lang, ident));
    name.0.iter().map(part).collect()
}

/// Where in the text a name begins.
pub(super) fn start(name: &ObjectName) -> Option<usize> {
    offset(name.0.first()?.as_ident()?.span.start)
}

/// What is found in a tree.
#[derive(Debug)]
pub(super) struct Seen {
    lang: Lang,
    /// Where the target of the write is named.
    target: Option<usize>,
    scopes: Vec<Scope>,
    /// Tables that are read.
    pub(super) reads: Vec<TableName>,
    /// Functions that are called.
    pub(super) functions: Vec<String>,
    /// Statements that write, by their tables, the outermost first.
    pub(super) writes: Vec<Option<TableName>>,
    /// Whether there is something that isn't known to write nothing.
    pub(super) odd: bool,
}

/// The common table expressions of a query.
#[derive(Debug)]
struct Scope {
    /// Which query; compared, never followed.
    query: *const Query,
    /// The queries of its expressions.
    members: Vec<(*const Query, String)>,
    recursive: bool,
    /// How many of them can be named where the visitor is.
    visible: usize,
    /// What `visible` was for the query around this one, if this is one of its expressions.
    outer: Option<(usize, usize)>,
}

impl Seen {
    /// Nothing yet. `target` is where the name of the table stands that is written.
    pub(super) fn new(lang: Lang, target: Option<usize>) -> Self {
        Self {
            lang,
            target,
            scopes: Vec::new(),
            reads: Vec::new(),
            functions: Vec::new(),
            writes: Vec::new(),
            odd: false,
        }
    }

    /// Goes through a tree.
    pub(super) fn visit(&mut self, tree: &impl Visit) {
        let _: ControlFlow<()> = tree.visit(self);
    }

    /// Goes through a tree that stands where the given common table expressions can be named.
    pub(super) fn visit_within(&mut self, names: &[String], tree: &impl Visit) {
        let members: Vec<_> = names.iter().map(|name| (std::ptr::null(), name.clone())).collect();
        let visible = members.len();
        let scope = Scope { query: std::ptr::null(), members, recursive: true, visible, outer: None };
        self.scopes.push(scope);
        self.visit(tree);
        self.scopes.pop();
    }

    fn is_expression(&self, name: &str) -> bool {
        let same = |(_, member): &(_, String)| match self.lang {
            Lang::Lite => member.eq_ignore_ascii_case(name),
            _ => member == name,
        };
        self.scopes.iter().any(|scope| scope.members.iter().take(scope.visible).any(same))
    }

    fn call(&mut self, name: &ObjectName) {
        let part = |part: &ObjectNamePart| match part {
            ObjectNamePart::Identifier(ident) => {
                fold(self.lang, &ident.value, ident.quote_style.is_some()).to_lowercase()
            }
            ObjectNamePart::Function(function) => function.name.value.to_lowercase(),
        };
        let name = name.0.iter().map(part).collect::<Vec<_>>().join(".");
        self.function(name);
    }

    fn function(&mut self, name: String) {
        if !self.functions.contains(&name) {
            self.functions.push(name);
        }
    }

    fn relation(&mut self, name: &ObjectName) {
        if self.target.is_some() && start(name) == self.target {
            return;
        }
        let Some(names) = names(self.lang, name) else {
            self.odd = true;
            return;
        };
        if matches!(names.as_slice(), [name] if self.is_expression(name)) {
            return;
        }
        if let Some(table) = table(names)
            && !self.reads.contains(&table)
        {
            self.reads.push(table);
        }
    }
}

impl Visitor for Seen {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let here: *const Query = query;
        // Within an expression of a WITH only those before it can be named, unless it is recursive. SQLite doesn't
        // need the word.
        let all = self.lang == Lang::Lite;
        let mut outer = None;
        if let Some((depth, scope)) = self.scopes.iter_mut().enumerate().next_back()
            && let Some(index) = scope.members.iter().position(|(member, _)| *member == here)
        {
            outer = Some((depth, scope.visible));
            if !scope.recursive && !all {
                scope.visible = index;
            }
        }
        let with = query.with.as_ref();
        let members: Vec<_> = with
            .iter()
            .flat_map(|with| &with.cte_tables)
            .map(|cte| (&raw const *cte.query, fold_ident(self.lang, &cte.alias.name)))
            .collect();
        let visible = members.len();
        let recursive = with.is_some_and(|with| with.recursive);
        self.scopes.push(Scope { query: here, members, recursive, visible, outer });
        let mut bodies = vec![query.body.as_ref()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Table(table) => self.table_command(table),
                SetExpr::SetOperation { left, right, .. } => bodies.extend([left.as_ref(), right.as_ref()]),
                _ => {}
            }
        }
        if !query.pipe_operators.is_empty() || query.format_clause.is_some() || query.settings.is_some() {
            self.odd = true;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.scopes.last().is_some_and(|scope| std::ptr::eq(scope.query, query))
            && let Some(scope) = self.scopes.pop()
            && let Some((depth, visible)) = scope.outer
            && let Some(outer) = self.scopes.get_mut(depth)
        {
            outer.visible = visible;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.relation(name);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            // PostgreSQL's `ONLY t` and `ONLY (t)`, which the parser takes for a table and a function.
            TableFactor::Table { name, .. } | TableFactor::Function { name, .. }
                if self.lang == Lang::Pg && name.to_string().eq_ignore_ascii_case("only") =>
            {
                self.odd = true;
            }
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.call(name)
            }
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::XmlTable { .. } => {}
            _ => self.odd = true,
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &sqlparser::ast::Select) -> ControlFlow<()> {
        if select.into.is_some() {
            self.odd = true;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            // CURRENT_DATE and its like have no arguments.
            Expr::Function(function) if !matches!(function.args, FunctionArguments::None) => {
                self.call(&function.name);
            }
            Expr::Extract { .. } => self.function("extract".to_owned()),
            Expr::Substring { .. } => self.function("substring".to_owned()),
            Expr::Trim { .. } => self.function("trim".to_owned()),
            Expr::Position { .. } => self.function("position".to_owned()),
            Expr::Overlay { .. } => self.function("overlay".to_owned()),
            Expr::Ceil { .. } => self.function("ceil".to_owned()),
            Expr::Floor { .. } => self.function("floor".to_owned()),
            Expr::Convert { .. } => self.function("convert".to_owned()),
            // Names where a query could stand, as SQLite has `x IN t`.
            Expr::InUnnest { .. } | Expr::Lambda(_) => self.odd = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Query(_) => {}
            Statement::Insert(insert) => self.writes.push(inserted(self.lang, insert)),
            Statement::Update(update) => self.writes.push(updated(self.lang, update)),
            Statement::Delete(delete) => self.writes.push(deleted(self.lang, delete)),
            Statement::Merge(merge) => self.writes.push(factor(self.lang, &merge.table)),
            _ => self.odd = true,
        }
        ControlFlow::Continue(())
    }
}

impl Seen {
    /// `TABLE t` isn't a relation for the visitor, and has lost its quotes.
    fn table_command(&mut self, table: &sqlparser::ast::Table) {
        let Some(name) = table.table_name.clone() else {
            self.odd = true;
            return;
        };
        if self.lang == Lang::Pg && name.eq_ignore_ascii_case("only") {
            self.odd = true;
        }
        let same = fold(self.lang, &name, false) == fold(self.lang, &name, true);
        if table.schema_name.is_none() && same && self.is_expression(&name) {
            return;
        }
        for quoted in [false, true] {
            let schema = table.schema_name.as_deref().map(|schema| fold(self.lang, schema, quoted));
            let table = TableName { schema, name: fold(self.lang, &name, quoted) };
            if !self.reads.contains(&table) {
                self.reads.push(table);
            }
        }
    }
}

fn factor(lang: Lang, factor: &TableFactor) -> Option<TableName> {
    match factor {
        TableFactor::Table { name, args: None, .. } => table(names(lang, name)?),
        _ => None,
    }
}

/// The table of an `INSERT`.
pub(super) fn inserted(lang: Lang, insert: &Insert) -> Option<TableName> {
    match &insert.table {
        TableObject::TableName(name) => table(names(lang, name)?),
        _ => None,
    }
}

/// The table of an `UPDATE`, if it is one; of MySQL's joins the first, which [`joined`](super::joined) looks at.
pub(super) fn updated(lang: Lang, update: &Update) -> Option<TableName> {
    let one = update.table.joins.is_empty() || lang == Lang::My;
    if one { factor(lang, &update.table.relation) } else { None }
}

/// The table of a `DELETE`, if it is one.
pub(super) fn deleted(lang: Lang, delete: &Delete) -> Option<TableName> {
    match &delete.from {
        FromTable::WithFromKeyword(from) => match from.as_slice() {
            [one] if one.joins.is_empty() && delete.tables.is_empty() => factor(lang, &one.relation),
            // `joined` looks at which of them it is.
            [one] if lang == Lang::My && delete.tables.len() == 1 => factor(lang, &one.relation),
            _ => None,
        },
        FromTable::WithoutKeyword(_) => None,
    }
}
