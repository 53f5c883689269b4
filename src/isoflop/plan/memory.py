"""What training needs of memory, and how a batch has to go through so that it fits."""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.core.products import USUAL_METHOD, Method
from isoflop.model.config import ModelConfig
from isoflop.model.count import BYTES, Dtype, checkpoint_bytes, count_parameters, memory_bytes
from isoflop.plan.rules import batch_tokens
from isoflop.train.shares import shares_evenly

MEMORY_SHARE = 0.8
"""Share of the machine's memory a plan may use."""
FLOAT32_BYTES = 4
NUM_COPIES = 2
"""Of the state, that a replay holds."""
SECOND_MOMENT = ("adamw", "lamb", "schedule-free")


@dataclass(frozen=True)
class Room:
    """The memory there is, and what is fixed of its use."""

    machine_bytes: int
    process_bytes: int
    """That training will need beside its tensors."""
    context: int
    dtype: Dtype
    method: Method = USUAL_METHOD
    ranks: int = 1
    """Processes that divide every batch, each with room of its own."""
    may_share: bool = False
    """Whether these may hold shares of the model instead of all of it each."""
    copies: float = NUM_COPIES
    """Of the whole state, that are in this room: none of a GPU's, those of one process among several."""

    @property
    def limit(self) -> float:
        return MEMORY_SHARE * self.machine_bytes


@dataclass(frozen=True)
class Passage:
    """How a batch goes through the model."""

    parts: int
    """Equal ones of whole sequences, one after another."""
    recompute: bool = False
    """Whether blocks compute their activations once more in the backward pass."""
    sharded: bool = False
    """Whether processes hold shares of the model instead of all of it each."""


def fits(room: Room, config: ModelConfig, tokens: float) -> bool:
    """Whether ``config`` can be trained on so many tokens, however the batch goes through."""
    return needed(room, config, tokens) <= room.limit


def needed(room: Room, config: ModelConfig, tokens: float) -> int:
    """Expected peak bytes of the process that trains, the batch going through as `passage` says."""
    return _needed(room, config, tokens, passage(room, config, tokens))


def passage(room: Room, config: ModelConfig, tokens: float) -> Passage:
    """The fewest parts that fit; where single sequences do not, again with what costs a third of a step more; then with
    shares of the model, where processes may share it, in as many parts; the least of all where nothing fits."""
    sequences = _sequences(room, tokens)
    counts = [count for count in range(1, sequences + 1) if sequences % count == 0]
    layouts = (False, True) if room.may_share and shares_evenly(config, room.ranks) else (False,)
    ways = [Passage(count, again, sharded) for sharded in layouts for again in (False, True) for count in counts]
    return next((way for way in ways if _needed(room, config, tokens, way) <= room.limit), ways[-1])


def _needed(room: Room, config: ModelConfig, tokens: float, way: Passage) -> int:
    """Of the process, a step, copies of the state, and the float32 sums over parts."""
    part, shares = _sequences(room, tokens) * room.context // way.parts, room.ranks if way.sharded else 1
    step = memory_bytes(config, part, room.context, room.dtype, recompute=way.recompute, shares=shares)
    sums = FLOAT32_BYTES * count_parameters(config).all if way.parts > 1 else 0
    more = _more_state(room.method, config)
    alike = room.ranks > 1 and not way.sharded
    buckets = BYTES[room.dtype] * count_parameters(config).all if alike else 0  # of gradients on their way
    copies = round(room.copies * (checkpoint_bytes(config) + more))
    return room.process_bytes + step + buckets + copies + (more + sums) // shares


def _sequences(room: Room, tokens: float) -> int:
    """Of a batch, that one process has."""
    return max(1, round(batch_tokens(tokens, context=room.context) / room.context / room.ranks))


def _more_state(method: Method, config: ModelConfig) -> int:
    """Beyond that of Muon, which the counts are of: a second moment, and a running average."""
    tensors = (method.optimizer in SECOND_MOMENT) + (method.average_decay > 0)
    return FLOAT32_BYTES * count_parameters(config).all * tensors
