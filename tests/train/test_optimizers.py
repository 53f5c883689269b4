from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from isoflop.core.products import Recipe
from isoflop.model.transformer import Transformer, build_model
from isoflop.train import updates
from isoflop.train.optimizers import OPTIMIZERS, REFERENCE_WIDTH, Optimizer
from isoflop.train.updates import orthogonalise
from toy import config, recipe

RATES = (0.25, 1.0, 0.5)
NARROWER = REFERENCE_WIDTH / config().hidden_size
"""What hidden matrices have here of the recipe's rate."""


def gradients(model: Transformer, step: int) -> None:
    """A gradient that depends on nothing but the step; small enough not to be clipped."""
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = 1e-4 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def train(chosen: Recipe, *, rates: tuple[float, ...] = RATES) -> tuple[Transformer, Optimizer]:
    model = build_model(config(), seed=0)
    optimizer = Optimizer(model, chosen)
    for step, rate in enumerate(rates):
        gradients(model, step)
        optimizer.step(rate)
    return model, optimizer


def reference(
    parameters: list[Tensor], optimizer: torch.optim.Optimizer, grads: list[list[Tensor]], peak: float
) -> list[Tensor]:
    for rate, step in zip(RATES, grads, strict=True):
        optimizer.param_groups[0]["lr"] = peak * rate
        for parameter, grad in zip(parameters, step, strict=True):
            parameter.grad = grad.clone()
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def start_and_gradients(name: str, rows: slice = slice(None)) -> tuple[Tensor, list[list[Tensor]]]:
    model = build_model(config(), seed=0)
    parameter = dict(model.named_parameters())[name]
    start, grads = parameter.detach()[rows].clone(), []
    for step in range(len(RATES)):
        gradients(model, step)
        assert parameter.grad is not None
        grads.append([parameter.grad[rows].clone()])
    return start, grads


