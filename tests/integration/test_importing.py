"""What the gate puts off of Great Expectations is there where a rule needs it."""

from __future__ import annotations

import sys

from tests import processes


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
