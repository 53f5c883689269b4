"""What we write opens in transformers and means the same there."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from isoflop.core.errors import CorruptFileError, DiskError
from isoflop.model.config import ModelConfig
from isoflop.model.export import export_model, load_model
from isoflop.model.generate import generate
from isoflop.model.transformer import Transformer, build_model
from isoflop.text.tokenizer import END_OF_TEXT

torch.set_num_threads(1)
TEXT = "My fellow citizens: 1,234 dollars & naïve café — ok?\n\tAnd  two spaces."
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"family": "llama"},
    "llama_grouped_tied": {"family": "llama", "num_key_value_heads": 2, "tie_word_embeddings": True},
    "llama_wide_heads": {"family": "llama", "head_dim": 64, "rope_theta": 5000.0},
    "qwen3_grouped": {"family": "qwen3", "num_key_value_heads": 1},
    "gpt2": {"family": "gpt2", "dropout": 0.1},
    "gpt2_tied": {"family": "gpt2", "tie_word_embeddings": True},
}


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def random_model(kind: str) -> Transformer:
    """Every parameter random, biases and norms too, so that no mistake hides behind a zero or a one."""
    fields = {
        "vocab_size": 300,
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 176,
        "max_position_embeddings": 64,
    }
    model = build_model(ModelConfig(**(fields | KINDS[kind])), seed=5)
    generator = torch.Generator().manual_seed(6)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.2, generator=generator)
    return model


@pytest.fixture(scope="module", params=KINDS)
def exported(request: pytest.FixtureRequest, tokenizer_json: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = random_model(request.param)
    out = tmp_path_factory.mktemp("export") / "model"
    export_model(model, tokenizer_json, out, card="# A model\n")
    return model.eval(), out


def test_transformers_computes_our_logits(exported: tuple[Transformer, Path]) -> None:
    from transformers import AutoModelForCausalLM

    model, out = exported
    theirs, info = AutoModelForCausalLM.from_pretrained(out, local_files_only=True, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert theirs.dtype == torch.float32
    assert theirs.num_parameters() == sum(p.numel() for p in model.parameters())
    ids = torch.randint(0, 300, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(theirs(ids).logits, model(ids), atol=1e-4, rtol=0)


def test_transformers_generates_our_tokens(exported: tuple[Transformer, Path]) -> None:
    from transformers import AutoModelForCausalLM

    model, out = exported
    theirs = AutoModelForCausalLM.from_pretrained(out, local_files_only=True)
    made = theirs.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=20, do_sample=False)[0, 3:].tolist()
    ours = generate(model, [5, 6, 7], max_new_tokens=20, temperature=0.0, top_k=0, seed=0, stop_id=0)
    assert len(ours) > 3
    assert [token for token in made if token != theirs.config.eos_token_id] == ours


def test_auto_tokenizer_gives_our_ids(exported: tuple[Transformer, Path], tokenizer_json: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(exported[1], local_files_only=True)
    ours = Tokenizer.from_file(str(tokenizer_json))
    assert theirs(TEXT)["input_ids"] == ours.encode(TEXT).ids
    assert theirs.decode(theirs(TEXT)["input_ids"]) == TEXT
    assert theirs.eos_token_id == ours.token_to_id(END_OF_TEXT)
    assert len(theirs) == ours.get_vocab_size()
    assert theirs.model_max_length == 64


def test_a_loaded_model_has_the_same_bits(exported: tuple[Transformer, Path]) -> None:
    model, out = exported
    loaded = load_model(out)
    assert not loaded.training
    state = model.state_dict()
    assert state.keys() == loaded.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    if model.config.family == "gpt2" or not model.config.dropout:
        assert loaded.config == model.config


def test_the_folder_is_complete_and_leaves_nothing_beside(exported: tuple[Transformer, Path]) -> None:
    out = exported[1]
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "README.md",
        "SHA256SUMS",
    }
    assert (out / "README.md").read_text() == "# A model\n"
    assert list(out.parent.iterdir()) == [out]


def test_the_rotary_base_stands_where_each_transformers_looks_for_it(tokenizer_json: Path, tmp_path: Path) -> None:
    export_model(random_model("llama_wide_heads"), tokenizer_json, tmp_path / "model", card="")
    fields = json.loads((tmp_path / "model" / "config.json").read_text())
    assert fields["rope_theta"] == fields["rope_parameters"]["rope_theta"] == 5000.0


def test_bfloat16_weights_are_written_as_float32(tokenizer_json: Path, tmp_path: Path) -> None:
    model = random_model("llama").to(torch.bfloat16)
    export_model(model, tokenizer_json, tmp_path / "model", card="")
    loaded = load_model(tmp_path / "model")
    assert loaded.lm_head.weight.dtype == torch.float32
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight.float())


def test_export_replaces_a_model_and_the_rest_of_a_killed_one(tokenizer_json: Path, tmp_path: Path) -> None:
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "rest").touch()
    export_model(random_model("llama"), tokenizer_json, tmp_path / "model", card="old")
    export_model(random_model("gpt2"), tokenizer_json, tmp_path / "model", card="new")
    assert load_model(tmp_path / "model").config.family == "gpt2"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_export_refuses_to_replace_anything_else(tokenizer_json: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DiskError, match=r"something other than a model .* Choose another --out"):
        export_model(random_model("llama"), tokenizer_json, tmp_path, card="")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_failed_export_leaves_the_old_model(tokenizer_json: Path, tmp_path: Path) -> None:
    export_model(random_model("llama"), tokenizer_json, tmp_path / "model", card="old")
    bad = tmp_path / "bad.json"
    bad.write_text('{"added_tokens": []}')
    with pytest.raises(CorruptFileError, match=r"bad.json: the tokenizer has no <\|endoftext\|>"):
        export_model(random_model("gpt2"), bad, tmp_path / "model", card="new")
    assert (tmp_path / "model" / "README.md").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"model", "bad.json"}


def spoil(folder: Path, fault: str) -> None:
    (folder / "SHA256SUMS").unlink()  # someone else's folder: nothing but the files themselves can tell
    config, weights = folder / "config.json", folder / "model.safetensors"
    if fault == "missing":
        weights.unlink()
    elif fault == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif fault == "not json":
        config.write_text("{")
    else:
        fields = json.loads(config.read_text())
        changes = {
            "other shape": {"vocab_size": 299},
            "other depth": {"num_hidden_layers": 3},
            "bert": {"model_type": "bert"},
        }
        config.write_text(json.dumps(fields | changes[fault]))


@pytest.mark.parametrize("fault", ["missing", "truncated", "not json", "other shape", "other depth", "bert"])
def test_a_spoilt_folder_is_refused(fault: str, tokenizer_json: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    export_model(random_model("llama"), tokenizer_json, out, card="")
    spoil(out, fault)
    with pytest.raises(CorruptFileError, match="model"):
        load_model(out)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_flipped_byte_is_found_and_its_file_named(name: str, tokenizer_json: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    export_model(random_model("llama"), tokenizer_json, out, card="")
    data = bytearray((out / name).read_bytes())
    data[-5] ^= 1
    (out / name).write_bytes(data)
    with pytest.raises(CorruptFileError, match=rf"{name}: the file's bytes changed"):
        load_model(out)


def test_the_checksums_are_what_sha256sum_checks(exported: tuple[Transformer, Path]) -> None:
    out = exported[1]
    sums = dict(reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir() if path.name != "SHA256SUMS"
    }


def test_a_folder_without_checksums_is_read_as_it_is(exported: tuple[Transformer, Path], tmp_path: Path) -> None:
    foreign = shutil.copytree(exported[1], tmp_path / "foreign", ignore=shutil.ignore_patterns("SHA256SUMS"))
    assert torch.equal(load_model(foreign).lm_head.weight, exported[0].lm_head.weight)
