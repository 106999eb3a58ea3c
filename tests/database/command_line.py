"""`headway …` in this process: what it answered, and the fixtures that ask it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


CommandLine = Callable[..., Answer]
Call = Callable[..., tuple[int, Any]]


def headway_fixture(*group: str) -> Any:
    """A fixture `headway` for one group of commands, such as `experiment`.

    It takes the words after the group, and returns the exit code with the document if `--json` is
    among them, else with all that was said.
    """

    @pytest.fixture
    def headway(command_line: CommandLine) -> Call:
        def call(*words: str) -> tuple[int, Any]:
            answer = command_line(*group, *words)
            said = answer.document if "--json" in words else answer.out + answer.err
            return answer.code, said

        return call

    return headway
