"""A person's word on a plan at which a guard trips, by Airflow's human in the loop.

Imported when a DAG file is parsed, so it imports little; the rest comes when a task runs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from robin_etl.airflow import Shop


class GuardApproval(ApprovalOperator):  # type: ignore[misc]  # Airflow's classes are not followed
    """Waits for a person where `plan` hands on guards that have tripped, and lets all else pass at once.

    Approve gives the guards that `load` may pass. Reject, or no answer within `APPROVAL_WAIT` seconds,
    fails the task, so that nothing is posted.
    """

    def __init__(self, *, shop: Shop, **kwargs: Any) -> None:
        # Whoever has said no is not asked again.
        super().__init__(subject="A guard has tripped", fail_on_reject=True, retries=0, **kwargs)
        self.shop = shop

    def execute(self, context: Any) -> Any:
        """Ask, if there is anything to ask."""
        planned = context["ti"].xcom_pull(task_ids="plan")
        if not planned.get("guards"):
            return {"allow": []}
        from robin_etl.airflow.hook import RobinHook  # noqa: PLC0415 (see above)

        settings = RobinHook.of(self.shop).get_settings(context["params"])
        self.subject = f"May this run pass: {', '.join(planned['guards'])}?"
        self.body = planned["question"]
        self.response_timeout = timedelta(seconds=settings.approval_wait)
        return super().execute(context)

    def execute_complete(self, context: Any, event: Any) -> Any:
        """What `load` may pass, once somebody has approved it."""
        super().execute_complete(context, event)
        planned = context["ti"].xcom_pull(task_ids="plan")
        self.log.info("Approved: %s.", ", ".join(planned["guards"]))
        return {"allow": planned["guards"]}
