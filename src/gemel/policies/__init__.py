"""The wing of policies: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "shooting": "gemel.policies.shooting:Shooting",
}
