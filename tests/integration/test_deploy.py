"""What deploy/ has for an image and for the Helm chart names what there is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from robin_etl.settings import Settings

ROOT = Path(__file__).parents[2]
VALUES = (ROOT / "deploy" / "values.yaml").read_text(encoding="utf-8")
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.filterwarnings("ignore")  # of Airflow's own imports


def pinned_airflow() -> str:
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(r"^apache-airflow==(\S+)", pinned, re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_guide_the_image_and_the_chart_have_the_airflow_that_the_tests_have() -> None:
    named = [
        *re.findall(r"AIRFLOW_VERSION=(\S+)$", CONTAINERFILE, re.MULTILINE),
        *re.findall(r"apache-airflow==([\d.]+)", GUIDE),
        yaml.safe_load(VALUES)["airflowVersion"],
    ]
    assert set(named) == {pinned_airflow()}


def test_the_wheel_that_the_guide_and_the_image_install_is_that_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheels = re.findall(r"robin_etl-\S+?\.whl(?:\[([a-z,]+)\])?", f"{GUIDE}\n{CONTAINERFILE}")
    assert set(re.findall(r"robin_etl-(\d+\.\d+\.\d+)-", f"{GUIDE}\n{CONTAINERFILE}")) == {
        project["version"]
    }
    extras = {extra for one in wheels for extra in one.split(",") if extra}
    assert extras <= set(project["optional-dependencies"])


def test_the_image_the_chart_and_the_guide_import_once_what_tasks_need() -> None:
    local_settings = (ROOT / "deploy" / "airflow_local_settings.py").read_text(encoding="utf-8")
    lines = local_settings.split('"""')[2].strip()
    assert yaml.safe_load(VALUES)["airflowLocalSettings"].strip() == lines
    assert f"```python\n{lines}\n```" in GUIDE
    assert "COPY deploy/airflow_local_settings.py /opt/airflow/config/" in CONTAINERFILE


def test_the_values_have_the_shape_of_the_charts_and_name_settings_and_connections_that_exist() -> None:
    values = yaml.safe_load(VALUES)
    assert set(values) <= {
        *("airflowVersion", "images", "executor", "secret", "env", "config", "airflowLocalSettings")
    }
    assert set(values["images"]["airflow"]) <= {"repository", "tag", "digest", "pullPolicy"}
    for one in values["secret"]:
        assert set(one) == {"envName", "secretName", "secretKey"}
    for one in values["env"]:
        assert set(one) == {"name", "value"}
        assert one["name"].removeprefix("ROBIN_ETL_").lower() in Settings.model_fields
    Settings.read(
        **{one["name"].removeprefix("ROBIN_ETL_").lower(): one["value"] for one in values["env"]}
    )
    connections = [
        json.loads(text) for text in re.findall(r"^# +--from-literal=\w+='(.*)'", VALUES, re.MULTILINE)
    ]
    assert [one["conn_type"] for one in connections] == ["robin", "postgres"]
