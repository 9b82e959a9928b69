"""Giving events to sinks, after the commit and in whatever process.

Two steps, each of which any number of senders may do at once:

1. `put_down` takes events that are pending, in whatever order their
   transactions committed, and notes for each sink that wants them how far
   their subject has got (`SinkOffset.newest`).
2. `deliver` claims offsets that are behind, gives the sink the events in
   between, and notes how far it got. A claim has a token and an end: a sender
   that dies loses it, and one that was only slow can't overwrite what its
   successor noted. Both ends of a claim, and every pause, are by the database's
   clock: a host whose own is wrong takes nothing from another.

Between giving and noting a process may die: then the event is given again,
with the same id. Never is it not given.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import F, Q

from shop.context import correlation_id, sane_correlation_id
from shop.db import in_transaction, now
from shop.events import sinks
from shop.events.models import Event, SinkOffset
from shop.events.sinks import Sink, SinkDown

logger = logging.getLogger(__name__)

# Events that one transaction puts down, and offsets that one claim takes.
_PUT_DOWN = 1000
_CLAIMED = 200
# Offsets that one statement writes: ten parameters each, of which SQLite takes 32,766.
_WANTED = 2000
# Events that are read for one claim.
_READ = 2000
# How long a claim is good; it must outlive a sink's slowest delivery, begun at
# the last moment that _WORK (seconds) allows.
LEASE = timedelta(seconds=90)
_WORK = 20.0
# Seconds after which what was delivered is noted: what is given again when a
# process dies.
_NOTE_EVERY = 0.2
_ERROR = 2000
# How far a subject with more to give is put back behind the others.
_AFTER_THE_OTHERS = timedelta(milliseconds=100)


@dataclass
class _Wanted:
    first: int
    last: int
    since: datetime


def put_down() -> int:
    """Note pending events for the sinks that want them; returns how many events.

    Six statements for a thousand events, and one a source of sinks.
    """
    if not Event.objects.pending().exists():
        # Without a transaction, which on SQLite would take the write lock.
        return 0
    return in_transaction(_put_down)


def _put_down() -> int:
    oldest = Event.objects.pending().order_by("pk").values_list("subject", flat=True)[:_PUT_DOWN]
    # All that is pending of a subject at once, and no rows skipped that another
    # sender has locked: an offset that began after the second event would
    # never see the first.
    events = list(
        Event.objects.pending()
        .filter(subject__in=set(oldest))
        .order_by("pk")
        .select_for_update()
        .values_list("pk", "type", "subject", "sequence", "time")
    )
    if not events:
        return 0
    wanted: dict[tuple[str, str], _Wanted] = {}
    # Asked after the events were read, not before and not a second ago: a sink that
    # was there when one of them was committed is there now.
    for sink in sinks.now_registered():
        for _pk, kind, subject, sequence, moment in events:
            if not sink.wants(kind):
                continue
            known = wanted.setdefault(
                (sink.name, subject), _Wanted(sequence, sequence, since=moment)
            )
            known.first = min(known.first, sequence)
            known.last = max(known.last, sequence)
            known.since = min(known.since, moment)
    # In one order, so that two senders can't wait for each other.
    ordered = sorted(wanted.items(), key=lambda item: item[0])
    for start in range(0, len(ordered), _WANTED):
        _want(ordered[start : start + _WANTED])
    Event.objects.filter(pk__in=[event[0] for event in events]).update(pending=False)
    return len(events)


def _want(wanted: Sequence[tuple[tuple[str, str], _Wanted]]) -> None:
    """Move `newest` forward; an offset at rest becomes due, one behind keeps its pause."""
    adapt = connection.ops.adapt_datetimefield_value
    at = adapt(now())
    rows: list[Any] = []
    for (sink, subject), found in wanted:
        rows += [sink, subject, found.first - 1, found.last, SinkOffset.State.OPEN.value]
        rows += [at, adapt(found.since), 0, "", at]
    values = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"] * len(wanted))
    at_rest = "o.newest = o.delivered"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO shop_sinkoffset AS o (sink, subject, delivered, newest, state, due_at,"  # noqa: S608
            f" waiting_since, attempts, error, updated_at) VALUES {values}"
            " ON CONFLICT (sink, subject) DO UPDATE SET"
            f" due_at = CASE WHEN {at_rest} THEN excluded.due_at ELSE o.due_at END,"
            f" waiting_since = CASE WHEN {at_rest} THEN excluded.waiting_since"
            " ELSE o.waiting_since END,"
            " newest = CASE WHEN excluded.newest > o.newest THEN excluded.newest"
            " ELSE o.newest END,"
            " updated_at = excluded.updated_at",
            rows,
        )


@dataclass(frozen=True)
class _Turn:
    """One call of `deliver`: when it began by both clocks, and whether it must end."""

    at: datetime
    began: float
    stopping: Callable[[], bool]

    def now(self) -> datetime:
        """Return the time by the database's clock, without asking it again."""
        return self.at + timedelta(seconds=time.monotonic() - self.began)

    def is_over(self) -> bool:
        """Whether no further event may be begun: the time is up, or the process is to stop."""
        return self.stopping() or time.monotonic() - self.began > _WORK


