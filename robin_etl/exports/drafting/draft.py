"""A draft of a profile: what was decided, with the reason, and what could not be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from robin_etl.core import columns
from robin_etl.exceptions import ExportError
from robin_etl.exports.drafting import (
    amount_styles,
    column_names,
    date_formats,
    names,
    revenue,
    statuses,
    writing,
)
from robin_etl.exports.drafting.column_names import Found
from robin_etl.exports.drafting.grain import find_grain
from robin_etl.exports.drafting.questions import Question
from robin_etl.exports.drafting.writing import Line
from robin_etl.exports.profiles import Profile, find_fitting
from robin_etl.exports.sampling import Sample

_NAMED = 60


@dataclass
class Draft:
    """The `text` of a TOML file, and the questions that it leaves: it can't be used before they are
    answered.
    """

    text: str = ""
    questions: list[Question] = field(default_factory=list)


def draft_profile(sample: Sample, answers: Mapping[str, str] | None = None) -> Draft:
    """A draft for a file with these rows. `answers` are to questions of an earlier draft, by their key.

    Raises `ExportError` for a file that no profile could make orders of.
    """
    fitting = find_fitting(sample.columns)
    if fitting and fitting.unusable:
        raise ExportError(f"{sample.path} can't be used. {fitting.unusable}", path=sample.path)
    if sample.rows.empty:
        raise ExportError(
            f"{sample.path} has a header and no rows, which would say how it is written. Draft the "
            "profile from an export that has orders.",
            path=sample.path,
        )
    if any("@" in name for name in sample.columns):
        raise ExportError(
            f"{sample.path} has no header: its first row has an address where a column's name should "
            "be. Have the shop system write the names of the columns above the rows.",
            path=sample.path,
        )
    trimmed = replace(sample, rows=column_names.drop_sums(sample.rows).apply(columns.trim))
    drafter = _Drafter(trimmed, answers or {})
    lines = list(drafter.extend(fitting) if fitting else drafter.write_whole())
    return Draft(writing.write_lines(lines), drafter.questions)


class _Drafter:
    """One draft: its lines, and the questions that come up on the way."""

    def __init__(self, sample: Sample, answers: Mapping[str, str]) -> None:
        self._sample = sample
        self._answers = answers
        self.questions: list[Question] = []

    def write_whole(self) -> Iterator[Line]:
        """The lines of a profile that stands alone."""
        rows = self._sample.rows
        found = column_names.find_columns(self._sample, self.ask)
        grain = find_grain(rows, found, self.ask)
        worth = revenue.find_revenue(rows, found, grain, self.ask)
        yield Line(remark=f"Columns of the file: {writing.name_columns(list(rows.columns), _NAMED)}")
        yield from writing.write_layout(self._sample, None)
        yield from self._write_amounts(worth.columns, has_currency=bool(found.currency))
        yield from self._write_dates(found)
        yield from writing.write_grain(grain)
        if grain.is_continued:
            yield Line(
                "continued", value=True, remark="rows without a number go on with the order above"
            )
        yield Line()
        yield Line("[columns]")
        yield from writing.write_columns(found, worth)
        yield from writing.write_strip(rows, found)
        meaning = statuses.find_statuses(rows, found, self.ask)
        yield from statuses.write_statuses(meaning, None)
        yield from writing.write_currency(rows, found.currency)
        if worth.refunds:
            yield from writing.write_refunds(worth.refunds)
        yield from writing.write_left_out(rows, meaning.unpaid)
        yield from writing.suggest_leaving_out(rows, found)

    def extend(self, fitting: Profile) -> Iterator[Line]:
        """The lines that are laid over a shipped profile."""
        rows = self._sample.rows
        yield Line(remark=f"The shipped profile {fitting.name} fits: {fitting.title}.")
        yield Line(remark="What is written here is laid over it, since this file is written so.")
        yield Line("extends", fitting.name)
        yield from writing.write_layout(self._sample, fitting)
        money = [column.name for one in fitting.money.values() for column in one.columns]
        yield from self._write_amounts(money, fitting, has_currency=fitting.currency is not None)
        found = column_names.take_from(fitting, rows)
        yield from self._write_dates(found, fitting)
        grain = find_grain(rows, found, self.ask)
        if fitting.grain == "order" and grain.is_repeated and grain.name == "line":
            yield Line("grain", "line", grain.why)
        meaning = statuses.find_statuses(rows, found, self.ask, fitting)
        yield from statuses.write_statuses(meaning, fitting)

    def ask(self, question: Question) -> str | None:
        """The answer to a question, None where nobody has given any yet: it is noted then."""
        answer = self._answers.get(question.key)
        if answer is None:
            self.questions.append(question)
        return answer

    def _write_amounts(
        self, amounts: list[str], fitting: Profile | None = None, *, has_currency: bool
    ) -> Iterator[Line]:
        there = [self._sample.rows[name] for name in amounts if name in self._sample.rows]
        found = amount_styles.find_style(
            there, fitting.amount_style if fitting else None, self._sample, self.ask
        )
        if not has_currency:
            found = amount_styles.choose_currency(found, self.ask)
        yield from writing.write_style(found, fitting)

    def _write_dates(self, found: Found, fitting: Profile | None = None) -> Iterator[Line]:
        if not found.order_date:
            return
        texts = found.join_dates(self._sample.rows)
        formats = date_formats.find_formats(
            texts,
            self.ask,
            known=fitting,
            is_day_first=self._sample.layout.delimiter == ";",
        )
        is_utc = formats.is_local and any(map(names.is_in_utc, found.order_date))
        yield from writing.write_dates(replace(formats, is_utc=is_utc), fitting)
