"""The desk: answers questions about a twin in the process that holds its store, running or not."""

from gemel.desk.desk import KINDS, OPEN, Desk

__all__ = ["KINDS", "OPEN", "Desk"]
