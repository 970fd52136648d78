"""Problems from the field's standard text, and from plain arrays of times."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.core.errors import InputError
from gemel.policies.schedule.problem import Machine, Operation, Order, Problem


def job_shop(text: str) -> Problem:
    """The standard form: a line with the numbers of jobs and machines, then a line a job with pairs of machine (from 0)
    and time. Lines of words or of a `#` before are passed over. Minimises the makespan."""
    rows: list[list[int]] = []
    for line in text.splitlines():
        try:
            row = [int(word) for word in line.split()]
        except ValueError:
            if rows:
                raise InputError(
                    f"a job shop in the standard form has only whole numbers, not '{line.strip()}'"
                ) from None
            continue
        if row:
            rows.append(row)
    if not rows or len(rows[0]) != 2 or len(rows) - 1 < rows[0][0]:
        raise InputError(
            "this is no job shop in the standard form",
            "first line: the numbers of jobs and machines; then a line a job: machine time machine time ...",
        )
    (jobs, machines), lines = rows[0], rows[1 : rows[0][0] + 1]
    for i, row in enumerate(lines):
        if not row or len(row) % 2 or not all(0 <= m < machines for m in row[::2]) or min(row) < 0:
            raise InputError(f"job {i}: pairs of a machine (0 .. {machines - 1}) and a time are needed, not {row}")
    orders = [
        Order(f"J{i}", tuple(Operation({f"M{m}": work}) for m, work in zip(row[::2], row[1::2], strict=True)))
        for i, row in enumerate(lines)
    ]
    return Problem(tuple(Machine(f"M{m}") for m in range(machines)), tuple(orders[:jobs]))


def flow_shop(times: Sequence[Sequence[int]]) -> Problem:
    """Every job passes all machines in the same order; `times[job][machine]`. Minimises the makespan."""
    count = len(times[0])
    orders = tuple(
        Order(f"J{i}", tuple(Operation({f"M{m}": work}) for m, work in enumerate(row))) for i, row in enumerate(times)
    )
    return Problem(tuple(Machine(f"M{m}") for m in range(count)), orders)
