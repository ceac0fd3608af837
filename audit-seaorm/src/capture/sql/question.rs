//! What a statement asks of the tables that it reads: which columns, by which conditions.
//!
//! For the record of a read, which is for people: what isn't understood here is shown as an expression without its
//! values, and nothing depends on it being complete. *That* a table is read is [`Parsed::reads`]' business.

use std::ops::ControlFlow;

use audit_core::QueryType;
use sea_orm::DbBackend;
use sqlparser::ast::{
    BinaryOperator, Expr, Function, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, Query,
    Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor, TableWithJoins,
    UnaryOperator, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::tokenizer::Token;

use super::lex::{self, Lang};
use super::piece::{Piece, fold_ident, table};
use super::{Parsed, TableName, tree};

/// What a statement asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    /// What for.
    pub(crate) kind: QueryType,
    /// Which columns of which tables, each table once.
    pub(crate) asked: Vec<Asked>,
    /// By which conditions.
    pub(crate) filter: Option<Filter>,
}

/// What is asked of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) table: TableName,
    /// Whether all columns are.
    pub(crate) all: bool,
    /// Columns by name. Of one that stands for itself in a query of several tables it isn't known whose it is.
    pub(crate) columns: Vec<String>,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// A column against something.
    Compare {
        column: Column,
        op: String,
        with: Operand,
    },
    /// Anything else: its text with `?` for each value.
    Expression {
        text: String,
        values: Vec<Scalar>,
        columns: Vec<Column>,
    },
}

/// A column and the tables that it may be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) tables: Vec<TableName>,
    pub(crate) name: String,
}

/// What a column is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Nothing,
    One(Scalar),
    List(Vec<Scalar>),
    Column(Column),
    Query(Option<Box<Filter>>),
}

/// A value in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// The parameter with this index, from 0.
    Param(usize),
    Text(String),
    Number(String),
    Bool(bool),
    Null,
}

/// Reads what a statement of a text asks; `None` if the parser doesn't know it.
pub(crate) fn question(sql: &str, backend: DbBackend, parsed: &Parsed) -> Option<Question> {
    let lang = match backend {
        DbBackend::Postgres => Lang::Pg,
        DbBackend::MySql => Lang::My,
        DbBackend::Sqlite => Lang::Lite,
        #[allow(unreachable_patterns)] // databases that SeaORM may add
        _ => return None,
    };
    let lexed = lex::lex(sql, lang).ok()?;
    let inside = |tok: &&lex::Tok| parsed.range.start <= tok.range.start && tok.range.end <= parsed.range.end;
    let toks: Vec<_> = lexed.toks.iter().filter(inside).cloned().collect();
    let piece = Piece::new(sql, lang, &toks).ok()?;
    let mut tokens = piece.feed(0..toks.len());
    // A placeholder is numbered, so that the tree says which value it stands for.
    for token in &mut tokens {
        if let Token::Placeholder(_) = token.token {
            let at = lex::offset(token.span.start)?;
            let param = parsed.params.iter().find(|param| param.range.start == at)?;
            token.token = Token::Placeholder(format!("${}", param.index));
        }
    }
    tree::with_stack(piece.depth, || {
        let statement = tree::statement(lang, tokens)?;
        let mut reader = Reader { lang, asked: Vec::new(), names: Vec::new() };
        let (kind, filter) = reader.statement(&statement)?;
        let mut asked = reader.asked;
        if matches!(kind, QueryType::Count | QueryType::Exists) {
            asked.iter_mut().for_each(|asked| (asked.all, asked.columns) = (false, Vec::new()));
        }
        Some(Question { kind, asked, filter })
    })
}

/// Where columns may come from.
#[derive(Debug, Clone)]
struct Source {
    /// What it is called in the query.
    name: String,
    /// `None`: another query.
    table: Option<TableName>,
}

struct Reader {
    lang: Lang,
    asked: Vec<Asked>,
    /// The names of common table expressions.
    names: Vec<String>,
}

