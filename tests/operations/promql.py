"""PromQL taken apart, with each part's surroundings: what `promql_parser.walk` does not tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import promql_parser as promql

N = TypeVar("N")
Path = tuple[promql.Expr, ...]  # from the whole expression down to a part, without the part


def parts(expression: str) -> Iterator[tuple[promql.Expr, Path]]:
    """Every part of the expression with what it stands in. ValueError where it is no PromQL."""
    return _below(promql.parse(expression), ())


def _below(part: promql.Expr, path: Path) -> Iterator[tuple[promql.Expr, Path]]:
    yield part, path
    for child in _children(part):
        yield from _below(child, (*path, part))


def _children(part: promql.Expr) -> list[promql.Expr]:
    match part:
        case promql.BinaryExpr():
            return [part.lhs, part.rhs]
        case promql.Call():
            return list(part.args)
        case promql.AggregateExpr():
            return [part.expr, *([part.param] if part.param else [])]
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return [part.expr]
        case promql.MatrixSelector():
            return [part.vector_selector]
    return []


def of_kind(expression: str, kind: type[N]) -> Iterator[tuple[N, Path]]:
    """The parts of one kind, with what they stand in."""
    return ((part, path) for part, path in parts(expression) if isinstance(part, kind))


def selectors(expression: str) -> Iterator[tuple[promql.VectorSelector, Path]]:
    """What the expression selects, ranges included."""
    return of_kind(expression, promql.VectorSelector)


def metrics(expression: str) -> set[str]:
    """The names that the expression selects by."""
    return {selector.name or "" for selector, _ in selectors(expression)}


def called(path: Path) -> str:
    """The function that a part is an argument of, empty if it is none's."""
    return path[-1].func.name if path and isinstance(path[-1], promql.Call) else ""


def labels(expression: str) -> set[str]:
    """The labels that the expression matches on, and those that it keeps in `by (…)`."""
    matched = {matcher.name for selector, _ in selectors(expression) for matcher in selector.matchers.matchers}
    kept: set[str] = set()
    for aggregate, _ in of_kind(expression, promql.AggregateExpr):
        kept.update(aggregate.modifier.labels if aggregate.modifier else ())
    return matched | kept
