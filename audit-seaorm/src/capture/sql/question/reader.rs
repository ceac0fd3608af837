//! Going through the tree of a statement for what it asks.

use audit_core::QueryType;
use sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, Statement, TableFactor, TableWithJoins, UnaryOperator,
};

use super::expressions::{
    constraint, each_column, has_value, kind, queries_in, scalar, turned, without_values,
};
use super::{Asked, Column, Filter, Operand};
use crate::capture::sql::lex::Lang;
use crate::capture::sql::piece::{fold_ident, table};
use crate::capture::sql::{TableName, tree};

/// Where columns may come from.
#[derive(Debug, Clone)]
struct Source {
    /// What it is called in the query.
    name: String,
    /// `None`: another query.
    table: Option<TableName>,
}

pub(super) struct Reader {
    lang: Lang,
    asked: Vec<Asked>,
    /// The names of common table expressions.
    names: Vec<String>,
    /// Whether names given in the `SELECT` count before columns.
    having: bool,
}

impl Reader {
    /// What a statement is for, by which conditions, and which columns it asks for.
    pub(super) fn read(lang: Lang, statement: &Statement) -> Option<(QueryType, Option<Filter>, Vec<Asked>)> {
        let mut reader = Self { lang, asked: Vec::new(), names: Vec::new(), having: false };
        let (kind, filter) = reader.statement(statement)?;
        Some((kind, filter, reader.asked))
    }

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
        filters.extend(select.selection.as_ref().map(|expr| self.filter(expr, &visible)));
        let outer = std::mem::replace(&mut self.having, true);
        filters.extend(select.having.as_ref().map(|expr| self.filter(expr, &visible)));
        self.having = outer;
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
                // An alias may rename the columns.
                let renamed = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                sources.push(Source { name, table: (!is_expression && !renamed).then_some(table) });
                Vec::new()
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let filter = self.query(subquery, sources);
                let name = alias.as_ref().map(|alias| fold_ident(self.lang, &alias.name)).unwrap_or_default();
                sources.push(Source { name, table: None });
                filter.into_iter().collect()
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let filters = self.from(std::slice::from_ref(table_with_joins), sources);
                if let Some(alias) = alias {
                    sources.push(Source { name: fold_ident(self.lang, &alias.name), table: None });
                }
                filters
            }
            TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::JsonTable { alias, .. }
            | TableFactor::Table { alias, .. } => {
                let name = alias.as_ref().map(|alias| fold_ident(self.lang, &alias.name)).unwrap_or_default();
                sources.push(Source { name, table: None });
                Vec::new()
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
        if self.subqueries(expr, sources) {
            // Its values are among those of the expression, and may be compared with anything.
            let any = Column { tables: Vec::new(), name: String::new(), qualified: false, loose: true };
            columns.push(any);
        }
        let (text, values) = without_values(expr);
        Filter::Expression { text, values, columns }
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
        let owners: Vec<_> = sources.iter().filter(same).collect();
        let loose = self.having || owners.is_empty() || owners.iter().any(|source| source.table.is_none());
        let tables = owners.into_iter().filter_map(|source| source.table.clone()).collect();
        Some(Column { tables, name, qualified: qualifier.is_some(), loose })
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

    /// Reads the queries in an expression; whether there are any.
    fn subqueries(&mut self, expr: &Expr, sources: &[Source]) -> bool {
        let queries = queries_in(expr);
        for query in &queries {
            self.query(query, sources);
        }
        !queries.is_empty()
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
