"""JSON as the API writes it."""

import tracemalloc

from shop.rest import dump_json


def test_json_takes_the_memory_of_its_length():
    # Thousands are kept; orjson's own buffer is of 4 KB for 20 bytes, of 128 for 10,000.
    data = [{"text": "x" * length} for length in (10, 700, 10_000)] * 20
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        written = [dump_json(each) for each in data]
        took = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert took < 1.2 * sum(map(len, written))
