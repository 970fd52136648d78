"""The wing of estimators: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "compete": "gemel.estimators.compete:Compete",
    "enkf": "gemel.estimators.enkf:Enkf",
    "particle": "gemel.estimators.particle:Particle",
}
