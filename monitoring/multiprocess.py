"""Counters of all processes of this host, added up.

Each process counts in files of its own under METRICS_DIR (prometheus_client's
multiprocess mode), so a count survives its process. The files of processes
that have ended are added to one archive, so that their number stays small and
no sum ever goes down.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from prometheus_client import CollectorRegistry, mmap_dict
from prometheus_client import multiprocess as _prometheus
from prometheus_client.core import Metric

# Without types of their own.
MmapedDict: Any = mmap_dict.MmapedDict
MultiProcessCollector: Any = _prometheus.MultiProcessCollector

# In the place of a process id; no process has it.
_ARCHIVE = "0"
_JOURNAL = "compaction.json"


def folder() -> Path:
    """Return where the files are."""
    return Path(settings.METRICS_DIR)


@contextmanager
def _locked(shared: bool) -> Iterator[None]:
    with (folder() / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


class AllProcesses:
    """A collector of what all processes have counted."""

    def collect(self) -> Iterable[Metric]:
        """Add up; waits while files are being put together."""
        with _locked(shared=True):
            return list(MultiProcessCollector(None, str(folder())).collect())


def registry() -> CollectorRegistry:
    """Return a registry of everything that is counted in files."""
    made = CollectorRegistry()
    made.register(AllProcesses())
    return made


def values() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sum by series and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in AllProcesses().collect()
        for sample in metric.samples
    }


def compact() -> int:
    """Put the files of ended processes together; returns how many were taken in.

    A journal makes it safe to be killed at any point: the archive is replaced
    by one rename, and what had been taken in is removed even if that happens
    only next time.
    """
    with _locked(shared=False):
        _finish()
        taken = 0
        dead: dict[str, list[Path]] = {}
        for path in folder().glob("*.db"):
            kind, _, pid = path.stem.rpartition("_")
            if pid == _ARCHIVE or (pid.isdecimal() and psutil.pid_exists(int(pid))):
                continue
            if kind in ("counter", "histogram", "summary"):
                dead.setdefault(kind, []).append(path)
            else:
                # What an ended process had at hand is gone with it.
                path.unlink(missing_ok=True)
        for kind, paths in dead.items():
            _take_in(kind, paths)
            taken += len(paths)
        return taken


def _take_in(kind: str, paths: list[Path]) -> None:
    archive = folder() / f"{kind}_{_ARCHIVE}.db"
    sums: dict[str, float] = {}
    for path in [archive, *paths]:
        if path.exists():
            for key, value, _time, _position in MmapedDict.read_all_values_from_file(str(path)):
                sums[key] = sums.get(key, 0.0) + value
    new = archive.with_suffix(".new")
    new.unlink(missing_ok=True)
    written = MmapedDict(str(new))
    for key, value in sums.items():
        written.write_value(key, value, 0.0)
    written.close()
    journal = folder() / _JOURNAL
    draft = journal.with_suffix(".draft")
    draft.write_text(json.dumps({"new": new.name, "taken": [path.name for path in paths]}))
    draft.replace(journal)
    os.replace(new, archive)
    _finish()


def _finish() -> None:
    """Bring a compaction that was begun to its end."""
    journal = folder() / _JOURNAL
    if not journal.exists():
        return
    told = json.loads(journal.read_text())
    new = folder() / told["new"]
    if new.exists():
        # Killed before the rename: nothing has been taken in yet.
        new.unlink()
    else:
        for name in told["taken"]:
            (folder() / name).unlink(missing_ok=True)
    journal.unlink()