def deliver(sink: Sink, stopping: Callable[[], bool] = lambda: False) -> int:
    """Give a sink what is due to it; returns how many events it took.

    Once `stopping` says so no further event is begun: what was given is noted, and the
    rest is anybody's at once.

    Eight statements for up to 200 subjects, and more where the sink takes its time.
    """
    # Before the claim: what the claim costs is part of its lease.
    turn = _Turn(now(), time.monotonic(), stopping)
    if sink.paused_until is not None and turn.at < sink.paused_until:
        return 0
    if not SinkOffset.objects.due(sink.name, turn.at).exists():
        return 0
    claim = uuid4()
    offsets = in_transaction(lambda: _claim(sink, turn.at, claim))
    # As those knew it who put these events down: what it wants may have changed
    # since the caller read it.
    known = sinks.as_it_is_now(sink)
    if known is None or (known.paused_until is not None and turn.at < known.paused_until):
        _release(claim, offsets, turn.at)
        return 0
    events = _events_of(offsets)
    if known.transactional:
        return in_transaction(lambda: _deliver_within(known, claim, turn, offsets, events))
    return _deliver_outside(known, claim, turn, offsets, events)


def _claim(sink: Sink, at: datetime, claim: UUID) -> list[SinkOffset]:
    found = list(
        SinkOffset.objects.due(sink.name, at)
        .order_by("due_at", "pk")
        .select_for_update(skip_locked=True)[:_CLAIMED]
    )
    SinkOffset.objects.filter(pk__in=[offset.pk for offset in found]).update(
        claim=claim, due_at=at + LEASE
    )
    return found


def _release(claim: UUID, offsets: Sequence[SinkOffset], due_at: datetime) -> None:
    """Make what is still claimed anybody's."""
    mine = SinkOffset.objects.filter(pk__in=[offset.pk for offset in offsets], claim=claim)
    in_transaction(lambda: mine.update(claim=None, due_at=due_at))


def _events_of(offsets: Sequence[SinkOffset]) -> dict[str, list[Event]]:
    """Return the events that each offset lacks, in order; of the last subjects perhaps none yet."""
    lacks = {offset.subject: (offset.delivered, offset.newest) for offset in offsets}
    found: dict[str, list[Event]] = {}
    if not lacks:
        return found
    # By what they have had, so that no long history is read for one that is new.
    had: dict[int, list[str]] = {}
    for subject, (delivered, _newest) in lacks.items():
        had.setdefault(delivered, []).append(subject)
    wanted = Q()
    for delivered, subjects in had.items():
        wanted |= Q(subject__in=subjects, sequence__gt=delivered)
    rows = Event.objects.filter(wanted)
    for event in rows.order_by("subject", "sequence")[:_READ]:
        delivered, newest = lacks[event.subject]
        if delivered < event.sequence <= newest:
            found.setdefault(event.subject, []).append(event)
    return found