impl Reader {
    fn statement(&mut self, statement: &Statement) -> Option<(QueryType, Option<Filter>)> {
        match statement {
            Statement::Query(query) => {
                let kind = kind(query);
                Some((kind, self.query(query, &[])))
            }
            Statement::Insert(insert) => {
                Some((QueryType::Select, insert.source.as_ref().and_then(|query| self.query(query, &[]))))
            }
            Statement::Update(update) => {
                let mut sources = Vec::new();
                let mut filters = self.from(std::slice::from_ref(&update.table), &mut sources);
                if let Some(
                    sqlparser::ast::UpdateTableFromKind::BeforeSet(from)
                    | sqlparser::ast::UpdateTableFromKind::AfterSet(from),
                ) = &update.from
                {
                    filters.extend(self.from(from, &mut sources));
                }
                for assignment in &update.assignments {
                    self.columns(&assignment.value, &sources);
                    self.subqueries(&assignment.value, &sources);
                }
                filters.extend(update.selection.as_ref().map(|expr| self.filter(expr, &sources)));
                Some((QueryType::Select, all(filters)))
            }
            Statement::Delete(delete) => {
                let mut sources = Vec::new();
                let (sqlparser::ast::FromTable::WithFromKeyword(from)
                | sqlparser::ast::FromTable::WithoutKeyword(from)) = &delete.from;
                let mut filters = self.from(from, &mut sources);
                filters.extend(delete.using.iter().flat_map(|using| self.from(using, &mut sources)));
                filters.extend(delete.selection.as_ref().map(|expr| self.filter(expr, &sources)));
                Some((QueryType::Select, all(filters)))
            }
            _ => None,
        }
    }

