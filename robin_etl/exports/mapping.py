"""Mapping: the cells of a file, as a profile says they are written, to ROBIN's columns. Pure.

No cell is dropped for being wrong: what can't be read becomes null beside its raw text, for the gate's
rules to catch. Left out, and counted, are only the orders that are none yet and those that the profile
leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from robin_etl.core import columns, dates
from robin_etl.exports import choosing, damage
from robin_etl.exports.cells import FileCells

if TYPE_CHECKING:
    from robin_etl.exports.profiles import Profile, Status

SURPLUS = "surplus_cells"
CUT_OFF = "cut_off"

# What `customer_from` says of a row that names its customer itself.
FROM_ROW = "row"

# Control characters, and those that turn the direction of text or have no width: a database may refuse
# the first, and no person sees the others.
_UNPRINTABLE = r"[\x00-\x1f\x7f-\x9f\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{206f}\x{feff}]"
_LONGEST = 1_000


@dataclass(frozen=True)
class Orders:
    """Orders, as ROBIN's columns (`columns.EXPORTED_DTYPES`), with what the gate asks beside them.

    In `rows` that is `customer_from`, what says who the customer is, null where nothing does;
    `revenue_text`, `profit_text` and `order_date_text`, as they were; `days_ahead` of the export's day;
    `other_currency`, where an order is in one that the shop does not report in; `unsendable`, the column
    that holds control characters or far too much; `damaged`, the column that a spreadsheet has made
    something else of; `surplus_cells`, what stood beyond the header's last
    column; and `cut_off`, of the row within which the file ends.
    `cells` and `lines` are those of each order's first row. All three have one index. `left_out`: how
    many orders are not among them, by reason: `choosing.PENDING` of those that are none yet.
    """

    cells: pd.DataFrame
    lines: pd.Series
    rows: pd.DataFrame
    left_out: Mapping[str, int]

    def keep(self, chosen: npt.NDArray[np.bool_]) -> Orders:
        """The chosen ones alone."""
        cells, rows = (frame[chosen].reset_index(drop=True) for frame in (self.cells, self.rows))
        return Orders(cells, self.lines[chosen].reset_index(drop=True), rows, self.left_out)


def map_cells(cells: pd.DataFrame, lines: pd.Series, profile: Profile, day: date) -> Orders:
    """Read these cells as the profile says. `lines`: the line each row starts on.

    Of a profile whose rows are line items, all rows of an order have to be among these.
    """
    cells, lines, left_out = choosing.choose_rows(cells, lines, profile)
    file = FileCells(cells, profile)
    rows = _build_rows(file, profile, day)
    cells = cells.drop(columns=CUT_OFF, errors="ignore")
    if profile.grain == "line":
        cells = cells.iloc[file.first_rows].reset_index(drop=True)
        lines = lines.iloc[file.first_rows].reset_index(drop=True)
    orders = Orders(cells, lines, rows, left_out)
    if profile.currency and profile.currency.others == "leave_out":
        orders = _leave_out(orders, rows["other_currency"].notna(), choosing.OTHER_CURRENCY)
    return _apply_status(orders, file, profile.status) if profile.status else orders


def _apply_status(orders: Orders, file: FileCells, meaning: Status) -> Orders:
    """What is cancelled or refunded is worth nothing, and what is pending is left out."""
    statuses = [file.find_texts(name).str.lower().loc[orders.rows.index] for name in meaning.column]
    no_row = pd.Series(data=False, index=orders.rows.index)

    def is_any_of(values: tuple[str, ...]) -> pd.Series:
        found = no_row
        for status in statuses:
            found = found | status.isin(values)
        return found

    is_cancelled = is_any_of(meaning.cancelled)
    if meaning.cancelled_if_filled:
        is_cancelled = is_cancelled | file.find_texts(meaning.cancelled_if_filled).notna()
    is_pending = is_any_of(meaning.pending)
    if meaning.pending_if_blank:
        is_pending = is_pending | file.find_texts(meaning.pending_if_blank).isna()
    rows = _value_at_nothing(orders.rows, is_cancelled | is_any_of(meaning.refunded))
    rows = rows.assign(is_cancelled=is_cancelled.astype(columns.FLAG))
    # One that is pending and cancelled is cancelled: ROBIN may know it from before.
    return _leave_out(replace(orders, rows=rows), is_pending & ~is_cancelled, choosing.PENDING)


def _leave_out(orders: Orders, is_none: pd.Series, reason: str) -> Orders:
    """Without these orders, which are counted under that reason."""
    chosen = is_none.to_numpy(dtype=np.bool_)
    if not chosen.any():
        return orders
    left_out = {**orders.left_out, reason: int(chosen.sum())}
    return replace(orders.keep(~chosen), left_out=left_out)


def mark_cut_off(cells: pd.DataFrame) -> pd.DataFrame:
    """The same cells; of their last row is said that the file ends within it."""
    marks = pd.Series(pd.NA, index=cells.index, dtype=columns.TEXT)
    marks.iloc[-1:] = "the file ends within it"
    return cells.assign(**{CUT_OFF: marks})


def _build_rows(file: FileCells, profile: Profile, day: date) -> pd.DataFrame:
    sources = profile.columns
    number = file.find_texts(sources.order_number)
    revenue, revenue_text = file.find_cents("revenue")
    profit, profit_text = file.find_cents("profit")
    placed = file.find_dates()
    moments = dates.parse_moments(placed, profile.timezone, profile.date_formats)
    rows = pd.DataFrame(
        {
            "order_number": profile.order_prefix + number if profile.order_prefix else number,
            "day": pd.Series(day.isoformat(), index=number.index, dtype=columns.TEXT),
            "email_address": file.find_addresses(*sources.email_address),
            "phone_number": file.find_numbers(*sources.phone_number),
            "revenue": revenue,
            "profit": profit,
            "order_date": moments,
            "webstore_url": _find_webstores(file, profile),
            "is_cancelled": pd.Series(data=False, index=number.index, dtype=columns.FLAG),
            "revenue_text": revenue_text,
            "profit_text": profit_text,
            "order_date_text": placed,
            "days_ahead": dates.count_days_ahead(moments, day, profile.timezone),
            "other_currency": _find_other_currency(file, profile),
            SURPLUS: file.find_texts(SURPLUS),
            CUT_OFF: file.find_texts(CUT_OFF),
        }
    )
    return rows.assign(
        unsendable=_find_unsendable(rows),
        damaged=_find_damaged(rows, number),
        customer_from=_name_sources(rows["email_address"].notna() | rows["phone_number"].notna()),
    )


def _name_sources(is_named: pd.Series) -> pd.Series:
    """That the row itself says who its customer is, where it does."""
    return columns.to_series(pc.if_else(columns.to_arrow(is_named), FROM_ROW, None), is_named.index)


def _find_damaged(rows: pd.DataFrame, number: pd.Series) -> pd.Series:
    """Which column of an order a spreadsheet has made something else of; `number` as the file has it."""
    unread = rows["order_date_text"].mask(rows["order_date"].notna())
    found = pd.Series(index=rows.index, dtype=columns.TEXT)
    for name, is_damaged in (
        ("order_date", damage.find_damaged_dates(unread)),
        ("order_number", damage.find_damaged_numbers(number)),
    ):
        if is_damaged.any():
            found = found.mask(is_damaged, name)
    return found


def _find_unsendable(rows: pd.DataFrame) -> pd.Series:
    """Which column of an order holds what no order number, phone number or address of a shop does."""
    found = pd.Series(index=rows.index, dtype=columns.TEXT)
    for name in ("order_number", "phone_number", "webstore_url"):
        strings = columns.to_arrow(rows[name], pa.string())
        bad = pc.or_(
            pc.match_substring_regex(strings, _UNPRINTABLE),
            pc.greater(pc.utf8_length(strings), _LONGEST),
        )
        if pc.any(bad).as_py():
            found = found.mask(pd.Series(pc.fill_null(bad, fill_value=False), index=found.index), name)
    return found


def _find_webstores(file: FileCells, profile: Profile) -> pd.Series:
    named = file.find_texts(*profile.columns.webstore_url)
    return named.fillna(profile.webstore_url) if profile.webstore_url else named


def _find_other_currency(file: FileCells, profile: Profile) -> pd.Series:
    if profile.currency is None:
        return file.find_texts()
    currency = file.find_texts(profile.currency.column)
    return currency.where(currency.str.upper() != profile.currency.code)


def _value_at_nothing(rows: pd.DataFrame, is_worthless: pd.Series) -> pd.DataFrame:
    """Cancelled and refunded orders are worth nothing, whatever their row still says."""
    had_profit = is_worthless & rows["profit_text"].notna()
    return rows.assign(
        revenue=rows["revenue"].mask(is_worthless, 0),
        revenue_text=rows["revenue_text"].mask(is_worthless, "0"),
        profit=rows["profit"].mask(had_profit, 0),
    )
