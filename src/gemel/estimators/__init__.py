"""The wing of estimators: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "enkf": "gemel.estimators.enkf:Enkf",
    "particle": "gemel.estimators.particle:Particle",
}
