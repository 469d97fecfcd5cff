"""What a request without any order shows of a connection."""

from __future__ import annotations

from robin_etl.core import payload
from robin_etl.delivery import Client, Meaning
from robin_etl.exceptions import AuthenticationError, RobinEtlError
from robin_etl.settings import Settings


def try_connection(settings: Settings) -> tuple[bool, str]:
    """Post a request without any order: whether ROBIN took the key, and a sentence on what it shows."""
    try:
        with Client.of(settings) as client:
            answer = client.post(payload.encode_body([]))
    except AuthenticationError as error:
        return False, (
            f"ROBIN refused the API key or secret ({error.status}). Mend both in the connection: "
            "they are ROBIN's, not the login of a person."
        )
    except RobinEtlError as error:
        return False, str(error)
    shown = answer.describe()
    if answer.meaning in (Meaning.ACCEPTED, Meaning.REFUSED):
        return True, f"ROBIN took the key and was sent no order (its answer: {shown})."
    if answer.status is None:
        return False, f"ROBIN was not reached at {settings.base_url}: {shown}."
    return False, f"ROBIN was reached, but whether it takes the key can't be seen: {shown}."
