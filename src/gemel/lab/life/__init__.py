"""Learning remaining useful life from a fleet that ran to failure."""
