"""Changes stock at a rate, as sales would, and tells how soon readers see it.

Run as `python -m benchmarks.stock_writer first last rate port` in an arena. Products are
drawn as readers draw them. Each fifth of a second one change is watched: the seconds
from its commit until the web process shows it are printed.
"""

import http.client
import json
import random
import sys
import threading
import time

import django

THREADS = 4
_EVERY = 0.2


def _adjust(pk: int) -> int:
    from products.models import Reason
    from products.stock import adjust

    return adjust(product_id=pk, change=1, reason=Reason.RECEIVED, actor=None).balance_after


def change(products: list[int], rate: float) -> None:
    """Change stock `rate` times a second, for ever."""
    from benchmarks.reading import Zipf

    zipf = Zipf(len(products))
    due = time.monotonic()
    while True:
        due += random.expovariate(rate)  # noqa: S311
        time.sleep(max(0.0, due - time.monotonic()))
        _adjust(products[zipf.draw()])


def watch(products: list[int], port: int) -> None:
    """Change one of the hundred hottest, ask until it is seen, and print after how long."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while True:
        pk = products[random.randrange(100)]  # noqa: S311
        balance = _adjust(pk)
        committed = time.monotonic()
        while True:
            asked = time.monotonic()
            client.request("GET", f"/api/v2/products/{pk}")
            shown = json.loads(client.getresponse().read())["stock_quantity"]
            if shown >= balance:
                break
        # When it was asked for: how long the answer took is another matter.
        print(max(0.0, asked - committed), flush=True)
        time.sleep(_EVERY)


def main() -> None:
    """Run the threads."""
    first, last, port = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[4])
    rate = float(sys.argv[3]) / THREADS
    products = list(range(first, last + 1))
    random.Random(7).shuffle(products)  # noqa: S311
    for _ in range(THREADS):
        threading.Thread(target=change, args=(products, rate), daemon=True).start()
    watch(products, port)


if __name__ == "__main__":
    django.setup()
    main()
