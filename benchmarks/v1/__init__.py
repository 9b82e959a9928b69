"""The plain API: what v2 replaces, and what it is measured against.

Ordinary DRF, as a good tutorial has it: model viewsets, model serializers,
pages with a count. Correct and safe, with no cache and no tuning, and nothing
made slower than it would be.
"""
