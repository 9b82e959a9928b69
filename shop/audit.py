"""Commands that prove on a live database what must always hold."""

import abc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError
from django.db.models import QuerySet

from shop.db import snapshot

# Of each kind of fault; the rest is counted.
_SHOWN = 10


@dataclass(frozen=True)
class Fault:
    """Something that must not be.

    `line` tells of one row and is filled in with its values; `rows` are the
    rows of which it is true, as `.values()`.
    """

    line: str
    rows: QuerySet[Any, Any]


@dataclass(frozen=True)
class Audit:
    """What is looked for, and in what: rows by what they are called."""

    faults: Sequence[Fault]
    extent: Mapping[str, QuerySet[Any, Any]]


class AuditCommand(BaseCommand, abc.ABC):
    """Look for faults in one snapshot, print them and say by the exit code whether there are any.

    0: all is right. 1: something is wrong. 2: the database could not be asked.
    """

    # What is said when nothing is wrong, and after "17 things are".
    right = ""
    wrong = ""

    @abc.abstractmethod
    def audit(self, **options: Any) -> Audit:
        """Return what is to be looked for."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Look and report.

        Raises:
            CommandError: with the exit code.
        """
        began = time.perf_counter()
        audit = self.audit(**options)
        try:
            with snapshot():
                found, hidden = self._look_for(audit.faults)
                extent = [f"{rows.count()} {name}" for name, rows in audit.extent.items()]
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The database can't be asked: {error}", returncode=2) from error
        checked = f"{', '.join(extent)}, {time.perf_counter() - began:.1f} s"
        if found:
            more = f" ({hidden} more than shown)" if hidden else ""
            raise CommandError(f"{found} things are {self.wrong}{more}: {checked}.", returncode=1)
        self.stdout.write(f"{self.right}: {checked}.")

    def _look_for(self, faults: Sequence[Fault]) -> tuple[int, int]:
        """Print what is found; returns how many faults there are, and how many were not shown."""
        everywhere = hidden = 0
        for fault in faults:
            found = 0
            # Row by row: there may be millions of them.
            for row in fault.rows.iterator(chunk_size=1000):
                found += 1
                if found <= _SHOWN:
                    self.stdout.write(fault.line.format(**row))
            if found > _SHOWN:
                self.stdout.write(f"… and {found - _SHOWN} more like it")
                hidden += found - _SHOWN
            everywhere += found
        return everywhere, hidden
