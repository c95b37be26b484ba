"""Randomness as a function of the position in a training: nothing needs to be stored to have it again."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch


class Draw(NamedTuple):
    """What a sampler drew, and for what: the iteration that it is drawn for, and its place in the batch."""

    index: Any
    iteration: int
    place: int


def seed_all(*position: int | str) -> None:
    """Seed Python's, NumPy's and torch's generators with a hash of a position, and those of GPUs in use."""
    seed = seed_cpu(*position)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def seed_cpu(*position: int | str) -> int:
    """Seed the generators of the CPU alone, and return the seed.

    ``torch.manual_seed`` takes a thousand times as long: for GPUs not in use yet it notes every call.
    """
    digest = hashlib.blake2b(repr(position).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, 'little') >> 1
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    return seed


@contextmanager
def generators_kept() -> Iterator[None]:
    """Leave the generators of the CPU as they are, whatever is done with them."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class PositionedBatches:
    """A batch sampler whose batches know what iteration they are for, and that can skip some.

    Whatever the sampler underneath draws at random from the global generators is a function of the
    iteration as well. Everything else is the sampler's: its ``sampler``, ``batch_size``, length.

    Args:
        batch_sampler: The batch sampler.
        seed: Of the training, the same on every rank.
    """

    def __init__(self, batch_sampler: Any, seed: int) -> None:
        self.batch_sampler = batch_sampler
        self.seed = seed
        self.iteration = 0  # that the next batch is for
        self._to_skip = 0
        self._next_pass: Callable[[], None] | None = None

    def skip(self, count: int, next_pass: Callable[[], None] | None = None) -> None:
        """Leave out batches of the next pass, for iterations that were trained already.

        Args:
            count: How many. The first that is drawn is for ``iteration`` all the same.
            next_pass: What to call when a pass has fewer, and another begins. Default: the pass is
                then empty.
        """
        self._to_skip, self._next_pass = count, next_pass

    def __iter__(self) -> Iterator[list[Draw]]:
        with generators_kept():
            batches = self._begin_behind_skipped()
        while True:
            with generators_kept():
                batch = self._draw(batches, self.iteration)
            if batch is None:
                return
            iteration = self.iteration
            self.iteration += 1
            yield [Draw(index, iteration, place) for place, index in enumerate(batch)]

    def _begin_behind_skipped(self) -> Iterator[list[Any]]:
        batches = self._begin()
        while self._to_skip:
            if self._draw(batches, self.iteration - self._to_skip) is not None:
                self._to_skip -= 1
            elif self._next_pass is None or not len(self):
                self._to_skip = 0
            else:
                self._next_pass()
                batches = self._begin()
        return batches

    def _begin(self) -> Iterator[list[Any]]:
        seed_cpu(self.seed, 'pass', self.iteration - self._to_skip)
        return iter(self.batch_sampler)

    def _draw(self, batches: Iterator[list[Any]], iteration: int) -> list[Any] | None:
        seed_cpu(self.seed, 'draw', iteration)
        return next(batches, None)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'batch_sampler':
            raise AttributeError(name)
        return getattr(self.batch_sampler, name)


class SeededDataset:
    """A dataset whose samples are a function of what was drawn, in whatever process they are made.

    Attributes are read from and written to the dataset itself, as hooks that switch a pipeline do.

    Args:
        dataset: The dataset.
        seed: Of the training.
        rank: Of this process; two ranks have samples of the same iteration and place.
    """

    __slots__ = ('_seeded', '_seed_and_rank')

    def __init__(self, dataset: Any, seed: int, rank: int) -> None:
        object.__setattr__(self, '_seeded', dataset)
        object.__setattr__(self, '_seed_and_rank', (seed, rank))

    def __getitem__(self, draw: Any) -> Any:
        if not isinstance(draw, Draw):
            return self._seeded[draw]
        seed, rank = self._seed_and_rank
        seed_cpu(seed, 'sample', rank, draw.iteration, draw.place)
        return self._seeded[draw.index]

    def __len__(self) -> int:
        return len(self._seeded)

    def __getattr__(self, name: str) -> Any:
        if name == '__getitems__':  # torch would ask for a whole batch at once
            raise AttributeError(name)
        return getattr(self._seeded, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._seeded, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._seeded, *self._seed_and_rank)
