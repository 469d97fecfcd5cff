"""What the rows of a file don't say, and a person has to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A question: its `key` in the profile, the words, the possible answers, and what of the file shows
    why it can't be decided.
    """

    key: str
    words: str
    answers: tuple[str, ...]
    example: str = ""

    @property
    def text(self) -> str:
        """The question as a paragraph."""
        example = f" For example: {self.example}." if self.example else ""
        answers = f" Answers: {', '.join(self.answers)}." if self.answers else ""
        return f"{self.key}: {self.words}{example}{answers}"


# Gives the answer to a question, None where there is none yet.
Ask = Callable[[Question], str | None]
