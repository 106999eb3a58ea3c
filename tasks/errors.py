"""Every error that Headway raises on purpose.

HeadwayError
├── ConfigurationError      settings that cannot be used               exit 2
│   └── UnknownSetting      an environment variable that is no setting
├── Refused                 a rule said no; nothing was done           exit 3
├── InputError              a parameter or a file that cannot be used  exit 2
│   ├── NotFound            it names something that does not exist
│   └── UnknownName         it names something that is not registered
├── DatabaseUnavailable     the database cannot be reached             retryable
├── LockNotAcquired         somebody else holds the lock               retryable
├── TransientError          another passing trouble (429, 5xx, …)      retryable
├── EmbeddedPostgresError   the embedded Postgres cannot run
├── EffectUnknown           an outside effect may or may not have happened
└── ItemsFailed             some items of a run failed; the others are done
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was decided or refused: a stable kebab-case code and a plain sentence."""

    code: str
    message: str


_REASON = re.compile(r"\[([a-z0-9-]+)\] (.*?)(?=; \[[a-z0-9-]+\] |$)", re.DOTALL)


class HeadwayError(Exception):
    """Root of all errors. The message says what is wrong, where, and what to do next."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class ConfigurationError(HeadwayError):
    """Settings that cannot be used."""

    exit_code = 2


class Refused(HeadwayError):
    """A rule said no, and nothing was done. Not a crash: it carries its reasons."""

    exit_code = 3

    def __init__(self, subject: str, reasons: Iterable[Reason]) -> None:
        self.subject = subject
        self.reasons = tuple(reasons)
        listed = "; ".join(f"[{reason.code}] {reason.message}" for reason in self.reasons)
        super().__init__(f"{subject} refused: {listed}")

    @classmethod
    def from_text(cls, text: str) -> Refused:
        """The refusal whose message is ``text``: only that comes back from a worker."""
        subject, _, listed = text.partition(" refused: ")
        reasons = [Reason(*found) for found in _REASON.findall(listed)]
        return cls(subject, reasons) if reasons else cls("the run", [Reason("refused", text)])

    def __reduce__(self) -> tuple[type[Refused], tuple[str, tuple[Reason, ...]]]:
        return type(self), (self.subject, self.reasons)


class InputError(HeadwayError):
    """A parameter or a file that cannot be used."""

    exit_code = 2


class NotFound(InputError):
    """A name or number of something that does not exist."""


class UnknownName(InputError):
    """A name that is not registered; the message lists the ones that are."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        close = get_close_matches(name, self.known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        super().__init__(
            f"{kind} {name!r} is not registered ({hint}known: {', '.join(self.known) or 'none'})"
        )

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, tuple[str, ...]]]:
        return type(self), (self.kind, self.name, self.known)


class UnknownSetting(UnknownName, ConfigurationError):
    """An environment variable that looks like a setting and is none."""


class DatabaseUnavailable(HeadwayError):
    """The database cannot be reached."""

    retryable = True


class LockNotAcquired(HeadwayError):
    """Another session holds the lock; the message names it where it can be seen."""

    retryable = True


class TransientError(HeadwayError):
    """A passing trouble of something outside: trying again later may help."""

    retryable = True


class EmbeddedPostgresError(HeadwayError):
    """The embedded Postgres cannot run."""


class EffectUnknown(HeadwayError):
    """An effect outside the transaction may or may not have happened; a person must look."""


class ItemsFailed(HeadwayError):
    """Some items of a run failed; the others are done and stay done."""

    def __init__(self, what: str, failures: Mapping[str, str]) -> None:
        self.what, self.failures = what, dict(failures)
        listed = "; ".join(f"{item}: {message}" for item, message in self.failures.items())
        super().__init__(f"{len(self.failures)} {what} failed: {listed}")

    def __reduce__(self) -> tuple[type[ItemsFailed], tuple[str, dict[str, str]]]:
        return type(self), (self.what, self.failures)
