"""The verbs of text: prepare, judge, verify and inspect; no logic of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from isoflop.cli.options import Json, PlaceOption, Quiet, TextsArgument, TokenizerOption, TrainingOption, WorkersOption
from isoflop.core.extras import needs
from isoflop.core.process import lighten
from isoflop.core.products import MAX_SEED

app = typer.Typer()


@app.command(
    epilog="Examples:  isoflop prepare my-texts/ --out corpus  |  isoflop prepare 'crawl/*.warc.gz' --out corpus "
    "--rules gopher-quality,gopher-repetition,fineweb --keep-rejects  |  then: isoflop run corpus --budget 2h"
)
def prepare(
    texts: TextsArgument = None,
    mix: Annotated[
        Path | None, typer.Option(help="A TOML file of sources and their weights, instead of texts.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make, or to go on with.")] = Path("corpus"),
    rules: Annotated[
        str, typer.Option(help="What documents must pass: gopher-quality, gopher-repetition, fineweb, c4; or none.")
    ] = "gopher-quality,gopher-repetition",
    words: Annotated[
        Literal["whitespace", "parts"],
        typer.Option(help="What the rules call a word: what stands between spaces, or its parts and marks."),
    ] = "whitespace",
    similar: Annotated[
        float, typer.Option(min=0.75, max=1, help="Jaccard similarity from which one of two documents goes.")
    ] = 0.8,
    keep_similar: Annotated[bool, typer.Option("--keep-similar", help="Only exact duplicates go.")] = False,
    repeated_lines: Annotated[
        int | None, typer.Option(min=2, help="Cut out lines of 20 bytes and more that stand in so many documents.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="The field or column of texts; text or content otherwise.")] = None,
    keep_rejects: Annotated[bool, typer.Option("--keep-rejects", help="Write what is dropped, with reasons.")] = False,
    languages: Annotated[
        str | None, typer.Option(help="Those to keep (en,de), or all: then they are only told.")
    ] = None,
    judge: Annotated[Path | None, typer.Option(help="What isoflop judge wrote; it asks for")] = None,
    least: Annotated[float, typer.Option(min=0, max=1, help="this probability of being good.")] = 0.5,
    against: Annotated[
        list[str] | None, typer.Option(help="A benchmark's file: what holds part of it is dropped. May be repeated.")
    ] = None,
    redact: Annotated[bool, typer.Option(help="Put <EMAIL>, <KEY> ... in place of personal data.")] = True,
    vocab_size: Annotated[int | None, typer.Option(help="Of the tokenizer; by the text's size otherwise,")] = None,
    budget: TrainingOption = None,
    tokenizer: TokenizerOption = None,
    workers: WorkersOption = None,
    on: PlaceOption = "local",
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of the split.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Clean, judge, deduplicate, tokenize and pack text; a data card says what became of every document."""
    lighten(computes=budget is not None)
    if on == "local" and workers != 1:
        from isoflop.fleet.local import foresee

        foresee("isoflop.text.kernels", "isoflop.text.pipeline", "isoflop.text.prepare")
    with needs("text"):
        from isoflop import text_verbs
    from isoflop.tell import prepared_lines

    answer = text_verbs.prepare(
        texts or [],
        mix=mix,
        out=out,
        rules=rules,
        word_rule=words,
        similar=None if keep_similar else similar,
        most_documents=repeated_lines,
        field=field,
        keeps_rejects=keep_rejects,
        languages=languages,
        against=against or [],
        judge=judge,
        least=least,
        redacts=redact,
        vocab_size=vocab_size,
        budget=budget,
        tokenizer=tokenizer,
        workers=workers,
        on=on,
        seed=seed,
        quiet=quiet or as_json,
    )
    typer.echo(json.dumps(answer, indent=2) if as_json else prepared_lines(answer))


@app.command(epilog="Example:  isoflop judge --good good/ --bad bad/ --out judge.safetensors")
def judge(
    good: Annotated[list[str], typer.Option(help="Files or folders of good documents. May be repeated.")],
    bad: Annotated[list[str], typer.Option(help="And of bad ones.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the judge goes.")] = Path("judge.safetensors"),
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED)] = 0,
    as_json: Json = False,
) -> None:
    """Learn from a handful of good and bad documents what to keep, for isoflop prepare --judge."""
    with needs("text"):
        from isoflop import text_verbs
    from isoflop.tell import judge_lines

    answer = text_verbs.learn(good, bad, out=out, seed=seed)
    typer.echo(json.dumps(answer) if as_json else judge_lines(answer))


@app.command(epilog="Example:  isoflop verify corpus/")
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A prepared text, or a study.")],
    as_json: Json = False,
) -> None:
    """Compare every file with its checksum; the first that differs is named."""
    with needs("text"):
        from isoflop import corpus_verbs

    answer = corpus_verbs.verify(folder)
    told = f"{answer['folder']}: {answer['num_files']} files, {answer['num_bytes'] / 1e6:.1f} MB, all as written"
    typer.echo(json.dumps(answer) if as_json else told)


@app.command(epilog="Examples:  isoflop inspect corpus/  |  isoflop inspect corpus/ --doc 123")
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A prepared text.")],
    doc: Annotated[
        int | None, typer.Option(min=0, help="The number of a document: where it is from, and its text.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What became of a text, or one document of it."""
    with needs("text"):
        from isoflop import corpus_verbs
    from isoflop.tell import document_lines, prepared_lines

    answer = corpus_verbs.inspect(folder, doc)
    lines = prepared_lines if doc is None else document_lines
    typer.echo(json.dumps(answer, indent=2) if as_json else lines(answer))