@pytest.mark.parametrize("head", [0, 1, 2])
def test_muon_on_fused_stacks_equals_torchs_on_single_matrices(monkeypatch: pytest.MonkeyPatch, head: int) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.float)  # torch's iteration is in bfloat16 whatever comes in
    chosen = recipe(learning_rate=0.02 / NARROWER, weight_decay=0.3)
    model, _ = train(chosen)
    rows = slice(64 * head, 64 * (head + 1))
    names = dict(model.named_parameters())
    name = next(n for n in names if n.startswith("layers.1.") and "qkv" in n)
    start, grads = start_and_gradients(name, rows)
    other = torch.nn.Parameter(start)
    muon = torch.optim.Muon(
        [other], weight_decay=0.3, momentum=updates.MOMENTUM, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    (expected,) = reference([other], muon, grads, peak=0.02)
    torch.testing.assert_close(names[name].detach()[rows], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", ["gate_up", "down_proj", "o_proj"])
def test_muon_moves_every_hidden_matrix_as_torchs(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.float)
    model, _ = train(recipe(learning_rate=0.02 / NARROWER, weight_decay=0.0))
    names = dict(model.named_parameters())
    name = next(n for n in names if n.startswith("layers.0.") and part in n)
    rows = slice(0, names[name].shape[0] // (2 if part == "gate_up" else 1))
    start, grads = start_and_gradients(name, rows)
    other = torch.nn.Parameter(start)
    muon = torch.optim.Muon([other], weight_decay=0.0, momentum=updates.MOMENTUM, adjust_lr_fn="match_rms_adamw")
    (expected,) = reference([other], muon, grads, peak=0.02)
    torch.testing.assert_close(names[name].detach()[rows], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(24, 24), (16, 64), (64, 16)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    left, _, right = torch.linalg.svd(
        torch.randn(shape, generator=torch.Generator().manual_seed(0)), full_matrices=False
    )
    spectrum = torch.linspace(0.2, 3.0, min(shape))
    (result,) = orthogonalise((left * spectrum @ right)[None], torch.float32)
    assert result.shape == shape
    values = torch.linalg.svdvals(result)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3  # the quintic settles in a band, not at one
    assert (result * (left @ right)).sum() / result.norm() / (left @ right).norm() > 0.97


def test_orthogonalise_takes_each_matrix_for_itself() -> None:
    x = torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([orthogonalise(x[i : i + 1] * 10**i, torch.float32) for i in range(3)])
    torch.testing.assert_close(orthogonalise(x, torch.float32), alone, rtol=1e-4, atol=1e-5)


def test_zero_gradient_gives_no_nan() -> None:
    assert torch.equal(orthogonalise(torch.zeros(1, 4, 4), torch.float32), torch.zeros(1, 4, 4))


class DecayedSGD(torch.optim.SGD):
    """Decay apart from the gradient, which torch's own SGD does not know."""

    decay = 0.0

    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.mul_(1 - group["lr"] * self.decay)
        super().step()


def test_sgd_equals_torchs_nesterov() -> None:
    model, _ = train(recipe(optimizer="sgd", learning_rate=0.3, weight_decay=0.2))
    for name, parameter in model.named_parameters():
        start, grads = start_and_gradients(name)
        other = torch.nn.Parameter(start)
        sgd = DecayedSGD([other], lr=0.3, momentum=updates.MOMENTUM, nesterov=True)
        is_matrix = parameter.ndim == 2 and not name.startswith(("embed_", "lm_head"))
        sgd.decay = 0.2 if is_matrix else 0.0
        (expected,) = reference([other], sgd, grads, peak=0.3)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=1e-8)


def test_adamw_equals_torchs() -> None:
    model, _ = train(recipe(optimizer="adamw", learning_rate=0.01 / NARROWER, weight_decay=0.2))
    name = next(n for n, _ in model.named_parameters() if "down_proj" in n)
    start, grads = start_and_gradients(name)
    other = torch.nn.Parameter(start)
    adamw = torch.optim.AdamW([other], lr=0.01, betas=updates.BETAS, eps=updates.EPSILON, weight_decay=0.2)
    (expected,) = reference([other], adamw, grads, peak=0.01)
    torch.testing.assert_close(dict(model.named_parameters())[name].detach(), expected, rtol=1e-6, atol=1e-8)


def test_lion_by_hand() -> None:
    """arXiv 2302.06675, algorithm 2."""
    model, _ = train(recipe(optimizer="lion", learning_rate=0.01 / NARROWER, weight_decay=0.2))
    name = next(n for n, _ in model.named_parameters() if "down_proj" in n)
    weight, grads = start_and_gradients(name)
    momentum = torch.zeros_like(weight)
    for rate, (gradient,) in zip(RATES, grads, strict=True):
        update = torch.sign(0.9 * momentum + 0.1 * gradient)
        weight = weight - 0.01 * rate * (update + 0.2 * weight)
        momentum = 0.99 * momentum + 0.01 * gradient
    torch.testing.assert_close(dict(model.named_parameters())[name].detach(), weight, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("part", "rows"), [("down_proj", slice(None)), ("qkv", slice(64, 128))])
def test_lamb_by_hand_takes_fused_matrices_apart(part: str, rows: slice) -> None:
    """arXiv 1904.00962, algorithm 2, phi the identity."""
    model, _ = train(recipe(optimizer="lamb", learning_rate=0.01, weight_decay=0.2))
    name = next(n for n, _ in model.named_parameters() if part in n)
    weight, grads = start_and_gradients(name, rows)
    mean, square, (b1, b2) = torch.zeros_like(weight), torch.zeros_like(weight), updates.BETAS
    for step, (rate, (gradient,)) in enumerate(zip(RATES, grads, strict=True), start=1):
        mean, square = b1 * mean + (1 - b1) * gradient, b2 * square + (1 - b2) * gradient**2
        ratio = mean / (1 - b1**step) / ((square / (1 - b2**step)).sqrt() + updates.LAMB_EPSILON)
        update = ratio + 0.2 * weight
        weight = weight - 0.01 * rate * weight.norm() / update.norm() * update
    torch.testing.assert_close(dict(model.named_parameters())[name].detach()[rows], weight, rtol=1e-5, atol=1e-8)


def test_lamb_moves_weights_that_start_at_zero() -> None:
    model, _ = train(recipe(optimizer="lamb", learning_rate=0.01))
    assert float(model.lm_head.weight.detach().abs().max()) > 0


def test_schedule_free_by_hand_trains_between_two_points_and_keeps_the_average() -> None:
    """arXiv 2405.15682, algorithm 1."""
    model, optimizer = train(recipe(optimizer="schedule-free", learning_rate=0.01 / NARROWER, weight_decay=0.2))
    name = next(n for n, _ in model.named_parameters() if "down_proj" in n)
    fast, grads = start_and_gradients(name)
    average, square, total, (b1, b2) = fast.clone(), torch.zeros_like(fast), 0.0, updates.BETAS
    for step, (rate, (gradient,)) in enumerate(zip(RATES, grads, strict=True), start=1):
        point = (1 - b1) * fast + b1 * average
        square = b2 * square + (1 - b2) * gradient**2
        size = 0.01 * rate * math.sqrt(1 - b2**step)
        fast = fast - size * (gradient / (square.sqrt() + updates.EPSILON) + 0.2 * point)
        total += size**2
        average = average + size**2 / total * (fast - average)
    weight = dict(model.named_parameters())[name]
    torch.testing.assert_close(weight.detach(), (1 - b1) * fast + b1 * average, rtol=1e-5, atol=1e-8)
    with optimizer.kept():
        torch.testing.assert_close(weight.detach(), average, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(weight.detach(), (1 - b1) * fast + b1 * average, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_running_average_is_what_is_kept(name: str) -> None:
    model, optimizer = train(recipe(optimizer=name, average_decay=0.25))
    plain, _ = train(recipe(optimizer=name))
    trained = [parameter.detach().clone() for parameter in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(trained, plain.parameters(), strict=True))
    by_steps = [build_model(config(), seed=0)]
    for count in range(1, 4):
        other, rest = train(recipe(optimizer=name), rates=RATES[:count])
        rest.publish_kept()
        by_steps.append(other)
    expected = [parameter.detach().clone() for parameter in by_steps[0].parameters()]
    for count, one in enumerate(by_steps[1:], start=1):
        decay = min(0.25, (1 + count) / (10 + count))  # 2/11, then a quarter
        for average, parameter in zip(expected, one.parameters(), strict=True):
            average.lerp_(parameter.detach(), 1 - decay)
    with optimizer.kept():
        for parameter, average in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.detach(), average, rtol=1e-5, atol=1e-7)
    assert all(torch.equal(a, b) for a, b in zip(trained, model.parameters(), strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
def test_every_parameter_moves_and_gradients_are_cleared(name: str, family: str) -> None:
    model = build_model(config(family=family), seed=0)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimizer = Optimizer(model, recipe(optimizer=name))
    gradients(model, 0)
    optimizer.step(1.0)
    assert [key for key, value in model.named_parameters() if torch.equal(value, before[key])] == []
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["muon", "adamw", "lion", "schedule-free"])
def test_twice_the_width_halves_the_steps_of_matrices_and_head_alone(name: str) -> None:
    """Yang et al. 2022, arXiv 2203.03466, table 8."""
    narrow, wide = (steps(name, width) for width in (64, 128))
    for part in narrow:
        kept = part.startswith("embed_") or "norm" in part
        assert wide[part] == pytest.approx(narrow[part] / (1 if kept else 2), rel=0.3 if name == "muon" else 1e-3)


def steps(name: str, width: int) -> dict[str, float]:
    """Root mean square of what the first step adds to each parameter, which no rule here lets depend on its shape."""
    model = build_model(config(hidden_size=width, intermediate_size=3 * width // 2), seed=0)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    gradients(model, 0)
    Optimizer(model, recipe(optimizer=name, weight_decay=0.0)).step(1.0)
    moved = {key: value.detach() - before[key] for key, value in model.named_parameters()}
    return {key: float(change.square().mean().sqrt()) for key, change in moved.items()}


def test_a_tied_head_is_one_parameter() -> None:
    optimizer = Optimizer(build_model(config(tie_word_embeddings=True), seed=0), recipe())
    assert "head" not in optimizer.parts
    assert sum(key.endswith("master") for key in optimizer.parts["embeddings"].state()) == 1


def test_a_large_gradient_is_clipped_to_the_norm() -> None:
    model = build_model(config(), seed=0)
    optimizer = Optimizer(model, recipe(optimizer="sgd", learning_rate=1.0, clip_norm=0.5, weight_decay=0.0))
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    norm, clipped = optimizer.step(1.0)
    assert norm == pytest.approx(math.sqrt(len(before)), rel=1e-5) and clipped == 1.0
    moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
    assert moved.norm() == pytest.approx(0.5 * (1 + updates.MOMENTUM), rel=1e-4)  # Nesterov's first step


def test_a_small_gradient_is_left_alone() -> None:
    model = build_model(config(), seed=0)
    gradients(model, 0)
    _, clipped = Optimizer(model, recipe(clip_norm=100.0)).step(1.0)
    assert clipped == 0.0


def test_masters_are_float32_beside_bfloat16_weights() -> None:
    model = build_model(config(), seed=0).to(torch.bfloat16)
    optimizer = Optimizer(model, recipe())
    for step in range(3):
        gradients(model, step)
        optimizer.step(1e-3)
    state = optimizer.state()
    assert {value.dtype for value in state.values()} == {torch.float32}
    masters = optimizer.parts["embeddings"].state()["0.master"]
    assert torch.equal(next(model.parameters()).detach(), masters.to(torch.bfloat16))
    assert not torch.equal(masters, masters.to(torch.bfloat16).float())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_state_round_trip(name: str, decay: float) -> None:
    _, optimizer = train(recipe(optimizer=name, average_decay=decay))
    saved = {key: value.clone() for key, value in optimizer.state().items()}
    model = build_model(config(), seed=9)
    other = Optimizer(model, recipe(optimizer=name, average_decay=decay))
    assert list(saved) == list(other.state())
    for key, value in other.state().items():
        value.copy_(saved[key])
    other.publish()
    mine = [p.detach() for p in optimizer.parameters]
    assert all(torch.equal(a, b) for a, b in zip(mine, model.parameters(), strict=True))


def test_the_update_ratio_by_hand() -> None:
    model = build_model(config(), seed=0)
    optimizer = Optimizer(model, recipe(optimizer="sgd", learning_rate=0.5, weight_decay=0.0, clip_norm=100.0))
    gradients(model, 0)
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and not n.startswith(("embed_", "lm_head"))]
    size = torch.cat([p.detach().flatten() for p in hidden]).norm()
    moved = torch.cat([p.grad.flatten() for p in hidden if p.grad is not None]).norm() * 0.5 * (1 + updates.MOMENTUM)
    optimizer.step(1.0)
    assert optimizer.update_ratio is None
    optimizer = Optimizer(model, recipe(optimizer="sgd", learning_rate=0.5, weight_decay=0.0, clip_norm=100.0))
    optimizer.watched = True
    gradients(model, 0)
    optimizer.step(1.0)
    assert optimizer.update_ratio is not None and not optimizer.watched
    assert float(optimizer.update_ratio) == pytest.approx(float(moved / size), rel=1e-2)  # of weights a step later
