"""Signed webhooks: other systems are told of events."""
