"""What Airflow shows or sends to people: the question of a plan, in Markdown."""

from __future__ import annotations

import textwrap

from robin_etl.core.words import count, name_days
from robin_etl.stages.records import Plan, Scope

# A form as wide as a window's usual half shows so much of a line without scrolling.
_LETTERS = 76


def describe_question(plan: Plan, scope: Scope, url: str) -> str:
    """What a person is asked of a plan at which guards trip: what they found, counts and money, and
    at which address the run's report has the whole plan.
    """
    found = [f"{guard.name}: {guard.words}" for guard in plan.stopping]
    # In fences, since order numbers are a stranger's text.
    facts = "\n\n".join(textwrap.fill(words.replace("`", "'"), _LETTERS) for words in found)
    money = "\n".join(
        f"| {kind} | {total.changes:,} | {total.difference / 100:+,.2f} |"
        for kind, total in plan.kinds.items()
        if total.changes
    )
    return (
        f"```text\n{facts}\n```\n\n"
        f"| kind | changes | difference |\n| --- | --: | --: |\n{money}\n\n"
        f"{count(plan.changes, 'change')} of {name_days(scope.first, scope.last)} in "
        f"{count(plan.requests, 'request')}. The whole plan is in [the run's report]({url}).\n\n"
        "**Approve** posts it, for this run alone. **Reject** stops the run, and none of it is posted."
    )
