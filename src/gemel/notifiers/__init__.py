"""The wing of notifiers: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "email": "gemel.notifiers.email:Email",
    "webhook": "gemel.notifiers.webhook:Webhook",
}
