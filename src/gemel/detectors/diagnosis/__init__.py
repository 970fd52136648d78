"""Which component, and what is wrong with it: residuals of a learned normal, known cases, rules of people."""
