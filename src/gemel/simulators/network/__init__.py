"""Lumped thermal and hydraulic networks: what a twin file declares of one, its equations, and the part itself."""
