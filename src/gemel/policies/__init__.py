"""The wing of policies: kind -> class, imported when named."""

PARTS: dict[str, str] = {
    "maintenance": "gemel.policies.maintenance:Maintenance",
    "schedule": "gemel.policies.schedule.policy:Scheduler",
    "shooting": "gemel.policies.shooting:Shooting",
}
