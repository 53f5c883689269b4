"""One model in training: a step, and its state. Knows no deadline, no budget and no disk."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from isoflop.core.errors import CorruptFileError
from isoflop.core.products import Recipe
from isoflop.model.config import ModelConfig
from isoflop.model.transformer import build_model
from isoflop.train.batches import Batches
from isoflop.train.checkpoint import Place, Snapshot
from isoflop.train.diloco import PREFIX, OuterStep
from isoflop.train.noise import NoiseScale
from isoflop.train.optimizers import Optimizer, gradient_norm
from isoflop.train.ranks import STEP, Ranks
from isoflop.train.schedule import Anchor, rate_scale

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Trainer:
    """Model, optimizer, data order and schedule; equal arguments and threads give equal bits."""

    def __init__(
        self,
        config: ModelConfig,
        recipe: Recipe,
        shards: Sequence[np.ndarray],
        *,
        dtype: str,
        compiled: bool = False,
        device: str = "cpu",
        ranks: Ranks | None = None,
        agree_every: int | None = None,
    ) -> None:
        """With ``agree_every`` the processes of ``ranks`` train apart for so many steps at a time (`train.diloco`)."""
        self.config, self.recipe, self.device, self.ranks = config, recipe, torch.device(device), ranks
        torch.manual_seed(recipe.seed)  # dropout's draws; the initial weights have a generator of their own
        self.model = build_model(config, seed=recipe.seed).to(self.device, DTYPES[dtype])
        self.model.label_smoothing, self.model.z_loss = recipe.label_smoothing, recipe.z_loss
        self.optimizer = Optimizer(self.model, recipe)
        self.batches = Batches(
            shards,
            context=recipe.context,
            sequences=recipe.batch_tokens // recipe.context,
            unique_tokens=recipe.unique_tokens,
            seed=recipe.seed,
        )
        if compiled:
            self.model.compile_parts()
        self.outer = OuterStep(self.optimizer, agree_every) if ranks and agree_every else None
        self.together = None if self.outer else ranks
        """The processes whose gradients are averaged at every step."""
        self.forward = self.together.engine(self.model) if self.together else self.model
        self.parameters = list(self.model.parameters())
        part = recipe.batch_tokens // recipe.micro_batches // (ranks.size if ranks else 1)
        told = recipe.micro_batches > 1 and (ranks is None or ranks.leads) and self.outer is None
        self.noise = NoiseScale(part, recipe.batch_tokens) if told else None
        self.data_seconds = 0.0
        """Spent waiting for text since the run was made."""
        self.num_done = self.num_agreed = 0
        """Steps done, and those behind the last agreement of processes that train apart."""
        self.first_window = 0
        """Windows of the data stream that an earlier run with another batch had used up."""
        self.skipped: list[int] = []
        """Batches of the stream that are passed over, by number, ascending."""
        self.anchor = Anchor(0, 0.0, recipe.num_steps)

    @property
    def tokens_seen(self) -> int:
        return self.first_window * self.recipe.context + self.num_done * self.recipe.batch_tokens

    @property
    def progress(self) -> float:
        """Share of the schedule done."""
        return self.anchor.progress_at(self.num_done)

    def step(self) -> tuple[Tensor, Tensor, Tensor]:
        """One step; scalars: what was minimised (nats per token), the gradient's norm, and whether it was clipped."""
        # the rate in the middle of the step, so that the last step of a decay still has one
        scale = rate_scale(
            self.anchor.progress_at(self.num_done) / 2 + self.anchor.progress_at(self.num_done + 1) / 2, self.recipe
        )
        window = self.first_window + self.batch_number(self.num_done) * self.batches.sequences
        if self.ranks:
            self.ranks.tell(STEP, window, scale)
        result = self.apply(window, scale)
        self.num_done += 1
        if self.ranks:
            self.ranks.idle = True
        if self.outer and self.num_done - self.num_agreed >= self.outer.every:
            self.agree()
        return result

    def agree(self) -> None:
        """Ends the steps that processes took apart, if they did: from here on all have the same weights."""
        if self.outer and self.ranks and self.num_done > self.num_agreed:
            self.ranks.outer_step(self)
            self.num_agreed = self.num_done

    def apply(self, window: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """A step on the batch at ``window`` of the stream, at ``scale`` times the peak rate; all processes together."""
        started = time.perf_counter()
        inputs, targets = (block.to(self.device) for block in self.batches(window))
        self.data_seconds += time.perf_counter() - started
        if self.ranks and self.config.dropout:  # drawn anew each step, so that followers have nothing to save
            torch.manual_seed(hash((self.recipe.seed, window, self.ranks.rank)))
        loss = self._gradients(inputs, targets)
        norm, clipped = self.optimizer.step(scale)
        if self.noise:
            self.noise.add(self._part_square, norm.square())
        return loss, norm, clipped

    def _gradients(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Leaves the mean loss's gradients at the parameters and returns that loss; by all processes, where there are
        several, and in parts, where the recipe says so."""
        rows, weight = slice(0, len(inputs)), 1.0
        if self.ranks:
            rows = self.ranks.rows(len(inputs))
        if self.together:
            weight = (rows.stop - rows.start) * self.together.size / len(inputs)
        if self.recipe.micro_batches > 1:
            loss = self._in_parts(inputs[rows], targets[rows], weight)
        else:
            loss = self.forward(inputs[rows], targets[rows]) * weight
            loss.backward()
        return self.together.mean(loss.detach()) if self.together else loss.detach()

    def _in_parts(self, inputs: Tensor, targets: Tensor, weight: float) -> Tensor:
        """The same, part after part, the gradients summed in float32 and then over processes."""
        sums = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in self.parameters]
        total, squares = torch.zeros((), device=self.device), []
        count = min(self.recipe.micro_batches, len(inputs))
        for part in zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True):
            share = weight * len(part[0]) / len(inputs)
            loss = self.model(*part)
            loss.backward()
            total += loss.detach() * share
            squares.append(gradient_norm(self.parameters).square())
            for summed, parameter in zip(sums, self.parameters, strict=True):
                assert parameter.grad is not None
                summed.add_(parameter.grad, alpha=share)
                parameter.grad = None
        for summed, parameter in zip(sums, self.parameters, strict=True):
            parameter.grad = (self.together.mean(summed) if self.together else summed).to(parameter.dtype)
        self._part_square = torch.stack(squares).mean()
        return total

    def batch_number(self, step: int) -> int:
        """Which batch of the stream the step reads that comes after ``step`` others."""
        number = step
        for skipped in self.skipped:
            number += skipped <= number
        return number

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on (the model's weights follow from the masters)."""
        return self.common() | {"rng": torch.get_rng_state()}

    def common(self) -> dict[str, Tensor]:
        """What a leader's checkpoint gives to all processes."""
        return self.optimizer.state() | (self.outer.state() if self.outer else {})

    def snapshot(self) -> Snapshot:
        """A copy of the state in the CPU's memory."""
        tensors = {name: value.to("cpu", copy=True) for name, value in self.state().items()}
        return Snapshot(Place(self.num_done, self.anchor, self.first_window, list(self.skipped)), tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot; bit-exact. `CorruptFileError` for one of another model or optimizer."""
        state = self.optimizer.state()
        if _shapes(self.state()) != _shapes(snapshot.tensors):
            raise CorruptFileError(
                "the checkpoint is of another model than this study's plan",
                where=snapshot.source,
                remedy="Delete the folder, then resume",
            )
        for name, value in state.items():
            value.copy_(snapshot.tensors[name])
        if self.outer:
            self.outer.restore(snapshot.tensors)
        self.optimizer.publish()
        torch.set_rng_state(snapshot.tensors["rng"])
        place = snapshot.place
        self.num_done, self.anchor = place.num_done, place.anchor
        self.first_window, self.skipped, self.num_agreed = place.first_window, list(place.skipped), place.num_done
        if self.ranks:
            self.ranks.share(self)

    def adopt(self, snapshot: Snapshot, *, tokens: int) -> None:
        """Goes on from another run's trunk of the same shape, ``tokens`` into the data, under this run's recipe."""
        self.restore(snapshot)
        self.num_done = self.num_agreed = 0
        self.first_window, self.skipped = tokens // self.recipe.context, []
        self.anchor = Anchor(
            0, min(0.5, tokens / (tokens + self.recipe.num_steps * self.recipe.batch_tokens)), self.recipe.num_steps
        )


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    """Of what any way to train the model has."""
    return {name: tensor.shape for name, tensor in tensors.items() if not name.startswith(PREFIX)}