@dataclass
class _Progress:
    """What became of one offset under a claim."""

    offset: SinkOffset
    delivered: int
    taken: int = 0
    error: Exception | None = None
    # The event that was not taken, and since when what is left has waited.
    refused: Event | None = None
    waits: datetime | None = None

    def row(self, sink: Sink, at: datetime) -> tuple[Any, ...]:
        """Return the new values: delivered, state, due_at, waiting_since, attempts, error."""
        adapt = connection.ops.adapt_datetimefield_value
        waiting = adapt(self.waits or self.offset.waiting_since)
        if self.error is None:
            # Behind those that were not begun, where there is more.
            due = at if self.delivered >= self.offset.newest else at + _AFTER_THE_OTHERS
            moved = self.delivered > self.offset.delivered
            past = (0, "") if moved else (self.offset.attempts, self.offset.error)
            return (self.delivered, SinkOffset.State.OPEN.value, adapt(due), waiting, *past)
        state = (SinkOffset.State.DEAD if self.gives_up(sink) else SinkOffset.State.OPEN).value
        text = f"{type(self.error).__name__}: {self.error}"[:_ERROR].replace("\0", " ")
        pause = self.error.pause if isinstance(self.error, SinkDown) else sink.pause(self.attempts)
        return (self.delivered, state, adapt(at + pause), waiting, self.attempts, text)

    @property
    def attempts(self) -> int:
        """How often the event after `delivered` was tried, where it was not taken."""
        before = 0 if self.delivered > self.offset.delivered else self.offset.attempts
        # That the sink is down is nothing against the event.
        return before if isinstance(self.error, SinkDown) else before + 1

    def gives_up(self, sink: Sink) -> bool:
        """Whether the event has been tried often enough."""
        failed = self.error is not None and not isinstance(self.error, SinkDown)
        return failed and self.attempts >= sink.attempts


def _pass_on(sink: Sink, turn: _Turn, offset: SinkOffset, events: Sequence[Event]) -> _Progress:
    """Give one subject's events, up to the first that the sink doesn't take.

    None is begun when the turn is over.
    """
    progress = _Progress(offset, offset.delivered)
    for event in events:
        progress.waits = event.time
        if turn.is_over():
            return progress
        if sink.wants(event.type):
            token = correlation_id.set(sane_correlation_id(event.correlation_id))
            try:
                # What was refused is undone alone.
                with transaction.atomic() if sink.transactional else nullcontext():
                    sink.deliver(event)
            except Exception as error:
                progress.error, progress.refused = error, event
                logger.warning(
                    "event not delivered",
                    exc_info=error,
                    extra={"sink": sink.name, "event": str(event.pk), "subject": event.subject},
                )
                return progress
            finally:
                correlation_id.reset(token)
            progress.taken += 1
        progress.delivered = event.sequence
    if progress.delivered >= offset.newest:
        # What is put down meanwhile has not waited longer.
        progress.waits = turn.at
    return progress


def _deliver_outside(
    sink: Sink,
    claim: UUID,
    turn: _Turn,
    offsets: Sequence[SinkOffset],
    events: dict[str, list[Event]],
) -> int:
    noted = turn.began
    done: list[_Progress] = []
    taken = 0
    pause = timedelta(0)
    for offset in offsets:
        if turn.is_over():
            break
        clock = time.monotonic()
        if done and clock - noted > _NOTE_EVERY:
            _note_in_turn(sink, claim, turn, done)
            done, noted = [], clock
        progress = _pass_on(sink, turn, offset, events.get(offset.subject, ()))
        done.append(progress)
        taken += progress.taken
        if isinstance(progress.error, SinkDown):
            pause = progress.error.pause
            break
    _note_in_turn(sink, claim, turn, done)
    # What there was no time for is anybody's again, and comes first.
    _release(claim, offsets, turn.at + pause)
    return taken


def _deliver_within(
    sink: Sink,
    claim: UUID,
    turn: _Turn,
    offsets: Sequence[SinkOffset],
    events: dict[str, list[Event]],
) -> int:
    held = _hold(claim, offsets)
    done = [
        _pass_on(sink, turn, offset, events.get(offset.subject, ()))
        for offset in offsets
        if offset.pk in held
    ]
    _note(sink, claim, turn, done)
    return sum(progress.taken for progress in done)


def _hold(claim: UUID, offsets: Sequence[SinkOffset]) -> set[int]:
    """Lock what is still claimed, in the order in which `_want` does."""
    return set(
        SinkOffset.objects.filter(pk__in=[offset.pk for offset in offsets], claim=claim)
        .order_by("sink", "subject")
        .select_for_update()
        .values_list("pk", flat=True)
    )


def _note_in_turn(sink: Sink, claim: UUID, turn: _Turn, done: Sequence[_Progress]) -> None:
    """Note in a transaction of its own, again after a lost conflict: it has all been given."""
    if not done:
        return

    def work() -> None:
        held = _hold(claim, [progress.offset for progress in done])
        _note(sink, claim, turn, [progress for progress in done if progress.offset.pk in held])

    in_transaction(work)


