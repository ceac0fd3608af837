//! Expressions: what they select, which columns, queries and values are in them.

use std::ops::ControlFlow;

use audit_core::QueryType;
use sqlparser::ast::{
    BinaryOperator, Expr, Function, GroupByExpr, Ident, JoinConstraint, JoinOperator, Query, SelectItem,
    SetExpr, UnaryOperator, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};

use super::Scalar;

/// What a query is for, by what it selects.
pub(super) fn kind(query: &Query) -> QueryType {
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

pub(super) fn has_value(expr: &Expr) -> bool {
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
pub(super) fn each_column(expr: &Expr, visit: &mut dyn FnMut(&[Ident])) {
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
pub(super) fn queries_in(expr: &Expr) -> Vec<Query> {
    let mut queries = Queries { depth: 0, found: Vec::new() };
    let _: ControlFlow<()> = Visit::visit(expr, &mut queries);
    queries.found
}

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

/// The text of an expression with `?` for each value, and the values.
pub(super) fn without_values(expr: &Expr) -> (String, Vec<Scalar>) {
    let mut emptied = expr.clone();
    let mut values = Values(Vec::new());
    let _: ControlFlow<()> = VisitMut::visit(&mut emptied, &mut values);
    (emptied.to_string(), values.0)
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
pub(super) fn constraint(join: &JoinOperator) -> Option<&Expr> {
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
pub(super) fn turned(op: &BinaryOperator) -> Option<&'static str> {
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
pub(super) fn scalar(expr: &Expr) -> Option<Scalar> {
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
