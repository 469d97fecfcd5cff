"""What a rule of a suite may do: compare rows and columns of what it is given, in time that grows with
them alone. A suite may be a stranger's, and Great Expectations runs more than that.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# They ask for another table, or fetch what a schema refers to.
_REACH_OUT = {
    "expect_table_row_count_to_equal_other_table",
    "expect_column_values_to_match_json_schema",
}
_CONDITIONS = {"and", "or", "comparison", "nullity", "pass_through"}

# The end of a text, which the engine below spells otherwise.
_END = re.compile(r"(?<!\\)((?:\\\\)*)\\Z")

# Of pandas' own language for conditions: no more than comparing columns, and what they hold.
_NODES = (
    *(ast.Expression, ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.boolop, ast.operator),
    *(ast.unaryop, ast.cmpop, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
)
_DEAR = (ast.Pow, ast.LShift)  # a number of as many digits as it pleases
_METHODS = {"isnull", "notnull", "isna", "notna", "isin", "between"}
_METHODS_OF_TEXT = {"len", "lower", "upper", "strip", "startswith", "endswith", "isdigit", "isalpha"}
# Of the frame, not of an order: labels of rows are robin-etl's own, and others in each batch.
_LABEL = re.compile(r"index|columns|[ic]level_\d+")
_QUOTED_NAME = re.compile(r"`[^`]*`")
_LONGEST_CONDITION = 2_000


def find_fault(rule: Any) -> str | None:
    """What a rule would do that none may, in words; None for one that may be asked."""
    kind = rule.get("type") if isinstance(rule, Mapping) else None
    kwargs = rule.get("kwargs") if isinstance(rule, Mapping) else None
    if not isinstance(kwargs, Mapping) or not isinstance(kind, str):
        return None  # which Great Expectations says
    if "query" in kind or kind.startswith("unexpected_rows") or kind in _REACH_OUT:
        return (
            "asks for more than the rows that it is given: a query, another table, a schema. Use a rule "
            "on columns or rows"
        )
    for regex in find_texts([kwargs.get("regex"), kwargs.get("regex_list")]):
        try:
            # What this engine takes, it judges in time that grows with the text alone.
            pc.match_substring_regex(pa.scalar(""), _END.sub(r"\1\\z", regex))
        except (pa.ArrowInvalid, UnicodeEncodeError):
            return (
                "has a regular expression that may never end, or is none: it may have no look-around, "
                "no back-reference and no lone half of a character. Write it without"
            )
    is_text = kwargs.get("condition_parser") in (None, "pandas")
    if not _is_harmless(kwargs.get("row_condition"), is_text=is_text):
        return (
            "has a condition that would run more than a comparison of columns. Write it with names of "
            "columns, values, comparisons, and, or, not"
        )
    return None


def _is_harmless(condition: Any, *, is_text: bool) -> bool:
    if condition is None:
        return True
    if isinstance(condition, str):
        return not is_text or _compares_only(condition)
    if isinstance(condition, list):
        return all(_is_harmless(one, is_text=is_text) for one in condition)
    if not isinstance(condition, Mapping) or condition.get("type") not in _CONDITIONS:
        return False
    column = condition.get("column")
    name = column.get("name") if isinstance(column, Mapping) else None
    if isinstance(name, str) and _LABEL.fullmatch(name):
        return False
    filtered = condition.get("pass_through_filter")
    inner = condition.get("conditions", [])
    return (filtered is None or _is_harmless(filtered, is_text=True)) and (
        not isinstance(inner, list) or _is_harmless(inner, is_text=is_text)
    )


def _compares_only(text: str) -> bool:
    """Whether a condition of pandas' own language does no more than compare."""
    if len(text) > _LONGEST_CONDITION or "@" in text or "__" in text:
        return False
    if any(_LABEL.fullmatch(quoted.strip("`")) for quoted in _QUOTED_NAME.findall(text)):
        return False
    try:
        tree = ast.parse(_QUOTED_NAME.sub("column", text.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return all(_is_allowed(node, called) for node in ast.walk(tree))


def _is_allowed(node: ast.AST, called: set[ast.expr]) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and not node.keywords
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        sides = (node.left, node.right)
        return not any(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in sides)
    if isinstance(node, ast.Name) and _LABEL.fullmatch(node.id):
        return False
    if not isinstance(node, ast.Attribute):
        return isinstance(node, _NODES) and not isinstance(node, _DEAR)
    if node in called:
        is_of_text = isinstance(node.value, ast.Attribute) and node.value.attr == "str"
        return node.attr in (_METHODS_OF_TEXT if is_of_text else _METHODS)
    return node.attr == "str" and isinstance(node.value, ast.Name)


def find_texts(value: Any) -> Iterator[str]:
    """Every text anywhere in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from find_texts(inner)
