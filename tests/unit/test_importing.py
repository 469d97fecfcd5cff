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