    /// Reads a query; `outer` are the sources of the queries around it.
    fn query(&mut self, query: &Query, outer: &[Source]) -> Option<Filter> {
        let mut filters = Vec::new();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.push(fold_ident(self.lang, &cte.alias.name));
        }
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            filters.extend(self.query(&cte.query, outer));
        }
        filters.extend(self.body(&query.body, outer));
        all(filters)
    }

    fn body(&mut self, body: &SetExpr, outer: &[Source]) -> Option<Filter> {
        match body {
            SetExpr::Select(select) => self.select(select, outer),
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::SetOperation { left, right, .. } => {
                let sides = [self.body(left, outer), self.body(right, outer)];
                let mut sides: Vec<_> = sides.into_iter().flatten().collect();
                match sides.len() {
                    0 | 1 => sides.pop(),
                    _ => Some(Filter::Any(sides)),
                }
            }
            _ => None,
        }
    }

    fn select(&mut self, select: &Select, outer: &[Source]) -> Option<Filter> {
        let mut sources = Vec::new();
        let mut filters = self.from(&select.from, &mut sources);
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr)
                | SelectItem::ExprWithAlias { expr, .. }
                | SelectItem::ExprWithAliases { expr, .. } => {
                    self.columns(expr, &sources);
                    self.subqueries(expr, &sources);
                }
                SelectItem::Wildcard(_) => {
                    sources
                        .iter()
                        .filter_map(|source| source.table.as_ref())
                        .for_each(|table| self.whole(table));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    for column in self.owners(name, &sources) {
                        self.whole(&column);
                    }
                }
                SelectItem::QualifiedWildcard(..) => {}
            }
        }
        let mut visible = sources;
        visible.extend_from_slice(outer);
        filters.extend(select.selection.iter().chain(&select.having).map(|expr| self.filter(expr, &visible)));
        all(filters)
    }

    /// Reads what stands behind `FROM`: adds its sources, and returns the conditions in it.
    fn from(&mut self, from: &[TableWithJoins], sources: &mut Vec<Source>) -> Vec<Filter> {
        let mut filters = Vec::new();
        let mut conditions = Vec::new();
        for table in from {
            filters.extend(self.factor(&table.relation, sources));
            for join in &table.joins {
                filters.extend(self.factor(&join.relation, sources));
                conditions.extend(constraint(&join.join_operator));
            }
        }
        for condition in conditions {
            // How tables belong together is no filter; a value is.
            if has_value(condition) {
                filters.push(self.filter(condition, sources));
            }
        }
        filters
    }

    fn factor(&mut self, factor: &TableFactor, sources: &mut Vec<Source>) -> Vec<Filter> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let Some(table) = tree::names(self.lang, name).and_then(table) else { return Vec::new() };
                let is_expression = table.schema.is_none() && self.names.contains(&table.name);
                let name =
                    alias.as_ref().map_or_else(|| table.name.clone(), |a| fold_ident(self.lang, &a.name));
                if !is_expression {
                    self.of(&table);
                }
                sources.push(Source { name, table: (!is_expression).then_some(table) });
                Vec::new()
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let filter = self.query(subquery, sources);
                let name = alias.as_ref().map(|alias| fold_ident(self.lang, &alias.name)).unwrap_or_default();
                sources.push(Source { name, table: None });
                filter.into_iter().collect()
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.from(std::slice::from_ref(table_with_joins), sources)
            }
            _ => Vec::new(),
        }
    }

    fn filter(&mut self, expr: &Expr, sources: &[Source]) -> Filter {
        let not = |negated: bool, op: &str| if negated { format!("not {op}") } else { op.to_owned() };
        match expr {
            Expr::Nested(inner) => return self.filter(inner, sources),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                return Filter::All(self.chain(&BinaryOperator::And, left, right, sources));
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                return Filter::Any(self.chain(&BinaryOperator::Or, left, right, sources));
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                return Filter::Not(Box::new(self.filter(expr, sources)));
            }
            Expr::BinaryOp { left, op, right } => {
                if let Some(column) = self.column(left, sources) {
                    if let Some(with) = self.operand(right, sources) {
                        return Filter::Compare { column, op: op.to_string(), with };
                    }
                } else if let (Some(column), Some(value), Some(op)) =
                    (self.column(right, sources), scalar(left), turned(op))
                {
                    return Filter::Compare { column, op: op.to_owned(), with: Operand::One(value) };
                }
            }
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
                if let Some(column) = self.column(inner, sources) {
                    let op = if matches!(expr, Expr::IsNull(_)) { "is null" } else { "is not null" };
                    return Filter::Compare { column, op: op.into(), with: Operand::Nothing };
                }
            }
            Expr::InList { expr, list, negated } => {
                let values: Option<Vec<_>> = list.iter().map(scalar).collect();
                if let (Some(column), Some(values)) = (self.column(expr, sources), values) {
                    return Filter::Compare { column, op: not(*negated, "in"), with: Operand::List(values) };
                }
            }
            Expr::InSubquery { expr, subquery, negated } => {
                if let Some(column) = self.column(expr, sources) {
                    let with = Operand::Query(self.query(subquery, sources).map(Box::new));
                    return Filter::Compare { column, op: not(*negated, "in"), with };
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let (Some(column), Some(value)) = (self.column(left, sources), scalar(right)) {
                    return Filter::Compare { column, op: "in".into(), with: Operand::One(value) };
                }
            }
            Expr::Between { expr, negated, low, high } => {
                let ends = [low, high].into_iter().map(|end| scalar(end)).collect::<Option<Vec<_>>>();
                if let (Some(column), Some(ends)) = (self.column(expr, sources), ends) {
                    return Filter::Compare {
                        column,
                        op: not(*negated, "between"),
                        with: Operand::List(ends),
                    };
                }
            }
            Expr::Like { negated, any: false, expr, pattern, .. } => {
                if let Some(filter) = self.like(expr, pattern, not(*negated, "like"), sources) {
                    return filter;
                }
            }
            Expr::ILike { negated, any: false, expr, pattern, .. } => {
                if let Some(filter) = self.like(expr, pattern, not(*negated, "ilike"), sources) {
                    return filter;
                }
            }
            _ => {}
        }
        self.expression(expr, sources)
    }

    fn like(&self, expr: &Expr, pattern: &Expr, op: String, sources: &[Source]) -> Option<Filter> {
        let (column, pattern) = (self.column(expr, sources)?, scalar(pattern)?);
        Some(Filter::Compare { column, op, with: Operand::One(pattern) })
    }

    /// The members of `a AND b AND c`, however they are nested.
    fn chain(
        &mut self,
        chained: &BinaryOperator,
        left: &Expr,
        right: &Expr,
        sources: &[Source],
    ) -> Vec<Filter> {
        let mut members = Vec::new();
        let mut rest = vec![right, left];
        while let Some(next) = rest.pop() {
            match next {
                Expr::BinaryOp { left, op, right } if op == chained => {
                    rest.extend([right.as_ref(), left.as_ref()])
                }
                other => members.push(self.filter(other, sources)),
            }
        }
        members
    }

    fn expression(&mut self, expr: &Expr, sources: &[Source]) -> Filter {
        let mut columns = Vec::new();
        each_column(expr, &mut |parts| columns.extend(self.column_of(parts, sources)));
        self.subqueries(expr, sources);
        let mut masked = expr.clone();
        let mut values = Values(Vec::new());
        let _: ControlFlow<()> = VisitMut::visit(&mut masked, &mut values);
        Filter::Expression { text: masked.to_string(), values: values.0, columns }
    }

    fn operand(&mut self, expr: &Expr, sources: &[Source]) -> Option<Operand> {
        if let Some(scalar) = scalar(expr) {
            return Some(Operand::One(scalar));
        }
        if let Expr::Subquery(query) = expr {
            return Some(Operand::Query(self.query(query, sources).map(Box::new)));
        }
        self.column(expr, sources).map(Operand::Column)
    }

    fn column(&self, expr: &Expr, sources: &[Source]) -> Option<Column> {
        match expr {
            Expr::Nested(inner) => self.column(inner, sources),
            Expr::Cast { expr, .. } => self.column(expr, sources),
            Expr::Identifier(name) => self.column_of(std::slice::from_ref(name), sources),
            Expr::CompoundIdentifier(parts) => self.column_of(parts, sources),
            _ => None,
        }
    }

    fn column_of(&self, parts: &[Ident], sources: &[Source]) -> Option<Column> {
        let (name, qualifier) = parts.split_last()?;
        let name = fold_ident(self.lang, name);
        let qualifier = qualifier.last().map(|ident| fold_ident(self.lang, ident));
        let same = |source: &&Source| qualifier.as_ref().is_none_or(|name| self.same(name, &source.name));
        let tables = sources.iter().filter(same).filter_map(|source| source.table.clone()).collect();
        Some(Column { tables, name })
    }

    fn same(&self, a: &str, b: &str) -> bool {
        if self.lang == Lang::Pg { a == b } else { a.eq_ignore_ascii_case(b) }
    }

    fn owners(&self, name: &ObjectName, sources: &[Source]) -> Vec<TableName> {
        let Some(name) = tree::names(self.lang, name).and_then(|mut names| names.pop()) else {
            return Vec::new();
        };
        let named = sources.iter().filter(|source| self.same(&name, &source.name));
        named.filter_map(|source| source.table.clone()).collect()
    }

    /// Notes the columns that an expression reads, without those of the queries in it.
    fn columns(&mut self, expr: &Expr, sources: &[Source]) {
        let mut found = Vec::new();
        each_column(expr, &mut |parts| found.extend(self.column_of(parts, sources)));
        for column in found {
            for table in &column.tables {
                let columns = &mut self.of(table).columns;
                if !columns.contains(&column.name) {
                    columns.push(column.name.clone());
                }
            }
        }
    }

    /// Reads the queries in an expression.
    fn subqueries(&mut self, expr: &Expr, sources: &[Source]) {
        let mut found = Queries { depth: 0, found: Vec::new() };
        let _: ControlFlow<()> = Visit::visit(expr, &mut found);
        for query in found.found {
            self.query(&query, sources);
        }
    }

    fn whole(&mut self, table: &TableName) {
        self.of(table).all = true;
    }

    fn of(&mut self, table: &TableName) -> &mut Asked {
        let at = self.asked.iter().position(|asked| asked.table == *table).unwrap_or(self.asked.len());
        if at == self.asked.len() {
            self.asked.push(Asked { table: table.clone(), all: false, columns: Vec::new() });
        }
        &mut self.asked[at]
    }
}

