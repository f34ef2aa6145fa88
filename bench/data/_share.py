"""Which part of every batch a process takes, where several train one run together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """One of `ranks` processes, each with a device of its own; alone unless it is said."""

    rank: int = 0
    ranks: int = 1

    def parts(self, count: int) -> list[slice]:
        """The parts of a batch of `count`, one a rank, in order; sizes differ by at most one.

        A batch that has not a sample for each rank is one part: every rank takes all of it.
        """
        ranks = self.ranks if count >= self.ranks else 1
        ends = [count * rank // ranks for rank in range(ranks + 1)]
        return [slice(*pair) for pair in zip(ends, ends[1:], strict=False)]

    def own(self, count: int) -> slice:
        """The rank's part of a batch of `count`."""
        parts = self.parts(count)
        return parts[self.rank % len(parts)]
