"""Placing orders in a loop with no HTTP: what order creation could reach at most.

Run as `python -m benchmarks.order_loop` in an arena's environment; prints one
line of JSON: `{"seconds": …, "orders": …, "errors": …, "cpu": …}`.
"""

import argparse
import json
import os
import random
import sys
import threading
import time

import django

LINES = 2


def main() -> None:
    """Run the loop on so many threads, each with a database connection of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warm-up", type=float, default=1)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--last", type=int, required=True)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    django.setup()

    from django.db import connection

    from orders.actions import Line, place_order
    from shop.accounts.models import User

    customers = list(User.objects.order_by("pk")[: options.threads])
    address = {"street": "123 Main St", "city": "Seoul", "postal_code": "12345"}
    begin = time.perf_counter() + options.warm_up
    end = begin + options.seconds
    counts = [0] * options.threads
    errors: list[str] = []

    def work(index: int) -> None:
        customer = customers[index % len(customers)]
        keys = range(options.first, options.last + 1)
        try:
            while (now := time.perf_counter()) < end:
                lines = [Line(pk, 1) for pk in random.sample(keys, LINES)]
                place_order(customer=customer, lines=lines, address=address)
                if now >= begin and time.perf_counter() < end:
                    counts[index] += 1
        except Exception as error:
            errors.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(options.threads)]
    for thread in threads:
        thread.start()
    time.sleep(max(0.0, begin - time.perf_counter()))
    cpu = time.process_time()
    time.sleep(max(0.0, end - time.perf_counter()))
    cpu = time.process_time() - cpu
    for thread in threads:
        thread.join(timeout=60)
    result = {"seconds": options.seconds, "orders": sum(counts), "errors": errors, "cpu": cpu}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
