"""How ready answers serve, counted in all processes of this host."""

from typing import Any

from monitoring import multiprocess

_OUTCOMES = ("hit", "not_modified", "joined", "made")


def ready_by_route() -> list[dict[str, Any]]:
    """Return, for each route, how its answers were come by, in all processes of this host."""
    counts: dict[str, dict[str, int]] = {}
    for (name, labels), value in multiprocess.values().items():
        if name == "shop_ready_answers_total":
            told = dict(labels)
            of_route = counts.setdefault(told["route"], dict.fromkeys(_OUTCOMES, 0))
            of_route[told["outcome"]] += int(value)
    return [
        {"route": route, **found, "share": 1 - found["made"] / max(1, sum(found.values()))}
        for route, found in sorted(counts.items())
    ]
