"""What the tests of the window share."""

from serve.browser import chromium, demo

__all__ = ["chromium", "demo"]
