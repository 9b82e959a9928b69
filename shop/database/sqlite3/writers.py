"""The queue of those who want to write to one SQLite file, within this process.

SQLite lets one connection write at a time and has the others look again and
again: whoever looks at the right moment is next, and with many writers some
wait for seconds. Here they wait in line, nobody looks, and whoever is done
calls the next by name.
"""

import os
import threading
from collections import deque
from collections.abc import Hashable
from weakref import WeakValueDictionary


class Turn:
    """One writer's place in the queue, from joining it until the turn is given up."""

    __slots__ = ("_gate", "over", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.over = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def call(self) -> None:
        """Let `wait` return."""
        self._gate.release()

    def wait(self, seconds: float) -> bool:
        """Return whether it was called within so many seconds."""
        return self._gate.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))


class Writers:
    """Who writes to one file, and who waits for it, first come first served."""

    def __init__(self) -> None:
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget everybody: after a fork they are threads of another process."""
        self._moving = threading.Lock()
        self._waiting: deque[Turn] = deque()
        self._writing: Turn | None = None

    def enter(self, turn: Turn, seconds: float) -> bool:
        """Wait until `turn` is the only one; returns False where that took too long.

        Whatever comes of it, also an exception, the turn must be given up.
        """
        self._waiting.append(turn)
        self._move()
        return turn.wait(seconds)

    def give_up(self, turn: Turn) -> None:
        """Take `turn` out, wherever it stands, and call the next if it was writing.

        Never waits and may be called at any moment, also by a finaliser.
        """
        turn.over = True
        self._move()

    def written_by_this_thread(self) -> bool:
        """Return whether the turn is this thread's: waiting for it would be for ever."""
        writing = self._writing
        return writing is not None and not writing.over and writing.thread == threading.get_ident()

    def _may_move(self) -> bool:
        writing = self._writing
        return bool(self._waiting) if writing is None else writing.over

    def _move(self) -> None:
        # A finaliser may come here in the middle of this very method, so
        # nobody waits for the lock: who finds it taken leaves its work to who
        # has it, and who has had it looks again.
        while self._may_move() and self._moving.acquire(blocking=False):
            try:
                if self._writing is not None and self._writing.over:
                    self._writing = None
                while self._writing is None and self._waiting:
                    turn = self._waiting.popleft()
                    if not turn.over:
                        self._writing = turn
                        turn.call()
            finally:
                self._moving.release()


_of_files: WeakValueDictionary[Hashable, Writers] = WeakValueDictionary()
_finding = threading.Lock()


def writers_of(file: Hashable) -> Writers:
    """Return the one queue of a file, by whatever identifies it."""
    with _finding:
        return _of_files.setdefault(file, Writers())


def _in_child() -> None:
    global _finding
    _finding = threading.Lock()
    for writers in list(_of_files.values()):
        writers.start_afresh()


os.register_at_fork(after_in_child=_in_child)
