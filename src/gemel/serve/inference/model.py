"""What the service asks of a model.

*Model* is the protocol's word: a thing with a name, versions, and tensors in and out.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gemel.serve.inference.tensors import Array, Port


@dataclass(frozen=True, slots=True)
class Work:
    """A request that was found to be sound."""

    key: Hashable
    """Works of one model with equal keys may be answered by one call."""
    rows: int
    """How much of a batch it takes."""
    asked: Any
    """What the model wants to remember of the request."""


class Model(Protocol):
    """Answers requests, several at once where it can. Two models of one name are two versions; the last one listed is
    asked when the caller names none."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Of what is in use now."""

    @property
    def platform(self) -> str: ...

    @property
    def inputs(self) -> Sequence[Port]: ...

    @property
    def outputs(self) -> Sequence[Port]: ...

    def load(self) -> None:
        """Make ready; called once, in the worker thread. Raises `GemelError` when it cannot be."""

    def read(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any]) -> Work:
        """Look at a request, quickly: this runs in the event loop. The inputs fit the ports. Raises `InputError`."""

    def infer(self, works: Sequence[Work]) -> list[dict[str, Array]]:
        """Outputs of works with equal keys, in the worker thread. No answer depends on the others in the call."""
