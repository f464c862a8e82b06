"""How a figure is taken: calibrated loops, interleaved rounds, medians with their spread.

Subject and rival run in the same process, turn by turn and in alternating order, so that whatever the machine does
meanwhile happens to both. The ratio is the median of the rounds' own ratios. The garbage collector runs before each
sample, never within.
"""

import gc
import statistics
import timeit
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
from loguru import logger

Sampler = Callable[[int], float]
"""Runs an operation that many times and gives the seconds it took for one operation each, in total."""


@attrs.frozen
class Effort:
    """How much time to spend.

    Attributes:
        sample: seconds that one sample should take.
        rounds: samples of each operation.
        quick: whether sizes and repeats are cut down too; such figures show that it runs, not how fast.
        load: seconds of hot swaps under full read load, all rounds together.
    """

    sample: float
    rounds: int
    quick: bool
    load: float


FULL = Effort(sample=0.12, rounds=9, quick=False, load=60.0)
QUICK = Effort(sample=0.02, rounds=3, quick=True, load=10.0)


@attrs.frozen
class Series:
    """The samples of one quantity, in the order they were taken."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The spread: a quarter of the samples lies below the first, a quarter above the second."""
        if len(self.samples) == 1:
            return self.samples[0], self.samples[0]
        first, _, third = statistics.quantiles(self.samples, n=4, method="inclusive")
        return first, third

    def over(self, other: "Series") -> "Series":
        """Divide round by round, so that a slow moment of the machine cancels out."""
        return Series(tuple(mine / theirs for mine, theirs in zip(self.samples, other.samples, strict=True)))


def statement(code: str, *, unroll: int = 1, per: int = 1, **names: Any) -> Sampler:
    """Make a sampler of a statement.

    Args:
        code: the statement; it sees the names as fast local variables.
        unroll: how often the loop's body repeats it, so that the loop itself weighs nothing against a few nanoseconds.
        per: operations that one execution of the statement stands for.
        names: what the statement refers to.
    """
    setup = "; ".join(f"{name} = _names[{name!r}]" for name in names) or "pass"
    timer = timeit.Timer("\n".join([code] * unroll), setup=setup, globals={"_names": names})
    width = unroll * per

    def sample(number: int) -> float:
        loops = -(-number // width)
        return timer.timeit(loops) / (loops * width) * number

    return sample


def measure(effort: Effort, samplers: Mapping[str, Sampler]) -> dict[str, Series]:
    """Take interleaved samples of several operations.

    Args:
        effort: how long and how often.
        samplers: the operations by label.

    Returns:
        Seconds per operation, by label.
    """
    numbers = {label: _calibrate(sampler, effort.sample) for label, sampler in samplers.items()}
    taken: dict[str, list[float]] = {label: [] for label in samplers}
    for turn in range(effort.rounds):
        for label in list(samplers) if turn % 2 == 0 else list(samplers)[::-1]:
            taken[label].append(_sample(samplers[label], numbers[label]) / numbers[label])
    return {label: Series(tuple(samples)) for label, samples in taken.items()}


@contextmanager
def forgetting_logs() -> Iterator[None]:
    """Have what jackfield logs written to a sink that forgets it, so that it costs what it costs and shows nowhere."""
    logger.remove()
    sink = logger.add(lambda _: None, level="INFO")
    try:
        yield
    finally:
        logger.remove(sink)


def _calibrate(sampler: Sampler, target: float) -> int:
    """Find how many operations fill the target time; the growing runs are the warm-up."""
    number = 1
    while True:
        elapsed = _sample(sampler, number)
        if elapsed >= target / 4:
            return max(1, round(number * target / elapsed))
        number *= 4


def _sample(sampler: Sampler, number: int) -> float:
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        return sampler(number)
    finally:
        if enabled:
            gc.enable()
