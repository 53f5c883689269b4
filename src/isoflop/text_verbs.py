"""What `isoflop prepare` and `judge` do; imported only by the verb that is called."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

from isoflop.core.budget import Budget
from isoflop.core.card import CARD, TEXT
from isoflop.core.errors import BudgetError, StudyError, TextError
from isoflop.core.executor import Place
from isoflop.core.files import claimed, file_sha256, write_text
from isoflop.core.process import interruptible
from isoflop.core.progress import Progress
from isoflop.corpus_verbs import told
from isoflop.fleet.choose import executor_on
from isoflop.machine.power import detect_power
from isoflop.text import prepare as text
from isoflop.text.collect.sources import absolute
from isoflop.text.demo import demo_files
from isoflop.text.gather import Source
from isoflop.text.mixture import read_mix
from isoflop.text.pipeline import Recipe, Tell, refine_text
from isoflop.text.prepare import MANIFEST, TOKENIZER
from isoflop.text.quality.classifier import load, save, train
from isoflop.text.quality.statistics import WordRule
from isoflop.text.read import read
from isoflop.text.refine import Judge, Refinement
from isoflop.text.tokenizer import read_tokenizer, require_vocab_size

CARD_PAGE = "card.html"


def prepare(
    texts: Sequence[str],
    *,
    mix: Path | None,
    out: Path,
    rules: str,
    word_rule: WordRule,
    similar: float | None,
    most_documents: int | None,
    field: str | None,
    keeps_rejects: bool,
    against: Sequence[str],
    judge: Path | None,
    least: float,
    redacts: bool,
    languages: str | None,
    vocab_size: int | None,
    budget: str | None,
    tokenizer: Path | None,
    workers: int | None,
    on: Place,
    seed: int,
    quiet: bool,
) -> dict[str, Any]:
    """Texts to a folder of clean documents, tokens and a data card. What an earlier call finished is kept."""
    _refuse_folder(out)
    if vocab_size is not None:
        require_vocab_size(vocab_size)
    if sum(given is not None for given in (vocab_size, budget, tokenizer)) > 1:
        raise TextError("--vocab-size, --budget and --tokenizer each say a vocabulary", remedy="Give one of them")
    choose = None if budget is None else _chooser(budget)
    vocabulary = None if tokenizer is None else read_tokenizer(tokenizer)
    names = tuple(name for name in rules.split(",") if name not in ("", "none"))
    refinement = Refinement(names, word_rule, redacts, _judge(judge, least), _codes(languages))
    sources = _sources(texts, mix, field)
    recipe = Recipe(sources, refinement, similar, keeps_rejects, most_documents, tuple(map(absolute, against)))
    watts = detect_power().active_watts_per_core.central
    started = time.monotonic()
    executor = executor_on(on, workers=workers, folder=out / "stages" / "jobs")
    threading.Thread(target=import_module, args=["isoflop.report.card"]).start()  # .3 s
    with interruptible(), closing(executor), Progress(remaining=lambda: math.inf, quiet=quiet) as progress:
        card = refine_text(recipe, out, executor=executor, watts=watts, tell=_told(progress))
        progress.stage("tokenize")
        with claimed(out):
            manifest = text.prepare(
                [out],
                out,
                seed=seed,
                vocab_size=vocab_size,
                choose=choose,
                tokenizer=vocabulary,
                sources=card.sources,
                executor=executor,
                kernels=True,
                progress=lambda share, doing: progress.update(share, doing=doing),
            )
    from isoflop.report.card import card_page

    write_text(out / CARD_PAGE, card_page(card, manifest))
    return {"out": str(out), "seconds": time.monotonic() - started} | told(card, manifest)


def learn(good: Sequence[str], bad: Sequence[str], *, out: Path, seed: int) -> dict[str, Any]:
    """Learns what is good from examples; the classifier goes to ``out``."""
    examples = [list(read(kind).documents) for kind in (good, bad)]
    classifier = train(*examples, seed=seed)
    save(out, classifier)
    return {
        "out": str(out),
        "num_good": len(examples[0]),
        "num_bad": len(examples[1]),
        "accuracy_left_out": classifier.accuracy,
        "area_left_out": classifier.area,
    }


def _sources(texts: Sequence[str], mix: Path | None, field: str | None) -> tuple[Source, ...]:
    """What a person named: a mixture, texts, or nothing, which is the demo. Raises `TextError` for both."""
    if mix is not None and texts:
        raise TextError("both texts and a mixture were given", remedy="Name the texts in the mixture's file")
    if mix is not None:
        return read_mix(mix)
    inputs = [absolute(each) for each in texts or map(str, demo_files())]
    return (Source("text", tuple(inputs), field),)


def _chooser(budget: str) -> text.Choose:
    """Of the vocabulary that a budget wants. Raises `BudgetError` for one that is neither time nor FLOPs."""
    from isoflop.plan.vocabulary import choose
    from isoflop.stages.machine import expected_flops  # torch, which nothing else here needs

    if Budget.parse(budget).unit not in ("s", "FLOP"):
        raise BudgetError(f"no vocabulary can be chosen for {budget}", where="--budget", remedy="Give time or FLOPs")
    flops = expected_flops(budget)
    return lambda cuts, num_bytes: choose(cuts, flops=flops, num_bytes=num_bytes).vocab_size


def _codes(languages: str | None) -> tuple[str, ...] | None:
    """Languages as a person names them: nothing, ``all``, or codes with commas between."""
    if languages is None:
        return None
    return () if languages == "all" else tuple(code.strip() for code in languages.split(","))


def _judge(path: Path | None, least: float) -> Judge | None:
    if path is None:
        return None
    load(path)  # refuses what is none
    return Judge(path.absolute(), file_sha256(path), least)


def _refuse_folder(out: Path) -> None:
    """What lies there already and is no prepared text is not ours to mix with."""
    ours = {"stages", TEXT, CARD, CARD_PAGE, MANIFEST, TOKENIZER, ".lock"}
    if (out / "study.toml").exists():
        raise StudyError("a study is here", where=str(out), remedy="Choose another --out")
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    strangers = sorted(name for name in names - ours if not name.endswith(".npy") and not name.startswith("."))
    if strangers:
        what = f"the folder holds other files ({', '.join(strangers[:3])})"
        raise StudyError(what, where=str(out), remedy="Choose another --out")


def _told(progress: Progress) -> Tell:
    """Shows each stage as it comes."""
    current = [""]

    def tell(stage: str, share: float) -> None:
        if stage != current[0]:
            current[0] = stage
            progress.stage(stage)
        progress.update(share)

    return tell
