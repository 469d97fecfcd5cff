"""No address that is shown or kept has a password or token in it."""

from __future__ import annotations

import pytest

from robin_etl.exceptions import ConfigurationError, ExportError
from robin_etl.redaction import hide_credentials, holds_password
from robin_etl.settings import Settings

PASSWORD = "hush-hush"


@pytest.mark.parametrize(
    "address",
    [
        f"https://shop:{PASSWORD}@api.robinhq.com",
        f"shop:{PASSWORD}@api.robinhq.com",
        f"shop:{PASSWORD}@[::1]:8765/x",
        f"sftp://shop:{PASSWORD}@host/exports/orders_{{date}}.csv",
        f"sftp://shop:{PASSWORD}/with@signs@host/exports",
        f"postgresql+psycopg://robin:{PASSWORD}@db.internal:5432/robin",
        f"https://[::1:{PASSWORD}@x",
        f"https://host/orders.csv?sig={PASSWORD}&date=2026-03-01",
        f"ftp://:{PASSWORD}@host",
    ],
)
@pytest.mark.parametrize("sentence", ["{}", "The address '{}' is none.", "{}: look at it", "({})"])
def test_the_password_of_an_address_is_hidden_wherever_it_stands(address: str, sentence: str) -> None:
    text = sentence.format(address)
    assert PASSWORD not in hide_credentials(text)
    assert PASSWORD not in str(ExportError(text, path=address))
    assert PASSWORD not in repr(Settings.read(exports=address, ledger=address, base_url=address))


@pytest.mark.parametrize(
    "text",
    [
        "s3://shop_s3@bucket/exports/orders_2026-03-01.csv",
        "sftp://me@host/exports",
        "https://api.robinhq.com:8443/v1",
        "12 orders: a, b (10:30)",
        "postgresql://db.internal/robin",
    ],
)
def test_what_holds_no_password_stays_as_it_is(text: str) -> None:
    assert hide_credentials(text) == text
    assert not holds_password(text)


@pytest.mark.parametrize("name", ["runs", "expectations"])
def test_a_password_in_an_address_that_tasks_pass_on_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"ROBIN_ETL_{name.upper()}.*FSSPEC_") as caught:
        Settings.read(**{name: f"sftp://shop:{PASSWORD}@host/folder"})
    assert PASSWORD not in str(caught.value)
