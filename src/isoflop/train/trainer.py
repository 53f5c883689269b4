"""One model in training: a step, and its state. Knows no deadline, no budget and no disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from isoflop.core.errors import CorruptFileError
from isoflop.core.products import Recipe
from isoflop.model.config import ModelConfig
from isoflop.model.transformer import Transformer, build_model
from isoflop.train.apart import Apart
from isoflop.train.batches import Batches
from isoflop.train.checkpoint import Place, Snapshot
from isoflop.train.diloco import PREFIX, OuterStep
from isoflop.train.layout import TOGETHER, Layout
from isoflop.train.noise import NoiseScale
from isoflop.train.optimizers import Optimizer, gradient_norm
from isoflop.train.ranks import GATHER, STEP, WEIGHTS, Ranks, Team
from isoflop.train.schedule import Anchor, rate_scale
from isoflop.train.shares import WHOLE, Whole

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
        ranks: Team | None = None,
        layout: Layout = TOGETHER,
    ) -> None:
        """The ``layout`` is that of the processes of ``ranks``, where there are several."""
        self.config, self.recipe, self.device = config, recipe, torch.device(device)
        self.ranks, self.layout = ranks, layout if ranks else TOGETHER
        torch.manual_seed(recipe.seed)  # dropout's draws; the initial weights have a generator of their own
        self.model = build_model(config, seed=recipe.seed).to(self.device, DTYPES[dtype])
        self.model.label_smoothing, self.model.z_loss = recipe.label_smoothing, recipe.z_loss
        self.model.recompute_blocks(recipe.recompute)
        if compiled:
            self.model.compile_parts()
        self.together = ranks if isinstance(ranks, Ranks) else None
        """The processes that take every step together."""
        self.apart = ranks if isinstance(ranks, Apart) else None
        self.shares = self._shares()
        self.optimizer = Optimizer(self.model, recipe, self.shares)
        self.batches = Batches(
            shards,
            context=recipe.context,
            sequences=recipe.batch_tokens // recipe.context,
            unique_tokens=recipe.unique_tokens,
            seed=recipe.seed,
        )
        self.outer = OuterStep(self.optimizer, self.layout.agree_every) if self.layout.agree_every else None
        alike = self.together is not None and self.together.parts > 1 and not self.layout.sharded
        self.replicas = self.together if alike else None
        """Those that hold the same weights, so that their gradients have to be averaged (FSDP2 does that itself)."""
        self.forward = self.replicas.engine(self.model) if self.replicas else self.model
        self.parameters = list(self.model.parameters())
        part = recipe.batch_tokens // recipe.micro_batches // (self.replicas.parts if self.replicas else 1)
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
        if self.together:
            self.together.idle = True

    def _shares(self) -> Whole:
        """What of the model is here, and who works on its whole matrices."""
        if self.together is None:
            return WHOLE
        if self.layout.slices > 1:
            return self.together.into_slices(self.model, self.layout.slices)
        return self.together.cut(self.model) if self.layout.sharded else self.together.replicas()

    @property
    def tokens_seen(self) -> int:
        return self.first_window * self.recipe.context + self.num_done * self.recipe.batch_tokens

    @property
    def progress(self) -> float:
        """Share of the schedule done."""
        return self.anchor.progress_at(self.num_done)

    def step(self) -> tuple[Tensor, Tensor, Tensor]:
        """One step; scalars: what was minimised (nats per token), the gradient's norm, and whether it was clipped."""
        window, scale = self.due(self.num_done)
        if self.together:
            self.together.tell(STEP, window, scale)
        elif self.apart and self.outer and self.num_done == self.num_agreed:
            end = min(self.num_done + self.outer.every, self.anchor.num_steps)
            self.apart.begin(self.outer, [self.due(step) for step in range(self.num_done, end)])
        result = self.apply(window, scale)
        self.num_done += 1
        if self.together:
            self.together.idle = True
        if self.outer and self.num_done - self.num_agreed >= self.outer.every:
            self.agree()
        return result

    def due(self, step: int) -> tuple[int, float]:
        """Where in the stream the step reads that comes after ``step`` others, and its share of the peak rate."""
        # the rate in the middle of the step, so that the last step of a decay still has one
        middle = self.anchor.progress_at(step) / 2 + self.anchor.progress_at(step + 1) / 2
        return self.first_window + self.batch_number(step) * self.batches.sequences, rate_scale(middle, self.recipe)

    def agree(self) -> None:
        """Ends the steps that processes took apart, if they did: from here on all have the same weights."""
        if self.outer and self.apart and self.num_done > self.num_agreed:
            self.apart.finish(self.outer, self.num_done - self.num_agreed)
            self.num_agreed = self.num_done

    def apply(self, window: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """A step on the batch at ``window`` of the stream, at ``scale`` times the peak rate; all processes together."""
        started = time.perf_counter()
        inputs, targets = (block.to(self.device) for block in self.batches(window))
        self.data_seconds += time.perf_counter() - started
        if self.ranks and self.config.dropout:  # drawn anew each step, so that followers have nothing to save
            torch.manual_seed(hash((self.recipe.seed, window, self.ranks.part)))
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
            weight = (rows.stop - rows.start) * self.together.parts / len(inputs)
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
            squares.append(gradient_norm(self.parameters, self.shares).square())
            for summed, parameter in zip(sums, self.parameters, strict=True):
                assert parameter.grad is not None
                summed.add_(parameter.grad, alpha=share)
                parameter.grad = None
        for summed, parameter in zip(sums, self.parameters, strict=True):
            parameter.grad = (self.replicas.mean(summed) if self.replicas else summed).to(parameter.dtype)
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

    def gathered(self) -> Iterator[tuple[str, Tensor]]:
        """Copies of `common` in the CPU's memory; where processes hold shares of it, all go through it together."""
        for name, value in self.common().items():
            yield name, self.shares.gather(value).to("cpu", copy=True)

    def kept_weights(self) -> Iterator[tuple[str, Tensor]]:
        """The weights that the run is after, by name; where processes hold shares, all go through them together."""
        with self.optimizer.kept():
            for name, blocks in self.optimizer.blocks.items():
                weights = [self.shares.gather(block.described(block.weight())) for block in blocks]
                yield name, torch.cat(weights) if len(weights) > 1 else weights[0]

    def _collected(self, order: int, tensors: Iterator[tuple[str, Tensor]]) -> dict[str, Tensor]:
        return self.together.collect(order, tensors) if self.together and self.layout.divided else dict(tensors)

    @contextmanager
    def kept_model(self) -> Iterator[Transformer]:
        """The model with the weights that the run is after, all of it, to be judged by this process."""
        if self.layout.divided:
            yield self._whole_model()
        else:
            with self.optimizer.kept():
                yield self.model
            self.model.train()

    def _whole_model(self) -> Transformer:
        with torch.device("meta"):
            model = Transformer(self.config)
        model.load_state_dict(self._collected(WEIGHTS, self.kept_weights()), strict=False, assign=True)
        if self.config.tie_word_embeddings:
            model.lm_head.weight = model.embed_tokens.weight
        model.cos, model.sin, model.mask = self.model.cos, self.model.sin, self.model.mask
        return model

    def snapshot(self) -> Snapshot:
        """A copy of the state in the CPU's memory."""
        tensors = self._collected(GATHER, self.gathered()) | {"rng": torch.get_rng_state()}
        return Snapshot(Place(self.num_done, self.anchor, self.first_window, list(self.skipped)), tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot; bit-exact. `CorruptFileError` for one of another model or optimizer."""
        if _shapes(self.state()) != _shapes(snapshot.tensors):
            raise CorruptFileError(
                "the checkpoint is of another model than this study's plan, or of an older isoflop",
                where=snapshot.source,
                remedy="Delete the folder, then resume",
            )
        if not self.layout.divided:
            for name, value in self.optimizer.state().items():
                value.copy_(snapshot.tensors[name])
        if self.outer:
            self.outer.restore(snapshot.tensors)
        if self.together:
            self.together.share(self, snapshot.tensors)
        self.optimizer.publish()
        torch.set_rng_state(snapshot.tensors["rng"])
        place = snapshot.place
        self.num_done, self.anchor = place.num_done, place.anchor
        self.first_window, self.skipped, self.num_agreed = place.first_window, list(place.skipped), place.num_done

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
