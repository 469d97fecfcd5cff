"""Settings of several shops from one file: whose they are, which come first, and what no two share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

from robin_etl import airflow, cli
from robin_etl.exceptions import ConfigurationError
from robin_etl.settings import Settings, list_shops

SHOPS = """
timezone = "Europe/Amsterdam"
chunk_size = 50
ledger = "postgresql://robin@db.example.com/robin"

[shops.nl]
exports = "/shops/nl/exports"
runs = "/shops/nl/runs"
ledger_schema = "nl"

[shops.de]
exports = "/shops/de/exports"
runs = "/shops/de/runs"
ledger_schema = "de"
timezone = "Europe/Berlin"
"""

Config = Callable[[str], Path]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    def write(text: str) -> Path:
        path = tmp_path / "shops.toml"
        path.write_text(text)
        monkeypatch.setenv("ROBIN_ETL_CONFIG", str(path))
        return path

    return write


def test_a_shop_has_what_its_table_says_and_else_what_is_common(config: Config) -> None:
    config(SHOPS)
    nl, de = Settings.read(shop="nl"), Settings.read(shop="de")
    assert (nl.exports, nl.timezone, nl.chunk_size) == ("/shops/nl/exports", "Europe/Amsterdam", 50)
    assert (de.exports, de.timezone, de.chunk_size) == ("/shops/de/exports", "Europe/Berlin", 50)
    assert "search_path%3Dnl" in nl.ledger
    assert (nl.shop, list_shops()) == ("nl", ["nl", "de"])


def test_what_is_said_of_the_shop_comes_before_what_is_said_of_all_and_the_environment_before_the_file(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config('chunk_size = 1\n[shops.nl]\n[shops.de]\nruns = "de"\nexports = "de"\nledger = "de.db"\n')
    assert Settings.read(shop="nl").chunk_size == 1
    monkeypatch.setenv("ROBIN_ETL_CHUNK_SIZE", "2")
    assert Settings.read(shop="nl").chunk_size == 2
    config('[shops.nl]\nchunk_size = 3\n[shops.de]\nruns = "de"\nexports = "de"\nledger = "de.db"\n')
    assert Settings.read(shop="nl").chunk_size == 3
    monkeypatch.setenv("ROBIN_ETL_NL_CHUNK_SIZE", "4")
    assert Settings.read(shop="nl").chunk_size == 4
    assert Settings.read(shop="de").chunk_size == 2
    assert Settings.read(shop="nl", chunk_size=5).chunk_size == 5


def test_a_shops_secrets_come_from_the_environment_by_its_name(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(SHOPS)
    monkeypatch.setenv("ROBIN_ETL_NL_API_KEY", "key of nl")
    monkeypatch.setenv("ROBIN_ETL_API_SECRET", "secret of all")
    assert Settings.read(shop="nl").credentials() == ("key of nl", "secret of all")
    with pytest.raises(
        ConfigurationError, match="ROBIN_ETL_API_KEY is not set, nor ROBIN_ETL_DE_API_KEY"
    ):
        Settings.read(shop="de").credentials()


def test_the_shop_may_be_named_in_the_environment(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(SHOPS)
    monkeypatch.setenv("ROBIN_ETL_SHOP", "de")
    assert Settings.read().exports == "/shops/de/exports"
    assert Settings.read(shop="nl").exports == "/shops/nl/exports"


@pytest.mark.parametrize(
    ("shop", "words"),
    [
        ({}, "several shops: nl, de. Say which one with --shop, such as robin-etl --shop de status"),
        ({"shop": "fr"}, r"has no shop fr\. Its shops are nl, de\."),
    ],
    ids=["none", "an unknown one"],
)
def test_without_a_shop_that_is_there_the_sentence_lists_them(
    config: Config, shop: dict[str, str], words: str
) -> None:
    config(SHOPS)
    with pytest.raises(ConfigurationError, match=words):
        Settings.read(**shop)


def test_a_shop_where_there_are_none_is_refused(config: Config) -> None:
    with pytest.raises(ConfigurationError, match="nl is named, and ROBIN_ETL_CONFIG names no file"):
        Settings.read(shop="nl")
    config("chunk_size = 7\n")
    with pytest.raises(ConfigurationError, match=r"shops\.toml has no shops"):
        Settings.read(shop="nl")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shops = 3\n", "shops must be tables"),
        ("[shops]\nnl = 3\n", "shops must be tables"),
        ('[shops."NL-1"]\n', "'NL-1'. A shop's name is of small letters"),
        ('[shops.nl]\nshop = "de"\n', "the table of the shop nl must not name a shop"),
        ("[shops.nl]\nchunk_sise = 3\n", "of the shop nl that can't be used: ROBIN_ETL_CHUNK_SISE"),
        ("[shops.nl]\nchunk_size = 0\n", "of the shop nl that can't be used: ROBIN_ETL_CHUNK_SIZE"),
    ],
)
def test_a_table_that_makes_no_sense_is_a_sentence(config: Config, text: str, words: str) -> None:
    config(text)
    with pytest.raises(ConfigurationError, match=words):
        Settings.read(shop="nl")


OWN = {"ledger": "l.db", "runs": "runs", "exports": "exports"}


def write_shops(common: dict[str, str], **shops: dict[str, str]) -> str:
    tables = [("", common), *((f"[shops.{name}]", table) for name, table in shops.items())]
    lines = (
        line for head, table in tables for line in (head, *(f'{k} = "{v}"' for k, v in table.items()))
    )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("common", "other", "words"),
    [
        ({}, {"ledger": "./l.db"}, "the ledger"),
        ({}, {"ledger": "sqlite:///l.db"}, "the ledger"),
        ({}, {"runs": "../here/runs"}, "the run files"),
        ({}, {"exports": "exports/"}, "the exports and the profile"),
    ],
)
def test_two_shops_that_would_share_what_is_ones_own_are_refused(
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    common: dict[str, str],
    other: dict[str, str],
    words: str,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    apart = {name: f"other-{place}" for name, place in OWN.items()}
    config(write_shops(common, nl=OWN, de=apart))
    assert Settings.read(shop="nl").runs == "runs"
    config(write_shops(common, nl=OWN, de={**apart, **other}))
    for shop, beside in permutations(("nl", "de")):
        with pytest.raises(ConfigurationError, match=f"The shops {shop} and {beside} share {words}"):
            Settings.read(shop=shop)


def test_a_database_is_one_whoever_opens_it_and_its_schemas_are_several(config: Config) -> None:
    text = SHOPS.replace('ledger = "postgresql://robin@db.example.com/robin"\n', "").replace(
        "ledger_schema", 'ledger = "postgresql://other@db.example.com:5432/robin"\nledger_schema', 1
    )
    text += 'ledger = "postgresql://robin@db.example.com/robin"\n'
    config(text)
    assert Settings.read(shop="nl").shop == "nl"
    config(text.replace('ledger_schema = "de"', 'ledger_schema = "nl"'))
    with pytest.raises(ConfigurationError, match="The shops nl and de share the ledger"):
        Settings.read(shop="nl")


def test_an_environment_that_would_give_all_shops_one_ledger_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(
        '[shops.nl]\nruns = "a"\nexports = "a"\n'
        '[shops.de]\nruns = "b"\nexports = "b"\n[shops.fr]\nchunk_size = "broken"\n'
    )
    monkeypatch.setenv("ROBIN_ETL_LEDGER", "one.db")
    with pytest.raises(ConfigurationError, match="The shops nl and de share the ledger"):
        Settings.read(shop="nl")
    monkeypatch.setenv("ROBIN_ETL_DE_LEDGER", "two.db")
    assert Settings.read(shop="nl").ledger == "one.db"


def test_one_export_of_several_shops_may_be_read_by_a_profile_of_each(config: Config) -> None:
    config(
        'exports = "all"\n[shops.nl]\nruns = "a"\nledger = "a.db"\nprofile = "nl.toml"\n'
        '[shops.de]\nruns = "b"\nledger = "b.db"\nprofile = "de.toml"\n'
    )
    assert Settings.read(shop="nl").exports == Settings.read(shop="de").exports == "all"


@pytest.mark.parametrize(
    ("nl", "de", "is_refused"),
    [
        ({}, {}, True),
        ({"shared_limits": "limits.db"}, {}, True),
        ({"shared_limits": "limits.db"}, {"shared_limits": "other.db"}, True),
        ({"shared_limits": "limits.db"}, {"shared_limits": "./limits.db"}, False),
        ({}, {"api_key": "another"}, False),
        ({}, {"base_url": "https://robin.example.com"}, False),
    ],
)
def test_two_shops_on_one_account_share_its_limits(
    config: Config, nl: dict[str, str], de: dict[str, str], *, is_refused: bool
) -> None:
    apart = {name: f"other-{place}" for name, place in OWN.items()}
    config(write_shops({"api_key": "the-key"}, nl={**OWN, **nl}, de={**apart, **de}))
    if not is_refused:
        assert Settings.read(shop="nl").shop == "nl"
        return
    with pytest.raises(ConfigurationError, match="nl and de are on one ROBIN account") as caught:
        Settings.read(shop="nl")
    assert "the-key" not in str(caught.value)


def test_the_ledgers_whose_orders_count_may_be_named_for_all_shops_at_once(config: Config) -> None:
    config('first_orders_with = "nl, de"\n' + SHOPS)
    others = Settings.read(shop="nl").locate_others()
    assert others == {"de": Settings.read(shop="de").ledger}
    config("")
    files = Settings.read(ledger="nl/l.db", first_orders_with="./nl/l.db,de/l.db")
    assert files.locate_others() == {"de/l.db": "de/l.db"}


def test_a_shop_whose_name_makes_a_setting_of_all_shops_its_own_is_refused(config: Config) -> None:
    config("[shops.query]\n")
    with pytest.raises(ConfigurationError, match="ROBIN_ETL_QUERY_TIMEOUT is a setting of all shops"):
        Settings.read(shop="query")


def test_every_command_reads_the_settings_of_the_shop_that_was_named() -> None:
    modules = {path.name: path.read_text() for path in Path(cli.__file__).parent.glob("*.py")}
    assert [name for name, text in modules.items() if "Settings.read(" in text] == ["shops.py"]


def test_a_process_that_is_handed_a_place_opens_it_without_knowing_the_shop(
    config: Config, tmp_path: Path
) -> None:
    config(SHOPS)
    settings = Settings.of_places(exports=str(tmp_path))
    assert settings.path(settings.exports).is_dir()
    assert settings.opening({"shop_s3": {"anon": True}}).path("s3://shop_s3@bucket/x").path == "bucket/x"
    modules = {path.name: path.read_text() for path in Path(airflow.__file__).parent.glob("*.py")}
    assert [name for name, text in modules.items() if "Settings.read(" in text] == ["hook.py"]
