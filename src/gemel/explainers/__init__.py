"""The wing of explainers: kind -> class, imported when named."""

PARTS: dict[str, str] = {}
