"""Slices of a model in two real processes: the loss, and every gradient, is that of the whole model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file
from torch import Tensor

from isoflop.core.errors import StudyError
from isoflop.model.config import ModelConfig
from isoflop.model.transformer import Transformer, build_model
from isoflop.train.optimizers import blocks_of, gradient_norm
from isoflop.train.shares import WHOLE
from isoflop.train.slices import Slices, require_divisible
from toy import config

SIZE = 2
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3, grouped": {"family": "qwen3", "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 128},
    "tied": {"tie_word_embeddings": True},
}


def seen(model: Transformer) -> Tensor:
    """The loss on a few tokens with all that may be asked of it; gradients stay at the parameters."""
    ids = torch.randint(model.config.vocab_size, (3, 9), generator=torch.Generator().manual_seed(1))
    model.label_smoothing, model.z_loss = 0.1, 1e-3
    loss = model(ids[:, :-1], ids[:, 1:])
    loss.backward()
    return loss.detach()


def made(shape: ModelConfig) -> Transformer:
    """With a head that is not zero, so that gradients go through."""
    model = build_model(shape, seed=0)
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(2))
    return model


def one_of_them(rank: int, folder: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=SIZE)
    found = dict[str, Tensor]()
    for name, changes in SHAPES.items():
        model = made(config(**changes))
        slices = Slices(init_device_mesh("cpu", (SIZE,)))
        slices.cut(model)
        found[f"{name} loss"] = seen(model)
        for parameter, blocks in blocks_of(model, slices).items():
            told = [(block.described(block.gradient()), block.described(block.weight())) for block in blocks]
            found[f"{name} gradient {parameter}"] = torch.cat([slices.gather(gradient) for gradient, _ in told])
            found[f"{name} weight {parameter}"] = torch.cat([slices.gather(weight) for _, weight in told])
        found[f"{name} norm"] = gradient_norm(list(model.parameters()), slices)
        found[f"{name} here"] = torch.tensor(sum(parameter.numel() for parameter in model.parameters()))
    save_file(found, f"{folder}/{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """What each process saw, by shape and name."""
    folder = tmp_path_factory.mktemp("slices")
    mp.spawn(one_of_them, args=(str(folder),), nprocs=SIZE)
    return [load_file(folder / f"{rank}.safetensors") for rank in range(SIZE)]


@pytest.mark.parametrize("name", SHAPES)
def test_loss_and_gradients_are_those_of_the_whole_model(found: list[dict[str, Tensor]], name: str) -> None:
    model = made(config(**SHAPES[name]))
    loss = seen(model)
    for each in found:
        torch.testing.assert_close(each[f"{name} loss"], loss, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(each[f"{name} norm"], gradient_norm(list(model.parameters())), rtol=1e-5, atol=0.0)
        for parameter, tensor in model.named_parameters():
            assert torch.equal(each[f"{name} weight {parameter}"], tensor.detach()), parameter
            torch.testing.assert_close(each[f"{name} gradient {parameter}"], tensor.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", SHAPES)
def test_each_has_its_part_of_every_matrix(found: list[dict[str, Tensor]], name: str) -> None:
    model = made(config(**SHAPES[name]))
    layers = sum(parameter.numel() for parameter in model.layers.parameters() if parameter.ndim > 1)
    vectors = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim == 1)
    tables = (1 if model.config.tie_word_embeddings else 2) * model.config.hidden_size
    expected = [layers // SIZE + vectors + tables * words for words in (31, 30)]  # of 61
    assert [int(each[f"{name} here"]) for each in found] == expected


def test_blocks_cover_every_parameter_from_its_first_row_to_its_last() -> None:
    model = build_model(config(**SHAPES["qwen3, grouped"]), seed=0)
    for name, parameter in model.named_parameters():
        rows = [block.rows.indices(len(parameter))[:2] for block in blocks_of(model, WHOLE)[name]]
        assert rows[0][0] == 0 and rows[-1][1] == len(parameter)
        assert all(before[1] == after[0] for before, after in pairwise(rows))
        assert len(rows) == (3 if "qkv" in name else 2 if "gate_up" in name else 1)


@pytest.mark.parametrize(
    ("changes", "size", "message"),
    [
        ({}, 3, r"2 attention heads, which 3 processes cannot divide evenly.*It could be cut into 2"),
        ({"num_attention_heads": 4, "num_key_value_heads": 1, "hidden_size": 128}, 2, "1 key and value heads"),
        ({"intermediate_size": 97}, 2, "97 columns of its feed-forward layers.*Leave it out"),
        ({"vocab_size": 5, "num_attention_heads": 4, "hidden_size": 128}, 4, "5 words are too few for 4"),
        ({"family": "gpt2"}, 2, "gpt2"),
    ],
)
def test_models_that_do_not_divide_are_refused(changes: dict[str, Any], size: int, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        require_divisible(config(**changes), size)
