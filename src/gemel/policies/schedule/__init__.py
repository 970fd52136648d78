"""Job shops and flow shops: what is to be done, a schedule of it, and a second opinion on the schedule.

    from gemel.policies.schedule import Machine, Operation, Order, Problem, solve, verify

    problem = Problem((Machine("saw"),), (Order("17", (Operation({"saw": 40}),), due=90),))
    schedule = solve(problem, seconds=5)
    assert not verify(problem, schedule)

`problem` holds the values, `solve` the search and the new schedule after a breakdown, `verify` the second opinion,
`dispatch` the rules of thumb, `bound` a bound without the solver, `parse` the field's text form. Needs no twin.
"""

from gemel.policies.schedule.parse import flow_shop, job_shop
from gemel.policies.schedule.problem import Machine, Operation, Order, Problem, Schedule, Service, Task, Visit
from gemel.policies.schedule.solve import reschedule, solve
from gemel.policies.schedule.verify import cost, verify

__all__ = [
    "Machine",
    "Operation",
    "Order",
    "Problem",
    "Schedule",
    "Service",
    "Task",
    "Visit",
    "cost",
    "flow_shop",
    "job_shop",
    "reschedule",
    "solve",
    "verify",
]
