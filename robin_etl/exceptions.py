"""Every error a user meets. Each is a sentence that says what happened and what to do.

The subclasses are named for what the caller does next: a `StoppedError` needs a person first and is
never retried; an `UnavailableError` may pass, so running again is the remedy.
"""

from __future__ import annotations

from robin_etl.redaction import hide_credentials, make_printable

# What a sentence says that stops a run before its first change.
NOTHING_POSTED = "Nothing was posted"


class RobinEtlError(Exception):
    """The root of all errors that robin-etl raises on purpose. Its sentence is safe to show."""

    def __init__(self, message: str) -> None:
        super().__init__(make_printable(hide_credentials(message)))

    def say_instead(self, words: str, other: str) -> None:
        """Replace words of the sentence, where it has them, by what is known only further out."""
        self.args = (str(self).replace(words, other), *self.args[1:])


class StoppedError(RobinEtlError):
    """Somebody has to mend something first; running again alone would end the same."""


class UnavailableError(RobinEtlError):
    """Something was not there and may be later; running again mends it."""


class ConfigurationError(StoppedError):
    """A setting is missing or makes no sense."""


class ExportError(StoppedError):
    """An export can't be read as a whole.

    Attributes: `path`, the file; `column`, the column concerned, if one is.
    """

    def __init__(self, message: str, *, path: str, column: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.column = column


class ExportMissingError(UnavailableError):
    """There is no export for a day (yet). Attributes: `location`, where it was looked for."""

    def __init__(self, message: str, *, location: str) -> None:
        super().__init__(message)
        self.location = location


class QueryError(StoppedError):
    """The shop's database refuses a query, or its answer is no export. Attributes: `path`, the query's
    file.
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class DatabaseUnavailableError(UnavailableError):
    """The shop's database was not there, was lost, or took too long."""


class GateError(StoppedError):
    """The gate let nothing pass. Attributes: `rules`, the names of the rules that stopped the run."""

    def __init__(self, message: str, *, rules: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.rules = rules


class GuardError(StoppedError):
    """A plan looks like no day of a shop. Attributes: `guards`, the names of those that tripped."""

    def __init__(self, message: str, *, guards: tuple[str, ...]) -> None:
        super().__init__(message)
        self.guards = guards


class AnswerError(StoppedError):
    """ROBIN gave an answer that sending again can't change. Attributes: `status`, the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotRobinError(AnswerError):
    """Something that is not ROBIN answered, such as a proxy or a login page, so whether ROBIN has the
    orders is in doubt. Attributes: `words`, the beginning of the answer.
    """

    def __init__(self, message: str, *, status: int, words: str) -> None:
        super().__init__(message, status=status)
        self.words = words


class AuthenticationError(AnswerError):
    """ROBIN refused the API key or secret (401, 403)."""


class RobinUnavailableError(UnavailableError):
    """ROBIN did not answer, or only with errors of its own, until the attempts were used up."""


class InterruptedRunError(UnavailableError):
    """The run was told to stop (SIGTERM, Ctrl-C) and has done so in good order."""


class LedgerError(StoppedError):
    """The ledger can't be used as it is."""


class StaleLedgerError(LedgerError):
    """The ledger is older than the journals of what ROBIN acknowledged.

    Attributes: `revision`, the ledger's; `newest`, the one that the journals go up to.
    """

    def __init__(self, message: str, *, revision: int, newest: int) -> None:
        super().__init__(message)
        self.revision = revision
        self.newest = newest


class BindingError(StoppedError):
    """The ledger belongs to another ROBIN, another account of it, or another customer key."""


class LedgerBusyError(UnavailableError):
    """Another run is posting against this ledger."""
