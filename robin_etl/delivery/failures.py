"""What became of a connection that failed: a sentence for people, and whether anything was sent."""

from __future__ import annotations

import errno
import ssl

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError

# By what requests raised, or what is below it; the first that fits.
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.ProxyError, "the proxy did not make the connection"),
    (NameResolutionError, "the name of the host was not found"),
    (
        requests.exceptions.SSLError,
        "no TLS connection came about; the other side may not speak https",
    ),
    (
        requests.ConnectTimeout,
        "no connection came about in time; a firewall may drop what is sent there",
    ),
    (requests.Timeout, "the answer did not come in time"),
    (NewConnectionError, "no connection could be made"),
    (requests.ConnectionError, "the connection was cut before an answer came"),
    (requests.RequestException, "the connection failed"),
)
# What an operating system says of a host that no connection can be made to.
_WAYS = {
    errno.ECONNREFUSED: "the connection was refused: nothing listens at that address and port",
    errno.ENETUNREACH: "there is no way to its network from this machine",
    errno.EHOSTUNREACH: "there is no way to its host from this machine",
}


def was_open(error: requests.RequestException) -> bool:
    """Whether there was a connection when it failed, so that the request may have reached ROBIN."""
    if isinstance(error, requests.ConnectTimeout):
        return False
    if not isinstance(error, requests.ConnectionError):
        return True
    reason = _find_reason(error)
    return not isinstance(
        reason, NewConnectionError | NameResolutionError | ssl.SSLCertVerificationError
    )


def describe_failure(error: requests.RequestException) -> str:
    """What failed, in words that hold nothing of the request: a name, a refusal, a certificate, …"""
    reason = _find_reason(error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the certificate was not taken: {reason.verify_message.rstrip('.')}"
    words = next(words for kind, words in _WORDS if isinstance(error, kind) or isinstance(reason, kind))
    cause = reason.__cause__ if isinstance(reason, NewConnectionError) else None
    return _WAYS.get(getattr(cause, "errno", None) or 0, words)


def _find_reason(error: requests.RequestException) -> BaseException | None:
    """What urllib3 or TLS raised, below what requests and urllib3 wrap around it."""
    found: BaseException | None = error.args[0] if error.args and _is_error(error.args[0]) else None
    while found is not None:
        inner = getattr(found, "reason", None)
        if not _is_error(inner):
            inner = found.args[0] if found.args and _is_error(found.args[0]) else None
        if inner is None:
            break
        found = inner
    return found


def _is_error(value: object) -> bool:
    return isinstance(value, BaseException)
