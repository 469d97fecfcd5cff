"""The URIs of ROBIN's orders, `robin://api.robinhq.com/orders`, as Airflow asks a provider for them.

Airflow imports this wherever it makes an asset, so it imports nothing of ours.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlsplit


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """A URI in its one form."""
    return uri._replace(netloc=uri.netloc.lower())


def convert_to_openlineage(asset: Any, lineage_context: Any) -> Any:  # noqa: ARG001 (Airflow passes it)
    """The same as a data set of OpenLineage."""
    from airflow.providers.common.compat.openlineage.facet import Dataset  # noqa: PLC0415 (an extra)

    place = urlsplit(asset.uri)
    return Dataset(namespace=f"{place.scheme}://{place.netloc}", name=place.path.lstrip("/"))
