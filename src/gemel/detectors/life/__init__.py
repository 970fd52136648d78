"""Remaining useful life on site: what a unit's whole history says of it, without torch."""
