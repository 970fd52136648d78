"""The wing of detectors: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "champion": "gemel.detectors.champion:Champion",
    "committee": "gemel.detectors.committee:Committee",
    "drift": "gemel.detectors.drift:Drift",
    "health": "gemel.detectors.health:Health",
    "matrix": "gemel.detectors.matrix:Matrix",
    "residual": "gemel.detectors.residual:Residual",
    "spectrum": "gemel.detectors.spectrum:Spectrum",
    "subspace": "gemel.detectors.subspace:Subspace",
    "validity": "gemel.detectors.validity:Validity",
}
