"""The wing of explainers: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "attribution": "gemel.explainers.attribution:Attribution",
    "counterfactual": "gemel.explainers.counterfactual:Counterfactual",
    "rules": "gemel.explainers.rules:Rules",
    "surrogate": "gemel.explainers.surrogate:Surrogate",
}
