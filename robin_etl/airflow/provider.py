"""What Airflow asks a package for: the connection type `robin`, its form and its hook.

Airflow imports this in every one of its processes, so it imports nothing.
"""

from __future__ import annotations

from typing import Any

_WHOLE_NUMBER = {"type": ["integer", "null"], "minimum": 1}


def get_provider_info() -> dict[str, Any]:
    """The provider's description; its shape is Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "robin-etl",
        "name": "ROBIN",
        "description": "Orders of a web shop to ROBIN (CM.com Agent Inbox).",
        "asset-uris": [
            {
                "schemes": ["robin"],
                "handler": "robin_etl.airflow.assets.sanitize_uri",
                "to_openlineage_converter": "robin_etl.airflow.assets.convert_to_openlineage",
            }
        ],
        "connection-types": [
            {
                "connection-type": "robin",
                "hook-name": "ROBIN",
                "hook-class-name": "robin_etl.airflow.hook.RobinHook",
                "ui-field-behaviour": {
                    # Airflow's button that tests a connection fails where it has no port.
                    "hidden-fields": ["schema"],
                    "relabeling": {"host": "Address", "login": "API key", "password": "API secret"},
                    "placeholders": {
                        "host": "https://api.robinhq.com",
                        "port": "443 (Airflow's button that tests the connection needs it)",
                    },
                },
                "conn-fields": {
                    "chunk_size": {
                        "label": "Orders in a request, at most",
                        "schema": {**_WHOLE_NUMBER, "default": None},
                    },
                    "concurrency": {
                        "label": "Requests in flight, at most",
                        "schema": {**_WHOLE_NUMBER, "maximum": 64, "default": None},
                    },
                    "rate_limits": {
                        "label": "Requests that ROBIN allows",
                        "description": "3/s,180/min,10000/h,100000/d where it is left blank.",
                        "schema": {"type": ["string", "null"], "default": None},
                    },
                    "timeout": {
                        "label": "Seconds to wait for an answer",
                        "schema": {"type": ["number", "null"], "minimum": 1, "default": None},
                    },
                    "customer_key_secret": {
                        "label": "Key of the customers' digests",
                        "schema": {"type": ["string", "null"], "format": "password", "default": None},
                    },
                    "contact_key_secret": {
                        "label": "Key that seals contacts in the ledger",
                        "schema": {"type": ["string", "null"], "format": "password", "default": None},
                    },
                    "ledger_conn_id": {
                        "label": "Connection of the ledger (PostgreSQL)",
                        "schema": {"type": ["string", "null"], "default": None},
                    },
                },
            }
        ],
    }
