"""Measure v1 against v2 from the shell."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from benchmarks.actions import run_here
from benchmarks.api import run_json
from benchmarks.arena import ArenaError
from benchmarks.runner import FactsDiffer, Parameters
from benchmarks.scenarios import SCENARIOS
from shop.errors import ShopError
from shop.rest import dump_json


class Command(BaseCommand):
    """`manage.py benchmark product --iterations 100`."""

    help = "Measure v1 against v2 on a database and a server of their own; keeps the result."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("benchmark_type", choices=sorted(SCENARIOS))
        parser.add_argument("--iterations", type=int, default=1000, help="requests a version")
        parser.add_argument("--users", type=int, default=8, help="clients at a time")
        parser.add_argument("--products", type=int, default=2000)
        parser.add_argument("--orders", type=int, default=2000)
        parser.add_argument("--blocks", type=int, default=10, help="blocks of each version")
        parser.add_argument("--aa", action="store_true", help="v2 against itself: the noise")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--json", type=Path, help="also write the result into this file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it; progress goes to stderr, the table to stdout."""
        if min(options["iterations"], options["users"], options["blocks"]) < 1:
            raise CommandError("At least one iteration, user and block.")
        if options["products"] < 100 or options["orders"] < 0:
            raise CommandError("At least 100 products, and no negative number of orders.")
        parameters = Parameters(
            benchmark_type=options["benchmark_type"],
            iterations=options["iterations"],
            users=options["users"],
            products=options["products"],
            orders=options["orders"],
            blocks=options["blocks"],
            same=options["aa"],
            seed=options["seed"],
        )
        try:
            row = run_here(
                parameters, say=lambda phase, share: self.stderr.write(f"{share:4.0%} {phase}")
            )
        except (ArenaError, FactsDiffer, ShopError) as error:
            raise CommandError(str(error)) from None
        told = run_json(row, latencies=True)
        self.stdout.write(table(told["result"]))
        self.stdout.write(f"Kept as {row.name}.")
        if options["json"]:
            options["json"].write_text(json.dumps(json.loads(dump_json(told)), indent=2))


def table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    first = "v2" if result["parameters"]["same"] else "v1"
    lines = [
        "| step | version | requests/s | p50, ms | p95, ms | p99, ms | server CPU, µs "
        "| queries | errors |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for step in result["steps"]:
        for side, name in (("v1", first), ("v2", "v2")):
            told = step[side]
            lines.append(
                f"| {step['name']} | {name} | {told['throughput']:,.0f} | {told['p50_ms']} "
                f"| {told['p95_ms']} | {told['p99_ms']} | {told['cpu_us']:,} "
                f"| {told['queries']} | {told['errors']} |"
            )
    lines.append("")
    for step in result["steps"]:
        told = step["comparison"]
        lines.append(
            f"{step['name']}: {told['ratio']:.2f} x"
            f" (95 % {told['low']:.2f} to {told['high']:.2f}), "
            f"p = {told['p']:.2g}, effect {told['effect']:+.2f}: {told['verdict']}"
        )
    lines += ["", f"Server memory {result['memory_mb']} MB. {result['environment']}"]
    return "\n".join(lines)
