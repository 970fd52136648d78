"""What the detectors compute, as functions and classes of arrays; no twin is needed to use them."""
