"""Calibrating a twin's simulator: the fit, its proof on held-back time, the report, versions, and doing it again."""
