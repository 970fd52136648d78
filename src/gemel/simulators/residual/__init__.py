"""Physics and a learned correction: the part, what it learns from, and the regression."""
