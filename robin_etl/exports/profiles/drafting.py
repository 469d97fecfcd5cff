"""A starting profile, drafted from the first rows of a file: what can be seen in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import pandas as pd

from robin_etl.core import columns, dates
from robin_etl.exports.profiles.loading import find_fitting
from robin_etl.exports.sampling import Sample

# Names of columns in exports, the likeliest first, with nothing but letters and digits left of them.
_LIKELY: dict[str, tuple[str, ...]] = {
    "order_number": (
        *("ordernumber", "orderno", "ordernr", "incrementid", "ordername", "orderid", "order"),
        *("bestelnummer", "ordernummer", "bestellnummer", "numerocommande", "number", "id", "name"),
    ),
    "email_address": (
        *("emailaddress", "customeremail", "email", "emailbilling", "billingemail", "useremail"),
        *("emailadres", "klantemail", "kundenemail", "mail"),
    ),
    "phone_number": (
        *("phonenumber", "customerphone", "phone", "phonebilling", "billingphone", "telephone"),
        *("telefoonnummer", "telefoon", "telefon", "mobile"),
    ),
    "revenue": (
        *("revenue", "grandtotal", "ordertotal", "totalamount", "ordertotalamount", "amounttotal"),
        *("totalprice", "total", "amount", "totaal", "totaalbedrag", "bedrag", "gesamtbetrag", "summe"),
    ),
    "quantity": ("quantity", "qty", "lineitemquantity", "aantal", "menge"),
    "unit_price": ("unitprice", "itemprice", "lineitemprice", "itemcost", "price", "prijs", "preis"),
    "profit": ("profit", "margin", "grossprofit", "marge", "winst", "gewinn"),
    "order_date": (
        *("orderdate", "createdat", "purchasedate", "dateordered", "placedat", "orderdatetime"),
        *("datecreated", "created", "date", "besteldatum", "bestelldatum", "orderdatum", "datum"),
    ),
    "webstore_url": ("webstoreurl", "storeurl", "shopurl", "website"),
    "status": ("status", "orderstatus", "financialstatus", "state"),
    "currency": ("currency", "ordercurrency", "currencycode", "valuta", "waehrung"),
}
_DATE_FORMATS = (
    *("%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M"),
    *("%d/%m/%Y", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y"),
    "%b %d, %Y %I:%M:%S %p",
)
# What is in the values of a status, the first that fits: an order that is refunded in part is one.
_PARTIAL = "partial"
_MEANINGS: dict[str, tuple[str, ...]] = {
    _PARTIAL: ("part", "deels", "gedeel", "teil"),
    "pending": ("pend", "unpaid", "draft", "hold", "fail", "await", "expired"),
    "cancelled": ("cancel", "void", "geannuleerd", "storn"),
    "refunded": ("refund", "terugbetaald", "erstattet"),
}
_COMMA = re.compile(r"\d,\d{1,2}$")
_POINT_GROUPS = re.compile(r"\d\.\d{3}(\D|$)")


def draft_profile(sample: Sample) -> str:
    """The text of a TOML file; a shipped profile that fits is extended."""
    fitting = find_fitting(sample.columns)
    lines = _write_extension(fitting.name) if fitting and not fitting.unusable else _write_whole(sample)
    return "\n".join(lines) + "\n"


def _write_extension(name: str) -> Iterator[str]:
    yield f"# The shipped profile {name} fits this file; what is written here is laid over it."
    yield f"extends = {json.dumps(name)}"
    yield '# timezone = "Europe/Amsterdam"'
    yield ""
    yield "# [status]"
    yield '# pending = ["pending"]        # not an order yet: left out until it is'
    yield '# cancelled = ["cancelled"]    # no order after all: worth 0, and never a first order'
    yield '# refunded = ["refunded"]      # bought, and worth 0 now'


def _write_whole(sample: Sample) -> Iterator[str]:
    found = {field: _find_likeliest(field, sample.columns) for field in _LIKELY}
    yield "# Look at every line; `robin-etl check` with this profile shows what becomes of a file."
    yield f"# Columns of the file: {', '.join(sample.columns)}"
    yield from _write_form(sample, found)
    yield ""
    yield "[columns]"
    items = (found["quantity"], found["unit_price"])
    for field in ("order_number", "email_address", "phone_number", "revenue", "profit", "order_date"):
        if field == "revenue" and not found[field] and all(items):
            yield f'revenue = "sum([{items[0]}] * [{items[1]}])"'
        else:
            yield _write_column(field, found[field])
    yield ""
    yield from _write_status(sample, found["status"])
    if found["currency"]:
        usual = sample.rows[found["currency"]].dropna().mode()
        yield "[currency]"
        yield f"column = {json.dumps(found['currency'])}"
        yield f"code = {json.dumps(usual.iloc[0] if len(usual) else 'EUR')}"


def _write_form(sample: Sample, found: Mapping[str, str | None]) -> Iterator[str]:
    """How cells, numbers and dates are written, and what a row is."""
    name = found["revenue"]
    money = (sample.rows[name] if name else pd.Series(dtype=columns.TEXT)).dropna()
    comma = bool(money.map(lambda text: bool(_COMMA.search(text))).any())
    grouped = comma and bool(money.map(lambda text: bool(_POINT_GROUPS.search(text))).any())
    yield f"delimiter = {json.dumps(sample.layout.delimiter)}"
    yield f"encoding = {json.dumps(sample.layout.encoding)}"
    yield f"decimal_mark = {json.dumps(',' if comma else '.')}"
    yield f"thousands_separator = {json.dumps('.' if grouped else '')}"
    yield f"date_formats = {json.dumps(_guess_date_formats(sample, found['order_date']))}"
    yield "# Of dates without an offset: where the shop is."
    yield 'timezone = "UTC"'
    yield "# order, or line where several rows make an order."
    yield f"grain = {json.dumps(_guess_grain(sample, found['order_number']))}"


def _write_column(field: str, name: str | None) -> str:
    is_needed = field in ("order_number", "email_address", "revenue", "order_date")
    if name is None:
        return f'{"" if is_needed else "# "}{field} = "?"'
    is_word = re.fullmatch(r"[^\W\d]\w*", name)
    shown = f"[{name}]" if field in ("revenue", "profit") and not is_word else name
    beside = "         # such as [Total] - [Refunded]?" if field == "revenue" else ""
    return f"{field} = {json.dumps(shown, ensure_ascii=False)}{beside}"


def _write_status(sample: Sample, name: str | None) -> Iterator[str]:
    if name is None:
        return
    values = sorted(sample.rows[name].dropna().str.lower().unique())[:20]
    yield "[status]"
    yield f"column = {json.dumps(name, ensure_ascii=False)}"
    yield f"# In this file: {', '.join(values)}"
    left = values
    for meaning, words in _MEANINGS.items():
        meant = [value for value in left if any(word in value for word in words)]
        left = [value for value in left if value not in meant]
        if meaning != _PARTIAL:
            yield f"{meaning} = {json.dumps(meant, ensure_ascii=False)}"
    yield ""


def _find_likeliest(field: str, columns: list[str]) -> str | None:
    plain = {re.sub(r"[\W_]", "", name.lower()): name for name in reversed(columns)}
    return next((plain[likely] for likely in _LIKELY[field] if likely in plain), None)


def _guess_grain(sample: Sample, number: str | None) -> str:
    repeated = number is not None and sample.rows[number].dropna().duplicated().mean() > 0.1
    return "line" if repeated else "order"


def _guess_date_formats(sample: Sample, name: str | None) -> list[str]:
    texts = columns.trim(sample.rows[name]).dropna() if name else pd.Series(dtype=columns.TEXT)
    fits = (
        form
        for form in (dates.ISO, *_DATE_FORMATS)
        if dates.parse_moments(texts, "UTC", (form,)).notna().all()
    )
    return [next(fits, dates.ISO)]
