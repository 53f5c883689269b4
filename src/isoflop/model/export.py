"""A model as the folder that Hugging Face's `transformers`, vLLM and llama.cpp's converter open, and back.

Names differ in one prefix for Llama and Qwen3, whose fused matrices are split; GPT-2 has names of its own and
stores its linear weights transposed (its Conv1D). `transformers` itself is not needed for either way.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from isoflop.core.errors import CorruptFileError, DiskError
from isoflop.core.files import (
    disk_errors,
    file_sha256,
    read_json,
    sync_folder,
    verify,
    write_bytes,
    write_json,
    write_text,
)
from isoflop.model.config import ModelConfig
from isoflop.model.transformer import Transformer

WEIGHTS_FILE = "model.safetensors"
SUMS_FILE = "SHA256SUMS"
"""A checksum for every other file of the folder, as ``sha256sum --check`` reads it."""
ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "gpt2": "GPT2LMHeadModel"}
_GPT2_NAMES = {
    "embed_tokens": "transformer.wte",
    "embed_positions": "transformer.wpe",
    "norm": "transformer.ln_f",
    "lm_head": "lm_head",
    "input_layernorm": "ln_1",
    "self_attn.qkv_proj": "attn.c_attn",
    "self_attn.o_proj": "attn.c_proj",
    "post_attention_layernorm": "ln_2",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}


def export_model(
    model: Transformer, tokenizer_json: Path, out: Path, *, card: str, end_of_text: str = "<|endoftext|>"
) -> None:
    """Writes ``out`` whole or not at all: weights in float32, configuration, tokenizer and ``card`` as README.md.

    A model that was exported there before is replaced. Raises `DiskError` where the folder cannot be written or
    holds something else, and `CorruptFileError` for a tokenizer without ``end_of_text``.
    """
    if out.exists() and not (out / WEIGHTS_FILE).exists() and (out.is_file() or any(out.iterdir())):
        raise DiskError("something other than a model stands here", where=str(out), remedy="Choose another --out")
    partial = out.with_name(f".{out.name}.partial")
    with disk_errors(out):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _write_files(model, tokenizer_json, partial, card, end_of_text)
            _replace_folder(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _write_files(model: Transformer, tokenizer_json: Path, folder: Path, card: str, end_of_text: str) -> None:
    end_id = _end_of_text_id(tokenizer_json, end_of_text)
    ends = {"bos_token_id": end_id, "eos_token_id": end_id}
    tokens = {"bos_token": end_of_text, "eos_token": end_of_text, "unk_token": end_of_text}
    views = hugging_face_views(model)
    tensors = {name: view.float().cpu().clone(memory_format=torch.contiguous_format) for name, view in views.items()}
    write_bytes(folder / WEIGHTS_FILE, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_json(folder / "config.json", hugging_face_config(model.config) | ends)
    write_json(folder / "generation_config.json", ends)
    write_bytes(folder / "tokenizer.json", tokenizer_json.read_bytes())
    write_json(folder / "tokenizer_config.json", _tokenizer_config(model.config) | tokens)
    write_json(folder / "special_tokens_map.json", tokens)
    write_text(folder / "README.md", card)
    sums = "".join(f"{file_sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    write_text(folder / SUMS_FILE, sums)


def _tokenizer_config(config: ModelConfig) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
    }


def _replace_folder(new: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _end_of_text_id(tokenizer_json: Path, end_of_text: str) -> int:
    for token in read_json(tokenizer_json)["added_tokens"]:
        if token["content"] == end_of_text:
            return int(token["id"])
    raise CorruptFileError(
        f"the tokenizer has no {end_of_text}", where=str(tokenizer_json), remedy="Run the study again in a new folder"
    )


def hugging_face_config(config: ModelConfig) -> dict[str, Any]:
    """The ``config.json`` that `transformers` builds the same model from."""
    common = {
        "architectures": [ARCHITECTURES[config.family]],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tie_word_embeddings,
        "dtype": "float32",
        "torch_dtype": "float32",
    }
    return common | (_gpt2_fields(config) if config.family == "gpt2" else _llama_fields(config))


def _llama_fields(config: ModelConfig) -> dict[str, Any]:
    """Fields that Llama and Qwen3 share; the rotary base stands twice, for `transformers` before and after 5.0."""
    return {
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
    }


def _gpt2_fields(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_embd": config.hidden_size,
        "n_inner": config.intermediate_size,
        "n_layer": config.num_hidden_layers,
        "n_head": config.num_attention_heads,
        "n_positions": config.max_position_embeddings,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": "gelu_new",
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": 0.0,
    }


def hugging_face_views(model: Transformer) -> dict[str, Tensor]:
    """Our weights under Hugging Face's names and layout, as views: export reads them, `load_model` writes them.

    A tied head is left out, as it is there.
    """
    views: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        split = _gpt2_views if model.config.family == "gpt2" else _llama_views
        views |= split(name, parameter.detach(), model.config)
    return views


def _llama_views(name: str, weight: Tensor, config: ModelConfig) -> dict[str, Tensor]:
    target = name if name.startswith("lm_head") else f"model.{name}"
    if "qkv_proj" in name:
        parts = {"q_proj": config.query_size, "k_proj": config.key_value_size, "v_proj": config.key_value_size}
        return _split_rows(target, "qkv_proj", weight, parts)
    if "gate_up_proj" in name:
        parts = {"gate_proj": config.intermediate_size, "up_proj": config.intermediate_size}
        return _split_rows(target, "gate_up_proj", weight, parts)
    return {target: weight}


def _split_rows(target: str, fused: str, weight: Tensor, parts: dict[str, int]) -> dict[str, Tensor]:
    rows = weight.split_with_sizes(list(parts.values()))
    return {target.replace(fused, part): view for part, view in zip(parts, rows, strict=True)}


def _gpt2_views(name: str, weight: Tensor, config: ModelConfig) -> dict[str, Tensor]:
    module, _, kind = name.rpartition(".")
    if module.startswith("layers."):
        _, index, inner = module.split(".", 2)
        is_linear = inner.endswith("_proj") and kind == "weight"
        return {f"transformer.h.{index}.{_GPT2_NAMES[inner]}.{kind}": weight.T if is_linear else weight}
    return {f"{_GPT2_NAMES[module]}.{kind}": weight}


def load_model(folder: Path) -> Transformer:
    """The model of a folder that `export_model` wrote, in float32 and evaluation mode.

    Llama and Qwen3 have no dropout in ``config.json``: it is 0 after loading. Raises `CorruptFileError` where a
    file is missing, does not fit the others, or differs from its checksum; a folder without checksums is trusted.
    """
    try:
        _verify_files(folder)
        config = _read_config(read_json(folder / "config.json"))
        tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    except FileNotFoundError as error:
        raise _corrupt(folder, f"no model here ({error})") from error
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise _corrupt(folder, f"not a model that isoflop wrote ({error})") from error
    model = Transformer(config)
    _copy_weights(hugging_face_views(model), tensors, folder)
    return model.eval()


def _verify_files(folder: Path) -> None:
    """Configuration and weights against `SUMS_FILE`; README.md and the tokenizer's files do not make the model."""
    if not (folder / SUMS_FILE).exists():
        return
    sums = {
        name: digest
        for digest, _, name in (line.partition("  ") for line in (folder / SUMS_FILE).read_text().splitlines())
    }
    for name in ("config.json", WEIGHTS_FILE):
        verify(folder / name, sums.get(name, ""))


