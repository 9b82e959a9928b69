"""`manage.py start`: the whole shop with one command."""

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from shop.accounts.groups import ensure_groups
from shop.accounts.models import User

PEOPLE: dict[str, tuple[str, ...]] = {
    "admin": (),
    "clerk": ("Catalogue", "Order desk"),
    "alice": (),
    "bob": (),
}
# Web requests may take their time to finish; beyond this they are cut.
_PATIENCE = 30.0


class Command(BaseCommand):
    """Prepare the database, then run web, worker and beat until told to stop."""

    help = (
        "Migrate, load the demo catalogue and its people on the first start, then run the web"
        " server, a Celery worker and Celery beat. PORT, HOST and DATA_DIR are honoured."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Address and port, by default from the environment."""
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1")
        parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000))

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        """Run everything; returns when all of it has ended."""
        if settings.PRODUCTION:
            raise CommandError(
                "`start` is for one machine and a first look; in production run the processes of"
                " the Procfile, each by itself."
            )
        # A stop during the preparation is a stop, without a stack trace.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            passwords = self._prepare()
            # Three processes follow; none of them shares this connection.
            connections.close_all()
            self._run(host, port, passwords)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def _prepare(self) -> dict[str, str]:
        call_command("migrate", verbosity=0, interactive=False)
        if User.objects.exists():
            return {}
        from importlib import import_module

        self.stdout.write("First start: loading the demo catalogue …")
        # By name: shop imports no app, and this is the one place that starts them all.
        import_module("products.demo_data").load_demo_catalogue()
        ensure_groups()
        return self._make_people()

    def _make_people(self) -> dict[str, str]:
        passwords = {name: secrets.token_urlsafe(9) for name in PEOPLE}
        for name, groups in PEOPLE.items():
            user = User.objects.create_user(
                name,
                f"{name}@example.com",
                passwords[name],
                is_staff=bool(groups) or name == "admin",
                is_superuser=name == "admin",
            )
            user.groups.set(Group.objects.filter(name__in=groups))
        return passwords

    def _run(self, host: str, port: int, passwords: dict[str, str]) -> None:
        python = sys.executable
        celery = ["celery", "--quiet", "-A", "shop"]
        worker = [*celery, "worker", "-l", "WARNING", "--without-gossip"]
        commands = {
            "web": ["shop.daphne", "-b", host, "-p", str(port)],
            # Threads: the embedded jobs are few, and each process costs memory.
            # One of them may be taken by long work.
            "worker": [
                *worker,
                *("--queues", "jobs.default,jobs.long", "--without-mingle"),
                *("--pool", "threads", "--concurrency", "3"),
            ],
            "beat": [*celery, "beat", "-l", "WARNING", "--pidfile="],
        }
        stopping = False

        def stop(*_: Any) -> None:
            nonlocal stopping
            stopping = True

        # Our children get their signals from us, once, also when the terminal
        # sends Ctrl-C to the whole group.
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        children = {
            name: subprocess.Popen([python, "-m", *command], start_new_session=True)
            for name, command in commands.items()
        }
        try:
            announced = False
            while not stopping:
                for name, child in children.items():
                    if child.poll() is not None:
                        raise CommandError(f"{name} ended by itself with code {child.returncode}.")
                if not announced and self._is_ready(host, port):
                    self._announce(host, port, passwords)
                    announced = True
                time.sleep(0.2)
        finally:
            self._end(children)
        self.stdout.write("Stopped.")

    def _is_ready(self, host: str, port: int) -> bool:
        address = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
        request = urllib.request.Request(
            f"http://{address}:{port}/health/ready", headers={"Host": "localhost"}
        )
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def _announce(self, host: str, port: int, passwords: dict[str, str]) -> None:
        base = f"http://{host}:{port}"
        lines = ["", f"The shop is open at {base}/", ""]
        if passwords:
            lines += ["Passwords, shown this once:"]
            lines += [f"  {name:<6} {password}" for name, password in passwords.items()]
            lines += [""]
        lines += [
            "Three things to try:",
            f"  {base}/api/v2/docs   the API, to click through",
            f"  {base}/admin/        products, stock and orders; sign in as clerk",
            f"  curl '{base}/api/v2/products?category=electronics&ordering=price'",
            "",
            "Ctrl-C ends it.",
            "",
        ]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()

    def _end(self, children: dict[str, subprocess.Popen[bytes]]) -> None:
        for child in children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        for name, child in children.items():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.stderr.write(f"{name} did not end in time and is killed.")
                child.kill()
                child.wait()