def _note(sink: Sink, claim: UUID, turn: _Turn, done: Sequence[_Progress]) -> None:
    """Write how far it got, give the claims up, and tell what was given up.

    One statement, and what `given_up` does: neither is there without the other.
    """
    if not done:
        return
    at = turn.now()
    params: list[Any] = [connection.ops.adapt_datetimefield_value(at)]
    for progress in done:
        params += [progress.offset.pk, *progress.row(sink, at)]
    values = ", ".join(["(%s, %s, %s, %s, %s, %s, %s)"] * len(done))
    field = SinkOffset._meta.get_field("claim")
    params.append(field.get_db_prep_value(claim, connection))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE shop_sinkoffset SET updated_at = %s, claim = NULL, delivered = new.column2,"  # noqa: S608
            " state = new.column3, due_at = new.column4, waiting_since = new.column5,"
            " attempts = new.column6, error = new.column7"
            f" FROM (VALUES {values}) AS new"
            " WHERE shop_sinkoffset.id = new.column1 AND claim = %s",
            params,
        )
    for progress in done:
        if sink.given_up and progress.refused and progress.error and progress.gives_up(sink):
            sink.given_up(progress.refused, progress.error)


def send_all() -> int:
    """Put down and deliver until nothing is due; returns how many deliveries there were."""
    sent = 0
    while True:
        found = put_down()
        taken = sum(deliver(sink) for sink in sinks.registered())
        sent += taken
        if not found and not taken:
            return sent


def try_again(offset_id: int) -> bool:
    """Have a sink that was given up on tried again at once. Returns whether it was in that state.

    Raises nothing where there is no such row: False.
    """
    return bool(
        SinkOffset.objects.dead()
        .filter(pk=offset_id)
        .update(state=SinkOffset.State.OPEN, attempts=0, due_at=now())
    )


def skip(offset_id: int) -> bool:
    """Pass over the event that a sink was given up on, and go on with the next.

    Returns whether it was in that state.
    """

    def work() -> bool:
        offset = SinkOffset.objects.dead().select_for_update().filter(pk=offset_id).first()
        if offset is None:
            return False
        offset.delivered += 1
        offset.state, offset.attempts, offset.error = SinkOffset.State.OPEN, 0, ""
        offset.due_at = now()
        left = Event.objects.filter(subject=offset.subject, sequence__gt=offset.delivered)
        since = left.order_by("sequence").values_list("time", flat=True).first()
        # Nothing that is left has waited as long as what was passed over.
        offset.waiting_since = since or offset.due_at
        offset.save()
        return True

    return in_transaction(work)


def prune(before: datetime) -> int:
    """Delete offsets at rest or of sinks that are gone, since `before`; returns how many.

    The next event of the subject begins a new one where it stands. Events
    themselves are history and stay.
    """
    at_rest = Q(state=SinkOffset.State.OPEN, newest=F("delivered"))
    gone = ~Q(sink__in=[sink.name for sink in sinks.registered()])
    deleted, _rows = SinkOffset.objects.filter(at_rest | gone, updated_at__lt=before).delete()
    return deleted


def lag(at: datetime) -> float:
    """Return for how many seconds the oldest event has waited for us; 0 if none does.

    To be put down, or for a sink of the shop's own: one that is somebody else's may be
    down for a day, and nothing is wrong here. See `passing_lag`.
    """
    pending = Event.objects.pending().order_by("pk").values_list("time", flat=True).first()
    return max(_seconds(at, pending), _waits(at, sinks.standing()))


def passing_lag(at: datetime) -> float:
    """Return for how many seconds the oldest event has waited for a webhook; 0 if none does.

    Nobody waits for what is gone or switched off.
    """
    return _waits(at, sinks.passing())


def _waits(at: datetime, whose: Sequence[Sink]) -> float:
    behind = SinkOffset.objects.behind().filter(sink__in=[sink.name for sink in whose])
    oldest = behind.order_by("waiting_since").values_list("waiting_since", flat=True).first()
    return _seconds(at, oldest)


def _seconds(at: datetime, since: datetime | None) -> float:
    return 0.0 if since is None else max(0.0, (at - since).total_seconds())
