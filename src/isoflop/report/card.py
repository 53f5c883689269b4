"""The data card as a page: what came in, what went and why, what is left."""

from __future__ import annotations

import altair as alt

from isoflop.core.card import DataCard
from isoflop.core.products import CorpusManifest
from isoflop.report.charts import BLUE, GREY, Row, Spec, chart_of, spec_of
from isoflop.report.html import facts_table, figure, section, table, tag
from isoflop.report.numbers import compact, duration, percent, significant
from isoflop.report.page import document

_NAVIGATION = (
    ("funnel", "Funnel"), ("dropped", "Dropped"), ("documents", "Documents"), ("duplicates", "Duplicates"),
    ("benchmarks", "Benchmarks"), ("changes", "Changes"), ("tokens", "Tokens"), ("cost", "Cost"),
)  # fmt: skip


def card_page(card: DataCard, manifest: CorpusManifest | None) -> str:
    """The whole page as text; without ``manifest`` nothing of tokens."""
    kept = f"{compact(card.num_bytes)}B of {compact(card.tally.bytes_read)}B in {card.num_documents:,} documents"
    return document(
        "isoflop · data card",
        f"{kept} of {card.tally.num_read:,} are kept",
        tag("nav", *(tag("a", name, href=f"#{anchor}") for anchor, name in _NAVIGATION)),
        tag(
            "main",
            section(
                "funnel", "From raw to kept", figure("Bytes, by what became of them", funnel(card)), _sources(card)
            ),
            section("dropped", "What was dropped, and why", _dropped(card), _refused(card)),
            section(
                "documents",
                "How long documents are",
                figure("Documents read, by size in bytes", sizes(card)),
                _languages(card),
            ),
            section("duplicates", "The largest clusters of near-duplicates", _clusters(card)),
            section("benchmarks", "Benchmarks found in the text", _benchmarks(card)),
            section("changes", "What was changed in the text", _changes(card)),
            section("tokens", "Tokens", _tokens(manifest)),
            section("cost", "What it took", _cost(card)),
        ),
    )


def funnel(card: DataCard) -> Spec:
    """A bar each: what is kept, and what went by reason."""
    dropped = card.tally.dropped_bytes.most_common()
    rows: list[Row] = [{"what": "kept", "megabytes": card.num_bytes / 1e6, "documents": card.num_documents}]
    rows += [
        {"what": reason.replace("_", " "), "megabytes": count / 1e6, "documents": card.tally.dropped[reason]}
        for reason, count in dropped
    ]
    bars = (
        chart_of(rows)
        .mark_bar()
        .encode(
            x=alt.X("megabytes:Q", title="MB of text"),
            y=alt.Y("what:N", sort=None, title=None),
            color=alt.condition("datum.what === 'kept'", alt.value(BLUE), alt.value(GREY)),
            tooltip=["what:N", alt.Tooltip("megabytes:Q", format=".3f"), "documents:Q"],
        )
    )
    return spec_of(bars, height=22 * len(rows) + 20)


def sizes(card: DataCard) -> Spec:
    filled = [k for k, count in enumerate(card.tally.sizes) if count] or [0]
    rows: list[Row] = [
        {"size": f"{compact(2**k)}B", "documents": card.tally.sizes[k]} for k in range(filled[0], filled[-1] + 1)
    ]
    bars = chart_of(rows).mark_bar(color=BLUE)
    x = alt.X("size:N", sort=None, title="from so many bytes to twice as many", axis=alt.Axis(labelAngle=0))
    return spec_of(bars.encode(x=x, y=alt.Y("documents:Q"), tooltip=["size:N", "documents:Q"]), height=240)


def _sources(card: DataCard) -> str:
    total = max(card.num_bytes, 1)
    used = {share.source: share for share in card.mixture}
    rows = [
        [
            name,
            f"{size / 1e6:.2f}",
            percent(size / total),
            significant(used[name].weight) if name in used else "",
            percent(used[name].used) if name in used else percent(1),
        ]
        for name, size in card.tally.bytes_by_source.most_common()
    ]
    return table(("source", "MB kept", "share", "weight", "of it used"), rows, numeric="tnnnn")


def _dropped(card: DataCard) -> str:
    rows = [
        [reason, f"{count:,}", f"{card.tally.dropped_bytes[reason] / 1e6:.3f}", _shown(card.tally.samples, reason)]
        for reason, count in card.tally.dropped.most_common()
    ]
    header = ("reason", "documents", "MB", "the beginning of one")
    return table(header, rows, numeric="tnnt") if rows else tag("p", "Nothing.")


def _shown(samples: dict[str, list[str]], reason: str) -> str:
    return next(iter(samples.get(reason, [])), "")[:160]


def _refused(card: DataCard) -> str:
    if not card.tally.refused:
        return tag("p", "Everything could be read.")
    rows = [[reason, f"{count:,}"] for reason, count in card.tally.refused.most_common()]
    named = tag("p", f"Among them: {'; '.join(card.tally.refusals)}.")
    return tag("div", table(("files, parts and records not read", "count"), rows, numeric="tn"), named)


def _languages(card: DataCard) -> str:
    if not card.tally.languages:
        return tag("p", "Languages were not asked for (--languages all).")
    total = card.tally.languages.total()
    rows = [[code, f"{count:,}", percent(count / total)] for code, count in card.tally.languages.most_common(12)]
    return table(("language", "documents", "share"), rows, numeric="tnn")


def _clusters(card: DataCard) -> str:
    rows = [[f"{each.num_documents:,}", each.kept, each.sample[:160]] for each in card.clusters]
    if not rows:
        return tag("p", "None.")
    return table((f"documents (of {card.num_clusters:,} clusters)", "kept", "it begins"), rows, numeric="ntt")


def _benchmarks(card: DataCard) -> str:
    rows = [
        [name, f"{count:,}", f"{len(card.tally.found.get(name, [])):,}", f"{card.tally.dropped[f'benchmark_{name}']:,}"]
        for name, count in card.benchmarks.items()
    ]
    if not rows:
        return tag("p", "None was looked for.")
    return table(("benchmark", "items", "found", "documents dropped"), rows, numeric="tnnn")


def _changes(card: DataCard) -> str:
    both = [("mended", card.tally.mended), ("redacted", card.tally.redacted)]
    rows = [[what, kind.replace("_", " "), f"{count:,}"] for what, kinds in both for kind, count in kinds.most_common()]
    return table(("what", "kind", "times"), rows, numeric="ttn") if rows else tag("p", "Nothing.")


def _tokens(manifest: CorpusManifest | None) -> str:
    if manifest is None:
        return tag("p", "Not made yet.")
    rows = [
        (name, f"{split.num_tokens:,} tokens in {split.num_documents:,} documents, {compact(split.num_bytes)}B")
        for name, split in (("train", manifest.train), ("val", manifest.val), ("test", manifest.test))
    ]
    facts = [("vocabulary", f"{manifest.vocab_size:,}"), ("tokens per byte", significant(manifest.tokens_per_byte))]
    return facts_table([*rows, *facts])


def _cost(card: DataCard) -> str:
    rows = [
        [cost.stage, f"{cost.num_shards:,}", duration(cost.cpu_seconds), significant(cost.joules)]
        for cost in card.costs
    ]
    total = sum(cost.cpu_seconds for cost in card.costs)
    rows.append(["all", "", duration(total), significant(sum(cost.joules for cost in card.costs))])
    return table(("stage", "shards", "CPU time", "joules"), rows, numeric="tntn", footer=True)
