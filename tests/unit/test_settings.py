"""Settings: where they come from, what is refused, and that secrets are masked."""

from __future__ import annotations

from pathlib import Path

import pytest

from robin_etl.exceptions import ConfigurationError
from robin_etl.settings import Settings


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "robin.toml"
    config.write_text('chunk_size = 7\nexports = "s3://shop/out"\n')
    monkeypatch.setenv("ROBIN_ETL_CONFIG", str(config))
    monkeypatch.setenv("ROBIN_ETL_CHUNK_SIZE", "9")
    settings = Settings.read()
    assert settings.chunk_size == 9
    assert settings.exports == "s3://shop/out"


def test_without_any_setting_the_limits_are_robins() -> None:
    settings = Settings.read()
    assert settings.rate_limits == "3/s,180/min,10000/h,100000/d"
    assert settings.base_url == "https://api.robinhq.com"
    assert settings.chunk_size == 100


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CHUNK_SIZE", "0", "ROBIN_ETL_CHUNK_SIZE: .*greater than or equal to 1"),
        ("CHUNK_SIZE", "many", "ROBIN_ETL_CHUNK_SIZE"),
        ("RATE_LIMITS", "3 a second", "is no rate limit"),
        ("TIMEOUT", "0", "ROBIN_ETL_TIMEOUT"),
        ("CUSTOMER_KEY", "k" * 65, "at most 64 bytes"),
        ("CONFIG", "/no/such/file.toml", "there is no such file"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"ROBIN_ETL_{name}", value)
    with pytest.raises(ConfigurationError, match=words) as caught:
        Settings.read()
    assert "k" * 65 not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"), [("chunk_sise = 7", "CHUNK_SISE"), ("chunk_size = ", "ROBIN_ETL_CONFIG")]
)
def test_a_file_with_a_typo_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, words: str
) -> None:
    config = tmp_path / "robin.toml"
    config.write_text(content)
    monkeypatch.setenv("ROBIN_ETL_CONFIG", str(config))
    with pytest.raises(ConfigurationError, match=words):
        Settings.read()


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    settings = Settings.read(api_key="a-key", api_secret="a-secret", customer_key="a-salt")
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        for secret in ("a-key", "a-secret", "a-salt"):
            assert secret not in shown
    assert settings.credentials() == ("a-key", "a-secret")


@pytest.mark.parametrize(
    ("given", "absent"),
    [({"api_secret": "s"}, "ROBIN_ETL_API_KEY"), ({"api_key": "k"}, "ROBIN_ETL_API_SECRET")],
)
def test_a_missing_credential_is_named(given: dict[str, str], absent: str) -> None:
    with pytest.raises(ConfigurationError, match=absent):
        Settings.read(**given).credentials()


def test_a_user_in_a_location_is_no_connection_but_before_a_bucket_it_can_only_be_one() -> None:
    assert Settings.read().path("memory://me@host/orders").path.endswith("me@host/orders")
    with pytest.raises(ConfigurationError, match="connection shop_s3, which only Airflow's tasks know"):
        Settings.read().path("s3://shop_s3@bucket/orders")
    assert Settings.read().path("/folder/a@b").name == "a@b"
