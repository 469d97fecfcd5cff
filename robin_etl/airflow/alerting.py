"""What the DAG's last task does; it sees no order, and so imports little."""

from __future__ import annotations

import logging

from airflow.sdk import get_current_context

from robin_etl.airflow import Handed, Shop, notices
from robin_etl.airflow.failures import notify, stop_retries
from robin_etl.airflow.hook import RobinHook
from robin_etl.core.outcomes import DEGRADED
from robin_etl.exceptions import StoppedError

log = logging.getLogger(__name__)


def alert(reported: Handed, shop: Shop) -> None:
    """Do with a degraded run what `ON_DEGRADED` says."""
    context = get_current_context()
    notices.note_report(context)
    with stop_retries():
        settings = RobinHook.of(shop).get_settings(context["params"])
        if reported["outcome"] != DEGRADED or settings.on_degraded == "ignore":
            return
        words = f"The run is degraded: {', '.join(reported['to_look_at'])}. See {reported['report']}."
        if settings.on_degraded == "fail":
            raise StoppedError(words)
        log.warning("%s", words)
        context[notices.DEGRADED] = words
        notify(notices.add_notice({**context, "exception": words}), shop)