fn all(mut filters: Vec<Filter>) -> Option<Filter> {
    match filters.len() {
        0 | 1 => filters.pop(),
        _ => Some(Filter::All(filters)),
    }
}

/// What a query is for, by what it selects.
fn kind(query: &Query) -> QueryType {
    let SetExpr::Select(select) = query.body.as_ref() else { return QueryType::Select };
    let expressions: Vec<&Expr> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        })
        .collect();
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if expressions.len() != select.projection.len() {
        return if grouped { QueryType::Aggregate } else { QueryType::Select };
    }
    let constant = |expr: &&Expr| scalar(expr).is_some() || matches!(expr, Expr::Exists { .. });
    if !grouped && expressions.iter().all(constant) {
        return QueryType::Exists;
    }
    if let [Expr::Function(function)] = expressions.as_slice()
        && !grouped
        && function.over.is_none()
        && called(function) == "count"
    {
        return QueryType::Count;
    }
    if grouped || expressions.iter().any(|expr| has_aggregate(expr)) {
        return QueryType::Aggregate;
    }
    QueryType::Select
}

fn called(function: &Function) -> String {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.map(|ident| ident.value.to_lowercase()).unwrap_or_default()
}

const AGGREGATES: &[&str] = &[
    "any_value",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "every",
    "group_concat",
    "json_agg",
    "json_arrayagg",
    "json_group_array",
    "json_group_object",
    "json_object_agg",
    "json_objectagg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "median",
    "min",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "total",
    "var_pop",
    "var_samp",
    "variance",
];

