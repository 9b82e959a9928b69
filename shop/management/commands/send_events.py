"""`manage.py send_events`: give events to sinks, in a process of its own."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from shop.events.sender import Sender
from shop.events.sinks import registered

# Seconds: more than the slowest delivery, less than the half minute after which it is killed.
_PATIENCE = 25.0


class Command(BaseCommand):
    """A sender until told to stop. Celery workers bring one each; this is one more."""

    help = "Give events to their sinks until told to stop; any number of these may run."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        sender = Sender()
        sender.start()
        names = ", ".join(sink.name for sink in registered())
        self.stdout.write(f"Sending events to: {names}.")
        self.stdout.flush()
        stop.wait()
        sender.stop(_PATIENCE)
