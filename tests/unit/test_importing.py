"""Quicker imports: what is put off is there when it is wanted."""

from __future__ import annotations

import gc
import sys

from robin_etl.gate import importing
from tests import processes

PUT_OFF = """
import sys
from robin_etl.gate import importing
with importing.put_off("colorsys", "xml.dom", "no_such_module"):
    import colorsys
    from xml import dom
    assert "xml.dom.minicompat" not in sys.modules
    assert not hasattr(colorsys, "__file__")
assert "colorsys" not in sys.modules
print(colorsys.rgb_to_hsv(0, 0, 0), dom.Node.ELEMENT_NODE)
import colorsys as real
assert real is sys.modules["colorsys"] and real.__file__
"""


def test_what_was_put_off_is_imported_when_it_is_first_used() -> None:
    done = processes.run([sys.executable, "-c", PUT_OFF], succeeds=True)
    assert done.stdout == "(0.0, 0.0, 0) 1\n"


def test_what_is_imported_already_stays_as_it_is() -> None:
    with importing.put_off("json"):
        import json
    assert json.loads("1") == 1
    assert sys.modules["json"] is json


def test_the_collector_is_on_again_afterwards() -> None:
    with importing.without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_gate_still_knows_the_rules_that_need_what_was_put_off() -> None:
    code = """
from robin_etl.gate.importing import import_great_expectations
gx = import_great_expectations()
from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as kl
from great_expectations.expectations.metrics.column_map_metrics import (
    column_values_match_json_schema as matching
)
print(kl.stats.entropy([0.5, 0.5]) > 0.6)
try:
    matching.jsonschema.validate("one", {"type": "number"})
except matching.jsonschema.ValidationError as error:
    print(error.message)
"""
    done = processes.run([sys.executable, "-c", code])
    assert done.stdout == "True\n'one' is not of type 'number'\n", done.stderr
