"""The table of a mutation test, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from davinci_sim.core.checks import CHECKERS
from experiments.mutation.seeds import CLASSES
from experiments.mutation.trial import Verdict

CATCHERS = (*CHECKERS, "output")


def table(found: Sequence[Verdict]) -> str:
    """Return one row per class and the survivors below."""
    head = ("class", "seeded", "equivalent", *CATCHERS, "checkers alone", "caught", "share")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [_row(kind, [verdict for verdict in found if verdict.kind == kind]) for kind in CLASSES]
    lines.append(_row("**all**", found))
    survivors = [v for v in found if not v.is_caught and not v.is_equivalent]
    lines += ["", f"Survivors: {len(survivors)}", ""]
    lines += [f"- `{v.kernel}` {v.kind}: {v.what} ({v.launch})" for v in survivors]
    return "\n".join(lines) + "\n"


def between_marks(page: str, made: str, name: str = "mutants") -> str:
    """Return a page with `made` in place of what stands between the marks of a table."""
    begin, end = (f"<!-- {name}: {side} -->" for side in ("begin", "end"))
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n{made}{end}{rest.partition(end)[2]}"


def _row(title: str, found: Sequence[Verdict]) -> str:
    real = [verdict for verdict in found if not verdict.is_equivalent]
    caught = sum(verdict.is_caught for verdict in real)
    counts = [sum(name in verdict.caught_by for verdict in real) for name in CATCHERS]
    alone = sum(any(name in CHECKERS for name in verdict.caught_by) for verdict in real)
    share = f"{100 * caught / len(real):.1f} %" if real else "-"
    cells = (title, len(real), len(found) - len(real), *counts, alone, caught, share)
    return f"| {' | '.join(map(str, cells))} |"
