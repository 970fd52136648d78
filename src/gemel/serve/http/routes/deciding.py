"""What is decided and done."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from gemel.core.values import Ack, Command, Decision
from gemel.serve.http import schema
from gemel.serve.http.hot import SPAN
from gemel.serve.http.routing import PREFIX, Body, Last, Name, hosted, needs, reply

route = APIRouter(prefix=PREFIX)


class Proposal(Body):
    setpoints: dict[str, float] = Field(description="Signal -> setpoint.", min_length=1, max_length=1000)
    reason: str = Field(default="", max_length=2000)
    valid: str = Field(default="1h", description="How long it may be approved.", json_schema_extra={"pattern": SPAN})
    dry: bool = Field(default=False, description="Show what would come of it, keep nothing.")


@route.get("/twins/{twin}/decisions", tags=["deciding"], **needs("read", list[Decision]))
async def decisions(request: Request, twin: Name, last: Last = 20) -> Response:
    """The newest decisions, oldest first."""
    return reply(await hosted(request, twin).ask("decisions", last=last))


@route.get("/twins/{twin}/commands", tags=["deciding"], **needs("read", list[schema.Sent]))
async def commands(request: Request, twin: Name, last: Last = 20) -> Response:
    """The commands of the newest decisions, each with what came of it."""
    found: Sequence[tuple[Command, Ack | None]] = await hosted(request, twin).ask("commands", last=last)
    return reply([{"command": command, "ack": ack} for command, ack in found])


@route.post("/twins/{twin}/decide", tags=["deciding"], **needs("simulate", Decision))
async def decide(request: Request, twin: Name) -> Response:
    """What the policy would do now. Nothing is sent or kept."""
    return reply(await hosted(request, twin).ask("decide"))


@route.post("/twins/{twin}/decisions", tags=["deciding"], **needs("propose", Decision))
async def propose(request: Request, twin: Name, body: Proposal) -> Response:
    """Propose setpoints, for a person to approve."""
    return reply(await hosted(request, twin).ask("propose", **body.model_dump()))


@route.post("/twins/{twin}/decisions/{id}/approve", tags=["deciding"], **needs("approve", Decision))
async def approve(request: Request, twin: Name, id: str) -> Response:
    """Send a proposal, if it is still allowed now."""
    return reply(await hosted(request, twin).ask("approve", id=id))


@route.post("/twins/{twin}/decisions/{id}/reject", tags=["deciding"], **needs("approve", Decision))
async def reject(request: Request, twin: Name, id: str) -> Response:
    """Say no to a proposal."""
    return reply(await hosted(request, twin).ask("reject", id=id))
