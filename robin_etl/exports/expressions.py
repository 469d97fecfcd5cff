"""Money as an expression of an export's columns: `[Total] - [Refunded Amount]?`, `sum(qty * price)`.

Exact: values are decimals throughout and rounded once, at the end. Only what an export needs is
allowed: columns, numbers, `+ - *`, brackets, and `sum(…)` over the line items of an order.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

# A column is named in square brackets, in back quotes where it has brackets itself, or as it is where it
# is one plain word; `?` allows a blank.
_COLUMN = re.compile(r"(?:\[([^\[\]]+)\]|`([^`]+)`)(\?)?|\b([^\W\d]\w*)\b(\?)?(?!\s*\()")
_SUM = "sum"

# Wide enough for products of three columns and dozens of sums.
_DECIMAL = pa.decimal256(22, 6)
ZERO = pa.scalar("0").cast(_DECIMAL)

_OPERATIONS: Mapping[type[ast.operator], Callable[[pa.Array, pa.Array], pa.Array]] = {
    ast.Add: pc.add,
    ast.Sub: pc.subtract,
    ast.Mult: pc.multiply,
}


@dataclass(frozen=True)
class Column:
    """A column that an expression names. `optional`: a blank cell, or no such column, counts as 0;
    `summed`: it is a line item's, and added up over the lines of an order.
    """

    name: str
    optional: bool
    summed: bool


@dataclass(frozen=True)
class Expression:
    """An expression, parsed: `columns` in the order they are named."""

    text: str
    columns: tuple[Column, ...]
    _tree: ast.expr
    _names: Mapping[str, Column]

    @property
    def is_column(self) -> bool:
        """Whether it is one column as it stands."""
        return isinstance(self._tree, ast.Name) and not self.columns[0].optional

    def evaluate(
        self, find_decimals: Callable[[Column], pa.Array], sum_lines: Callable[[pa.Array], pa.Array]
    ) -> pa.Array:
        """Its value for each order; null where a column that it needs is.

        `find_decimals` gives a column's, a line item's for one that is `summed`, `ZERO` where an
        optional one is blank; `sum_lines` adds up the lines of each order, null where one of them is.
        """
        return self._evaluate(self._tree, find_decimals, sum_lines)

    def _evaluate(
        self,
        node: ast.expr,
        find_decimals: Callable[[Column], pa.Array],
        sum_lines: Callable[[pa.Array], pa.Array],
    ) -> pa.Array:
        match node:
            case ast.BinOp(left, operator, right):
                both = (self._evaluate(side, find_decimals, sum_lines) for side in (left, right))
                return _OPERATIONS[type(operator)](*both)
            case ast.UnaryOp(ast.USub(), operand):
                return pc.negate(self._evaluate(operand, find_decimals, sum_lines))
            case ast.Call(_, [inner]):
                items = self._evaluate(inner, find_decimals, sum_lines)
                # Arrow gives a sum all the digits there are, which leaves none for what follows.
                return sum_lines(items).cast(pa.decimal256(items.type.precision + 8, items.type.scale))
            case ast.Name(name):
                return find_decimals(self._names[name])
            case _:
                assert isinstance(node, ast.Constant)
                return pa.scalar(str(node.value)).cast(_DECIMAL)


def parse_expression(text: str) -> Expression:
    """An expression; raises `ValueError` with a sentence on what can't be one."""
    named: dict[str, tuple[str, bool]] = {}

    def note_column(found: re.Match[str]) -> str:
        bracketed, quoted, maybe, plain, plain_maybe = found.groups()
        name = f"_{len(named)}"
        named[name] = (bracketed or quoted or plain, bool(maybe or plain_maybe))
        return name

    try:
        tree = ast.parse(_COLUMN.sub(note_column, text).strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"{text!r} can't be read; name columns like [Grand Total (Base)]") from None
    names: dict[str, Column] = {}
    _check_node(tree, text, named, names, summed=False)
    if not names:
        raise ValueError(f"{text!r} names no column")
    expression = Expression(text, tuple(names.values()), tree, names)
    try:
        expression.evaluate(lambda _: pa.array([], _DECIMAL), lambda items: items)
    except pa.ArrowInvalid:
        raise ValueError(f"{text!r} multiplies more columns than can be counted exactly") from None
    return expression


def name_column(name: str) -> str:
    """A column as an expression names it."""
    return f"`{name}`" if "[" in name or "]" in name else f"[{name}]"


def _check_node(
    node: ast.expr,
    text: str,
    named: Mapping[str, tuple[str, bool]],
    names: dict[str, Column],
    *,
    summed: bool,
) -> None:
    match node:
        case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult(), right):
            _check_node(left, text, named, names, summed=summed)
            _check_node(right, text, named, names, summed=summed)
        case ast.UnaryOp(ast.USub(), operand):
            _check_node(operand, text, named, names, summed=summed)
        case ast.Call(ast.Name(called), [inner], []) if called == _SUM and not summed:
            _check_node(inner, text, named, names, summed=True)
        case ast.Name(name) if name in named:
            names[name] = Column(*named[name], summed)
        case ast.Constant(int() | float()):
            pass
        case _:
            raise ValueError(f"{text!r} has more in it than columns, numbers, + - * and sum(…)")


def to_decimals(strings: pa.Array) -> pa.Array:
    """Plain decimal numbers as text, to the type that expressions count in."""
    return pc.cast(pc.replace_substring_regex(strings, r"(\.\d{6})\d+$", r"\1"), _DECIMAL)
