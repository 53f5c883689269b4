"""Options and arguments that several verbs share, and the help of those that take a line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.core.executor import Place
from isoflop.core.products import OptimizerName, ScheduleName

TextsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT...", help="Files, folders, patterns or URLs of text, or a prepared one. None: demo."),
]
StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="A study folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
BudgetOption = Annotated[
    str, typer.Option("--budget", "-b", help="30min, 2h, 1e15flop, '$5', 0.2kWh, 50gCO2e ... everything included.")
]

TrainingOption = Annotated[
    str | None, typer.Option(help="or by the loss predicted for this much training: 2h on this machine, 1e18flop.")
]
TokenizerOption = Annotated[
    Path | None, typer.Option(help="A tokenizer.json to use; one is trained on the text otherwise.")
]
OptimizerOption = Annotated[
    OptimizerName,
    typer.Option(help="muon: for hidden matrices, with AdamW for the rest."),
]
ScheduleOption = Annotated[ScheduleName, typer.Option(help="Of the learning rate; wsd: constant, then linear to zero.")]
ZLossOption = Annotated[float, typer.Option(min=0, max=1, help="Weight of the squared log of softmax's denominator.")]
SmoothingOption = Annotated[float, typer.Option(min=0, max=0.9, help="Share of a target spread over all words.")]
AverageOption = Annotated[
    float, typer.Option(min=0, max=0.99999, help="Keep a running average of the weights with this decay a step.")
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Processes; the cores of this machine otherwise.")]
PlaceOption = Annotated[Place, typer.Option(help="Where the work is done: here, or by nodes that see --out.")]
PriceOption = Annotated[float | None, typer.Option(help="Dollars for an hour of this machine.")]
GRID_HELP = "Country of the electricity (FRA, DEU, ...) or grams CO2e per kWh."
