"""What one export holds, and whether a run would take it: a look that writes and posts nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import pandas as pd

from robin_etl.core import columns, versions
from robin_etl.core.outcomes import DEGRADED, DONE, STOPPED
from robin_etl.exceptions import ConfigurationError, GateError
from robin_etl.exports import files, profiles, sampling
from robin_etl.exports.choosing import add_counts
from robin_etl.exports.profiles import Profile
from robin_etl.exports.sampling import Sample
from robin_etl.gate import EXPORT_SUITE, SuiteCheck, load_suite
from robin_etl.ledger import Ledger
from robin_etl.settings import Settings
from robin_etl.stages.extract import compute_most, gather, make_finder
from robin_etl.stages.records import list_to_look_at

# Of a currency; what else a cell may be is shown nowhere.
_CODE = re.compile(r"[A-Za-z]{3}")


@dataclass(frozen=True)
class Check:
    """What one export holds: counts, broken rows by rule, the first good rows as text (order_number,
    revenue, profit, order_date, kind of contact), the `orders` and their `revenue` in cents that would
    be told, the `cancelled` ones that would not, and why a run would stop at it, if it would.

    `warnings`: the names of the rules that failed and only warn.

    `profile`: the one that was used, and `to_set` the settings that a run needs to use it.
    """

    file: str
    profile: str
    to_set: dict[str, str]
    rows: int
    left_out: int
    left_out_by: dict[str, int]
    without_customer: int
    quarantined: int
    duplicates: int
    rules: dict[str, int]
    warnings: tuple[str, ...]
    first_rows: list[list[str]]
    orders: int
    revenue: int
    cancelled: int
    stop: str | None

    @property
    def outcome(self) -> str:
        """What a run over it alone would be, as far as its rows say: done, degraded or stopped."""
        if self.stop:
            return STOPPED
        return DEGRADED if self.to_look_at else DONE

    @property
    def to_look_at(self) -> tuple[str, ...]:
        """What somebody has to look at, in words."""
        return list_to_look_at(quarantined=self.quarantined, warnings=self.warnings)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {"outcome": self.outcome, **asdict(self)}


def check(settings: Settings, file: str, day: date) -> Check:
    """Read, map and validate one export; nothing is written. Raises `ExportError`.

    Where the profile that is set does not fit, the shipped one that does is used.
    """
    path = settings.path(file)
    profile, to_set = _fitting(settings, sampling.take_sample(path, settings.max_export_size))
    return check_as(settings, file, day, profile, to_set)


def try_profile(settings: Settings, file: str, day: date, profile: Profile, sample: Sample) -> Check:
    """What a file holds by a profile that is not set yet; raises what `check` does."""
    completed, to_set = _complete(settings, profile, sample)
    return check_as(settings, file, day, completed, to_set)


def check_as(
    settings: Settings, file: str, day: date, profile: Profile, to_set: dict[str, str]
) -> Check:
    """What a file holds by a profile that is whole; `to_set` are the settings that would name it."""
    path = settings.path(file)
    suite = load_suite(settings.path(settings.expectations) / EXPORT_SUITE)
    gate = SuiteCheck(suite, {"fewest_rows": 0})
    parts: list[pd.DataFrame] = []
    left_out: Mapping[str, int] = {}
    size = without_customer = 0
    with Ledger.open(settings.ledger, read_only=True) as ledger:
        finder = make_finder(profile, ledger)
        read = files.read_batches(path, profile, day, most_bytes=settings.max_export_size)
        # Of a batch no more is kept than its rows: the file may have many columns beside them.
        for together in gather(read, lambda export: export):
            settled = [finder.settle(export) for export in together]
            checked = pd.concat([export.orders.rows for export, _ in settled], ignore_index=True)
            checked.index += size
            named = gate.check_batch(checked)
            gate.stop_at_nearly_all_broken(file)
            parts.append(
                checked.assign(broken=pd.array(checked.index.isin(named.index), dtype=columns.FLAG))
            )
            size += len(checked)
            without_customer += sum(count for _, count in settled)
            left_out = add_counts((left_out, *(export.orders.left_out for export, _ in settled)))
    rows = pd.concat(parts)
    most = compute_most(suite, rows["revenue"][~rows["broken"]])
    verdict = gate.finish(lambda names: rows[names], {"most_revenue": most})
    kept, duplicates = versions.keep_last_rows(rows)
    try:
        verdict.stop_unless_passed(file)
        stop = None
    except GateError as error:
        stop = str(error)
    told = kept[~kept["is_cancelled"]]
    head = told.head(5)
    money = [
        (head[name] / 100).map("{:.2f}".format, na_action="ignore") for name in ("revenue", "profit")
    ]
    # A terminal is no place for an address; which kind of contact there is says enough.
    contact = _name_contacts(head)
    shown = pd.concat([head["order_number"], *money, head["order_date"], contact], axis=1)
    return Check(
        file=file,
        profile=profile.name,
        to_set=to_set,
        left_out=sum(left_out.values()),
        left_out_by=dict(left_out),
        without_customer=without_customer,
        rows=verdict.rows,
        quarantined=verdict.broken_rows,
        duplicates=duplicates,
        rules={rule.rule: rule.broken for rule in verdict.rules if rule.is_row_rule},
        warnings=verdict.warnings,
        first_rows=shown.astype(object).fillna("").astype(str).to_numpy().tolist(),
        orders=len(told),
        revenue=int(told["revenue"].sum()),
        cancelled=len(kept) - len(told),
        stop=stop,
    )


def _name_contacts(rows: pd.DataFrame) -> pd.Series:
    is_named = rows["email_address"].notna() | rows["phone_number"].notna()
    kinds = rows["email_address"].notna().map({True: "e-mail", False: "phone"})
    return kinds.where(is_named, "as before").rename("contact")


def _fitting(settings: Settings, sample: Sample) -> tuple[Profile, dict[str, str]]:
    """The profile to read a file with, whole, and the settings that would name it so."""
    profile = profiles.load_profile(settings.profile)
    to_set: dict[str, str] = {}
    if profile.find_missing(sample.columns) and (other := profiles.find_fitting(sample.columns)):
        profile = other
        to_set["ROBIN_ETL_PROFILE"] = profile.name
    if profile.unusable:
        raise ConfigurationError(profile.unusable)
    completed, more = _complete(settings, profile, sample)
    return completed, to_set | more


def _complete(settings: Settings, profile: Profile, sample: Sample) -> tuple[Profile, dict[str, str]]:
    """A profile with what settings say, and those that it lacks, as far as the file can tell them."""
    to_set: dict[str, str] = {}
    if not (profile.timezone or settings.timezone):
        to_set["ROBIN_ETL_TIMEZONE"] = "UTC"
    currency = profile.currency
    if currency and not (currency.code or settings.currency):
        said = sample.rows.get(currency.column, pd.Series(dtype=columns.TEXT)).dropna().mode()
        to_set["ROBIN_ETL_CURRENCY"] = next(filter(_CODE.fullmatch, said), "EUR")
    assumed = {
        "timezone": settings.timezone or to_set.get("ROBIN_ETL_TIMEZONE", ""),
        "currency": settings.currency or to_set.get("ROBIN_ETL_CURRENCY", ""),
    }
    return profile.complete(settings.model_copy(update=assumed)), to_set