fn has_aggregate(expr: &Expr) -> bool {
    let mut search = Search {
        depth: 0,
        found: |expr: &Expr| {
            matches!(expr, Expr::Function(function)
            if function.over.is_none() && AGGREGATES.contains(&called(function).as_str()))
        },
    };
    Visit::visit(expr, &mut search).is_break()
}

fn has_value(expr: &Expr) -> bool {
    let mut search = Search { depth: 0, found: |expr: &Expr| matches!(expr, Expr::Value(_)) };
    Visit::visit(expr, &mut search).is_break()
}

/// Looks for an expression outside of queries within.
struct Search<F> {
    depth: usize,
    found: F,
}

impl<F: Fn(&Expr) -> bool> Visitor for Search<F> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.depth == 0 && (self.found)(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Visits the names of columns outside of queries within.
fn each_column(expr: &Expr, visit: &mut dyn FnMut(&[Ident])) {
    let visit = std::cell::RefCell::new(visit);
    let mut search = Search {
        depth: 0,
        found: |expr: &Expr| {
            match expr {
                Expr::Identifier(name) => (visit.borrow_mut())(std::slice::from_ref(name)),
                Expr::CompoundIdentifier(parts) => (visit.borrow_mut())(parts),
                _ => {}
            }
            false
        },
    };
    let _: ControlFlow<()> = Visit::visit(expr, &mut search);
}

/// The outermost queries within an expression.
struct Queries {
    depth: usize,
    found: Vec<Query>,
}

impl Visitor for Queries {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.depth == 0 {
            self.found.push(query.clone());
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// Takes the values out of an expression.
struct Values(Vec<Scalar>);

impl VisitorMut for Values {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        self.0.push(scalar_of(&value.value));
        value.value = Value::Placeholder("?".into());
        ControlFlow::Continue(())
    }
}

/// The condition of a join.
fn constraint(join: &JoinOperator) -> Option<&Expr> {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)
    | JoinOperator::Right(constraint)
    | JoinOperator::RightOuter(constraint)
    | JoinOperator::FullOuter(constraint)
    | JoinOperator::CrossJoin(constraint)
    | JoinOperator::StraightJoin(constraint)) = join
    else {
        return None;
    };
    match constraint {
        JoinConstraint::On(expr) => Some(expr),
        _ => None,
    }
}

/// The operator for the two sides in the other order.
fn turned(op: &BinaryOperator) -> Option<&'static str> {
    Some(match op {
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "<>",
        BinaryOperator::Lt => ">",
        BinaryOperator::LtEq => ">=",
        BinaryOperator::Gt => "<",
        BinaryOperator::GtEq => "<=",
        _ => return None,
    })
}

/// A value, however it is cast.
fn scalar(expr: &Expr) -> Option<Scalar> {
    match expr {
        Expr::Value(value) => Some(scalar_of(&value.value)),
        Expr::Nested(inner) => scalar(inner),
        Expr::Cast { expr, .. } => scalar(expr),
        Expr::TypedString(typed) => Some(scalar_of(&typed.value.value)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match scalar(expr)? {
            Scalar::Number(number) => Some(Scalar::Number(format!("-{number}"))),
            _ => None,
        },
        _ => None,
    }
}

fn scalar_of(value: &Value) -> Scalar {
    match value {
        Value::Null => Scalar::Null,
        Value::Boolean(truth) => Scalar::Bool(*truth),
        Value::Number(number, _) => Scalar::Number(number.clone()),
        Value::Placeholder(name) => {
            name.trim_start_matches('$').parse().map_or_else(|_| Scalar::Text(String::new()), Scalar::Param)
        }
        other => Scalar::Text(other.clone().into_string().unwrap_or_default()),
    }
}
