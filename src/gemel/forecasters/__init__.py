"""The wing of forecasters: kind -> class, imported when named."""

PARTS: dict[str, str] = {}
