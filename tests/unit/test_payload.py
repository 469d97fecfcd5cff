"""What a request says: keys, money, waves and chunks."""

from __future__ import annotations

import json
from decimal import Decimal

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from robin_etl.core import columns, payload


def changes(*rows: dict[str, object]) -> pd.DataFrame:
    usual = {
        "order_number": "01235",
        "email_address": "ann@x.nl",
        "revenue": 11334,
        "order_date": "2017-04-05T12:34:56Z",
        "is_first_order": True,
        "kind": "first",
        "wave": 0,
    }
    return columns.conform(pd.DataFrame([{**usual, **row} for row in rows]), columns.CHANGE_DTYPES)


def sent(*rows: dict[str, object]) -> list[dict[str, object]]:
    orders: list[dict[str, object]] = json.loads(
        payload.encode_body(payload.encode_payloads(changes(*rows)))
    )["orders"]
    return orders


def test_a_first_order_says_no_more_than_it_has() -> None:
    assert sent({}) == [
        {
            "order_number": "01235",
            "email_address": "ann@x.nl",
            "revenue": 113.34,
            "order_date": "2017-04-05T12:34:56Z",
            "is_first_order": True,
        }
    ]


def test_an_update_says_what_robin_held() -> None:
    row = {"kind": "return", "revenue": 0, "old_revenue": 11334, "profit": -5, "old_profit": 100}
    (order,) = sent({**row, "phone_number": "+316", "webstore_url": "https://a"})
    assert order["revenue"] == 0
    assert order["old_revenue"] == 113.34
    assert (order["profit"], order["old_profit"]) == (-0.05, 1)
    assert (order["phone_number"], order["webstore_url"]) == ("+316", "https://a")


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "order_number": st.text(st.characters(codec="utf-8"), min_size=1),
                "email_address": st.none() | st.text(st.characters(codec="utf-8"), min_size=1),
                "revenue": st.integers(0, 10**15 - 1),
                "profit": st.none() | st.integers(-(10**15), 10**15),
                "is_first_order": st.booleans(),
            }
        ),
        max_size=4,
    )
)
def test_a_body_reads_back_as_what_was_to_be_said(rows: list[dict[str, object]]) -> None:
    if rows:
        for row, order in zip(rows, sent(*rows), strict=True):
            for name, value in row.items():
                expected = (
                    value / 100 if isinstance(value, int) and not isinstance(value, bool) else value
                )
                assert order.get(name) == expected


@given(st.integers(-(10**15), 10**15 - 1))
def test_money_is_the_shortest_json_number_of_its_value(cents: int) -> None:
    body = payload.encode_body(payload.encode_payloads(changes({"profit": cents})))
    (order,) = json.loads(body, parse_float=Decimal, parse_int=Decimal)["orders"]
    assert order["profit"] == Decimal(cents) / 100
    number = str(body).partition('"profit":')[2].partition(",")[0]
    assert len(number) <= len(f"{Decimal(cents) / 100:f}")


def test_what_is_kept_of_a_payload_names_nobody() -> None:
    (change,) = payload.make_changes(changes({"phone_number": "+316"}))
    assert set(json.loads(change.kept)) == {
        "order_number",
        "revenue",
        "order_date",
        "is_first_order",
    }


def test_a_body_is_utf8_json_with_one_list() -> None:
    body = payload.encode_body(payload.encode_payloads(changes({"order_number": "é\u2028"})))
    assert list(json.loads(body)) == ["orders"]
    assert "é".encode() in body


def test_waves_come_in_order_and_chunks_are_full() -> None:
    table = changes(*({"order_number": f"{n}", "wave": n % 2} for n in range(7)))
    sizes = [
        (wave, len(chunk))
        for wave, chunk in payload.split_into_chunks(
            [table.sort_values("wave")], 3, payload.make_changes
        )
    ]
    assert sizes == [(0, 3), (0, 1), (1, 3)]


rows_of_a_part = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), max_size=9).map(sorted)


@given(st.lists(rows_of_a_part, min_size=1, max_size=4), st.integers(1, 3))
def test_merged_parts_are_wave_by_wave_and_oldest_first_and_lose_nothing(
    parts: list[list[tuple[int, int]]], size: int
) -> None:
    tables = [
        changes(
            *(
                {"order_number": f"{part}-{at}", "wave": wave, "order_date": f"2017-04-0{day}T00:00:00Z"}
                for at, (wave, day) in enumerate(rows)
            )
        )
        if rows
        else columns.make_empty(columns.CHANGE_DTYPES)
        for part, rows in enumerate(parts)
    ]
    streams = [
        iter([table.iloc[at : at + size] for at in range(0, len(table) + 1, size)]) for table in tables
    ]
    merged = list(payload.merge_partitions(streams))
    sequence = [row for table in merged for row in zip(table["wave"], table["order_date"], strict=True)]
    assert sequence == sorted(sequence)
    numbers = [number for table in merged for number in table["order_number"]]
    assert sorted(numbers) == sorted(n for table in tables for n in table["order_number"])


def test_many_parts_are_merged_in_as_many_steps_as_one_of_them_has_frames() -> None:
    frames, rows, parts = 10, 4, 8
    moments = [f"2017-04-05T12:{n // 60:02}:{n % 60:02}Z" for n in range(frames * rows * parts)]
    orders: list[dict[str, object]] = [
        {"order_number": f"{n}", "order_date": at} for n, at in enumerate(moments)
    ]
    table = changes(*orders)
    streams = [
        iter([table.iloc[part::parts][at : at + rows] for at in range(0, frames * rows, rows)])
        for part in range(parts)
    ]
    merged = list(payload.merge_partitions(streams))
    assert pd.concat(merged)["order_number"].tolist() == table["order_number"].tolist()
    assert len(merged) <= frames + 1


def test_chunks_are_filled_across_frames_and_never_across_waves() -> None:
    def numbered(*numbers: str, wave: int) -> pd.DataFrame:
        return changes(*({"order_number": number, "wave": wave} for number in numbers))

    frames = [numbered(*"ab", wave=0), numbered(*"cd", wave=0), numbered(*"ef", wave=1)]
    made = list(payload.split_into_chunks(frames, 3, lambda rows: rows["order_number"].tolist()))
    assert made == [(0, ["a", "b", "c"]), (0, ["d"]), (1, ["e", "f"])]
    mixed = pd.concat([numbered(*"xy", wave=1), numbered("z", wave=0)], ignore_index=True)
    made = list(payload.split_into_chunks([mixed], 1, lambda rows: rows["order_number"].tolist()))
    assert made == [(0, ["z"]), (1, ["x"]), (1, ["y"])]


def test_text_beyond_ascii_is_sent_as_it_is() -> None:
    assert payload.encode_payloads(changes({"order_number": 'é"'}))[0].startswith(
        '{"order_number":"é\\""'
    )
