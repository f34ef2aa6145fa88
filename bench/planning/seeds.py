"""The seeds that the results so far decide, for a suite with `seeds: {first, most, until}`.

The seeds are a function of the results of complete looks. Therefore they depend neither on the
order in which runs end, nor on interruptions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from bench.planning.plan import Cell, Plan, with_cells
from bench.planning.tuning import Read
from bench.suite import Method
from bench.suite.seeds import GroupLooks, UntilSettled

Line = tuple[str, str]  # names of a pair and a method
Lines = Mapping[Line, Sequence[Cell]]  # the cells of each method, in the order of the seeds


def settled(plan: Plan, read: Read) -> Plan:
    """Return a plan with the seeds that are decided; `later` has those that may still be run.

    After a look, a method continues if its verdict is open, and the reference method continues
    with it. Controls have the first seeds. A method whose run diverged, or was skipped, does not
    continue. A look waits for all its runs, except that failed runs are repeated.

    Args:
        plan: The plan with all seeds.
        read: Function that reads the result of a run.
    """
    rule = plan.suite.settling
    if rule is None:
        return plan
    counts: dict[Line, int] = {}
    most: dict[Line, int] = {}
    groups: list[GroupLooks] = []
    for group in dict.fromkeys(pair.group for pair in plan.suite.pairs):
        lines: dict[Line, list[Cell]] = {}
        for cell in plan.cells:
            if cell.pair.group == group:
                lines.setdefault((cell.pair.name, cell.method.name), []).append(cell)
        looks, numbers = _looks(group, lines, rule, cache(read))
        groups.append(looks)
        counts |= numbers
        open_lines = {*looks.open, *((pair, rule.reference) for pair, _ in looks.open)}
        most |= numbers | dict.fromkeys(open_lines, rule.most)
    decided = replace(_first(plan, counts), looks=tuple(groups))
    if most == counts:
        return decided
    return replace(decided, later=replace(_first(plan, most), looks=decided.looks))


def reported(plan: Plan) -> tuple[Cell, ...]:
    """Return the cells that tables show: with looks, those of complete looks, if there is one."""
    complete = {each.group: each.complete for each in plan.looks if each.complete}
    places = _places(plan)
    return tuple(
        cell
        for cell in plan.cells
        if cell.pair.group not in complete or places[cell.seed] < complete[cell.pair.group]
    )


def is_compared(method: Method, reference: str) -> bool:
    """Return whether the table compares a method with the reference method."""
    return method.name != reference and method.control is None


def _looks(
    group: str, lines: Lines, rule: UntilSettled, read: Read
) -> tuple[GroupLooks, dict[Line, int]]:
    """Return the looks at a group so far, and the number of seeds of each method."""
    from bench.stats.sequential import Looked, Looks, look  # imports numpy

    methods = {line[1]: cells[0].method for line, cells in lines.items()}
    compared = [name for name, method in methods.items() if is_compared(method, rule.reference)]
    pairs = list(dict.fromkeys(pair for pair, _ in lines))
    looks, numbers = Looks(rule.first, rule.most), dict.fromkeys(lines, rule.first)

    def values(pair: str, method: str, n: int) -> dict[int, float]:
        results = ((c.seed, read(c.run, c.teacher)[1]) for c in lines[pair, method][:n])
        return {seed: value for seed, value in results if value is not None}

    def columns(n: int) -> list[tuple[dict[int, float], list[dict[int, float]]]]:
        return [
            (values(pair, rule.reference, n), [values(pair, name, n) for name in compared])
            for pair in pairs
        ]

    state, complete = Looked.before(columns(0)), 0
    for n in range(rule.first, rule.most + 1):
        open_lines = [(pairs[i], compared[j]) for i, j in sorted(state.open)]
        running = {*open_lines, *((pair, rule.reference) for pair, _ in open_lines)}
        numbers |= dict.fromkeys(running, n)
        runs = [cell for line in running for cell in lines[line][:n]]
        if not runs or not all(read(cell.run, cell.teacher)[0] for cell in runs):
            break
        complete = n
        state = look(state, columns(n), looks, rule.seeds[:n], rule.tolerance)
    is_open = complete < rule.most
    lasting = [(pairs[i], compared[j]) for i, j in sorted(state.open)] if is_open else []
    ended = len(pairs) * len(compared) - len(lasting)
    return GroupLooks(group, complete, tuple(lasting), ended), numbers


def _first(plan: Plan, numbers: Mapping[Line, int]) -> Plan:
    """Return a plan with the first seeds of each pair and method."""
    places = _places(plan)
    return with_cells(
        plan,
        tuple(
            cell
            for cell in plan.cells
            if places[cell.seed] < numbers[cell.pair.name, cell.method.name]
        ),
    )


def _places(plan: Plan) -> dict[int, int]:
    """Return the place of each seed in the order of the suite, from 0."""
    return {seed: place for place, seed in enumerate(plan.suite.seeds)}
