"""What Airflow takes from us beside the provider: pages in its UI, and the reference of a deadline.

Airflow imports this in every one of its processes, so it imports little.
"""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from robin_etl.airflow.deadline import ScheduledRunDeadline
from robin_etl.airflow.links import PREFIX


class RobinPlugin(AirflowPlugin):  # type: ignore[misc]  # Airflow's classes are not followed
    """Found by its entry point."""

    name = "robin"
    deadline_references: ClassVar[list[Any]] = [ScheduledRunDeadline]
    external_views: ClassVar[list[Any]] = [
        {
            "name": "ROBIN reports",
            "href": f"{PREFIX}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "robin",
        }
    ]

    @property
    def fastapi_apps(self) -> list[Any]:
        """The pages; only the api-server asks for them, and pays their imports."""
        from robin_etl.airflow import pages  # noqa: PLC0415 (see above)

        return [{"app": pages.app, "url_prefix": PREFIX, "name": "ROBIN reports"}]