def _read_config(fields: dict[str, Any]) -> ModelConfig:
    """The inverse of `hugging_face_config`."""
    is_gpt2 = fields["model_type"] == "gpt2"
    return ModelConfig(
        family=fields["model_type"],
        vocab_size=fields["vocab_size"],
        tie_word_embeddings=fields["tie_word_embeddings"],
        **(_read_gpt2(fields) if is_gpt2 else _read_llama(fields)),
    )


def _read_llama(fields: dict[str, Any]) -> dict[str, Any]:
    same = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "rope_theta",
    )
    return {name: fields[name] for name in same} | {"norm_eps": fields["rms_norm_eps"]}


def _read_gpt2(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "hidden_size": fields["n_embd"],
        "intermediate_size": fields["n_inner"],
        "num_hidden_layers": fields["n_layer"],
        "num_attention_heads": fields["n_head"],
        "max_position_embeddings": fields["n_positions"],
        "norm_eps": fields["layer_norm_epsilon"],
        "dropout": fields["resid_pdrop"],
    }


def _copy_weights(views: dict[str, Tensor], tensors: dict[str, Tensor], folder: Path) -> None:
    wrong = sorted(views.keys() ^ tensors.keys())
    wrong += [name for name in views.keys() & tensors.keys() if views[name].shape != tensors[name].shape]
    if wrong:
        raise _corrupt(folder, f"the weights do not fit config.json (first: {wrong[0]})")
    for name, view in views.items():
        view.copy_(tensors[name])


def _corrupt(folder: Path, what: str) -> CorruptFileError:
    return CorruptFileError(what, where=str(folder), remedy="Export the model again")
