"""Equations of a user's own as a simulator: what they declare, how they are solved, and the part itself."""
