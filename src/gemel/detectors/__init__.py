"""The wing of detectors: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "autoencoder": "gemel.detectors.autoencoder:Autoencoder",
    "champion": "gemel.detectors.champion:Champion",
    "classifier": "gemel.detectors.classifier:Classifier",
    "committee": "gemel.detectors.committee:Committee",
    "control": "gemel.detectors.control:Control",
    "crossing": "gemel.detectors.crossing:Crossing",
    "diagnosis": "gemel.detectors.diagnosis.detector:Diagnosis",
    "drift": "gemel.detectors.drift:Drift",
    "foundation": "gemel.detectors.foundation:Foundation",
    "health": "gemel.detectors.health:Health",
    "inspection": "gemel.detectors.inspection:Inspection",
    "life": "gemel.detectors.life.detector:Life",
    "matrix": "gemel.detectors.matrix:Matrix",
    "metrology": "gemel.detectors.metrology:Metrology",
    "residual": "gemel.detectors.residual:Residual",
    "spectrum": "gemel.detectors.spectrum:Spectrum",
    "subspace": "gemel.detectors.subspace:Subspace",
    "validity": "gemel.detectors.validity:Validity",
}
