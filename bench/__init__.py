"""Figures, each beside a peer or a limit taken in the same run: `python3 dev.py bench NAME [--json]`."""
