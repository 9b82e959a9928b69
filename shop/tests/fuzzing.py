"""Drawn requests for every operation of the schema, and what is checked of their answers.

Schemathesis draws and checks; its pytest plugin reaches into pytest's insides
and is off (pyproject.toml).
"""

import copy
import functools
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, Response
from schemathesis.core.failures import AcceptedNegativeData, Failure, FailureGroup
from schemathesis.generation.drivers import CoverageGenerator
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.generation.overrides import Override
from schemathesis.openapi.checks import RejectedPositiveData

from shop.inputs import CONTRADICTION, NO_SUCH_THING
from shop.tests.furnished import Scene

CALLERS = ("anonymous", "alice", "admin")

# Refusals of requests that are well formed: no schema tells what exists, what
# goes ill with what, which key was used, which bytes are a picture, and how
# many decimals a number has (`multipleOf: 0.01` is beyond floats).
_OF_NO_FORM = {
    *("unknown_product", "stock_limit", "amount_too_large", "bad_image", "wrong_credentials"),
    *("idempotency_key_reused", "max_decimal_places", NO_SUCH_THING, CONTRADICTION),
}


def load(described: dict[str, Any]) -> Any:
    """Return the schema with answers that may have no more members than it names."""
    described = copy.deepcopy(described)
    for part in described["components"]["schemas"].values():
        if "properties" in part:
            part.setdefault("additionalProperties", False)
    # A NUL is refused in every text, which is not worth a pattern on each. Who
    # asks is the caller's to say.
    config = {"generation": {"allow-x00": False, "with-security-parameters": False}}
    return schemathesis.openapi.from_dict(described, config=schemathesis.Config.from_dict(config))


class Requests:
    """Requests for the operations of a schema, made once: an operation's are the same for all."""

    def __init__(self, schema: Any, scene: Scene, *, examples: int) -> None:
        self.schema = schema
        self._scene = scene
        self._examples = examples
        self.drawn = functools.cache(self._drawn)

    def operation(self, label: str) -> Any:
        """Return the operation with this method and path."""
        method, path = label.split()
        return self.schema[path][method]

    def takes_something(self, label: str) -> bool:
        """Whether an operation has parameters or a body."""
        told = self.operation(label).definition.raw
        return bool(told.get("parameters") or "requestBody" in told)

    def _drawn(self, label: str) -> list[Case]:
        """Return that many requests, good ones and bad ones."""
        operation = self.operation(label)
        modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]
        found: list[Case] = []

        @seed(1)
        @settings(
            max_examples=self._examples,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.one_of(modes))
        def draw(case: Case) -> None:
            found.append(case)

        draw()
        for case in found:
            aim(case, self._scene)
        return found

    def at_bounds(self, label: str) -> Iterator[Case]:
        """Yield requests at each bound that the schema names, and just beyond."""
        operation = self.operation(label)
        generator = CoverageGenerator(
            operation=operation,
            generation_modes=list(GenerationMode),
            generation_config=self.schema.config.generation_for(
                operation=operation, phase="coverage"
            ),
            auth_storage=None,
            override=Override(),
            feedback=FeedbackSources(),
            hooks=None,
        )
        for case in generator:
            aim(case, self._scene)
            yield case


@dataclass
class Tally:
    """What came of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    # What was wrong, with the first request that showed it.
    failures: dict[str, str] = field(default_factory=dict)

    def send(self, case: Case, headers: dict[str, str], **options: Any) -> None:
        """Send one request and check its answer."""
        response = case.call(headers=headers, **options)
        self.statuses[response.status_code] += 1
        sent = {**options, "headers": headers}
        try:
            case.validate_response(
                response, headers=headers, additional_checks=[_told_apart], transport_kwargs=sent
            )
        except FailureGroup as group:
            for failure in group.exceptions:
                if not _is_excused(failure, case, response):
                    what = f"{case.operation.label}: {response.status_code}, {failure.title}"
                    shown = (
                        f"{failure.message}\n{case.as_curl_command()}\n{response.content[:500]!r}"
                    )
                    self.failures.setdefault(what, shown)


def _told_apart(ctx: Any, response: Response, case: Case) -> None:
    """An answer goes by one id, and shows nothing of the code behind it."""
    assert b"Traceback (most recent call last)" not in response.content, "a stack trace"
    if response.status_code >= 400:
        told = response.json()["correlation_id"]
        assert response.headers["x-request-id"] == [told], "another correlation id"


def _is_excused(failure: Failure, case: Case, response: Response) -> bool:
    if isinstance(failure, AcceptedNegativeData):
        # In a form all but a file is a text, so that nothing is of another type.
        in_form = case.media_type == "multipart/form-data"
        return in_form and "violates `type`" in failure.message
    if not isinstance(failure, RejectedPositiveData):
        return False
    problem = response.json()
    codes = {error["code"] for errors in problem.get("errors", {}).values() for error in errors}
    excused = set(_OF_NO_FORM)
    body = case.operation.definition.raw.get("requestBody")
    if body is not None and not body.get("required"):
        # What is missing in the query may stand in the body, and no schema says that it must.
        excused.add("required")
    return (codes or {problem["code"]}) <= excused


def aim(case: Case, scene: Scene) -> None:
    """Point a well-formed request at things that exist, three times of four.

    A drawn id leads nowhere. Which one it becomes is decided by what was
    drawn, so that the same draw is the same request.
    """
    drawn = repr((case.method, case.path, case.path_parameters, case.query, case.body))
    luck = random.Random(zlib.crc32(drawn.encode("utf-8", "replace")))
    if case.path_parameters and not _is_bad(case, "path") and luck.random() < 0.75:
        starts = [start for start in scene.paths if case.path.startswith(start)]
        case.path_parameters.update(luck.choice(scene.paths[max(starts, key=len)]))
    if "Idempotency-Key" in case.headers and not _is_bad(case, "header") and luck.random() < 0.75:
        # Else most would be the key of another request.
        case.headers["Idempotency-Key"] = str(luck.getrandbits(64))
    for place, part in (("query", case.query), ("body", case.body)):
        if not _is_bad(case, place):
            _aim_values(part, scene, luck)


def _is_bad(case: Case, place: str) -> bool:
    return case.meta is not None and any(
        where.value == place and told.mode.is_negative
        for where, told in case.meta.components.items()
    )


def _aim_values(value: Any, scene: Scene, luck: random.Random) -> None:
    if isinstance(value, list):
        for inner in value:
            _aim_values(inner, scene, luck)
    elif isinstance(value, dict):
        for name, inner in value.items():
            # Not what is empty or null: that names nothing, and may.
            if name in scene.values and isinstance(inner, str) and inner and luck.random() < 0.75:
                value[name] = luck.choice(scene.values[name])
            else:
                _aim_values(inner, scene, luck)
