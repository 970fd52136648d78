"""Factories: an emulated machining line, and the twin file of the demo that watches over it."""
