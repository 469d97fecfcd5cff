"""ROBIN's answers, settings and addresses made of anything: understood, or an error without a secret."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tests import fuzz_edges


@given(st.binary(max_size=300))
@example(b"\x00\x64\x03\x09\n\n\n<b>&#97;")
def test_an_answer_is_understood_or_an_error_without_contact_and_secret(data: bytes) -> None:
    fuzz_edges.answer(data)


@given(st.integers(0, len(fuzz_edges.TEXTS) - 1), st.text(max_size=60))
@example(0, "https://[::1")
@example(1, "s3://a@b/{date:%")
@example(2, "h@/x")
def test_a_setting_is_taken_or_an_error_and_no_password_is_shown(at: int, text: str) -> None:
    fuzz_edges.setting(bytes([at]) + text.encode(errors="replace"))
