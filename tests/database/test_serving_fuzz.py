"""Requests that schemathesis thinks up from the OpenAPI page: none may end in a server error."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import Engine

from tasks.serving.app import create_app, serving_engine
from tests.database import experiments
from tests.database.serving import roll_out

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
Case = schemathesis.Case[Any]
KNOWN = {"key": ["v2", "buttons"], "model_version": ["v2"], "experiment": ["buttons"]}
BOUNDED = settings(
    max_examples=10,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_ends_in_a_server_error(database: Engine, mode: GenerationMode) -> None:
    roll_out(database)
    experiments.start(target_rules=[{"attribute": "country", "op": "ne", "value": "DE"}])
    engine = serving_engine(database.url)
    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(engine, is_open=True))
    answered: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation: APIOperation[Any, Any, Any, Any] | None = found.ok()  # type: ignore[union-attr]
        assert operation is not None
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.path_parameters):
            continue  # there is nothing to get wrong

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=mode), choice=st.integers(0, 3))
        def ask(case: Case, choice: int) -> None:
            _name_what_exists(case, choice)
            response = case.call()
            case.validate_response(response, checks=CHECKS)
            answered[response.status_code] += 1

        ask()
    engine.dispose()
    # Most were about what they were meant to be about.
    assert answered[200 if mode is GenerationMode.POSITIVE else 400] > 30, answered


def _name_what_exists(case: Case, choice: int) -> None:
    """Three of four requests are about something that exists; else few would get far."""
    if choice == 0:
        return
    for name, known in KNOWN.items():
        value = known[choice % len(known)]
        if name in case.path_parameters:
            case.path_parameters[name] = value
        if isinstance(case.body, dict) and name in case.body:
            case.body[name] = value
    context = case.body.get("context") if isinstance(case.body, dict) else None
    if isinstance(context, dict):
        context.setdefault("targetingKey", "user-1")
