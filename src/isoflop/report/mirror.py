"""``isoflop mirror``: a study's records as curves in TensorBoard, W&B or MLflow. They are read, never written to.

Whatever writes records, in whichever process, is seen; a run neither knows nor waits. Nothing leaves the machine: W&B
writes offline, to be sent by ``wandb sync``, and MLflow to a local folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from isoflop.core.extras import needs
from isoflop.core.journal import Stamped, is_last, records_from
from isoflop.core.records import Evaluation, Monitor, Step
from isoflop.study import Study

POLL_SECONDS = 2.0
CURVES = (
    "loss",
    "learning_rate",
    "gradient_norm",
    "clipped",
    "tokens_per_second",
    "flops_per_second",
    "update_ratio",
    "data_share",
    "noise_scale",
)
"""Of a run's steps."""
Scalar = tuple[str, float, int, float]
"""Name, value, step, Unix time."""


class Sink(Protocol):
    """Where curves go."""

    def add(self, name: str, value: float, step: int, when: float) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        with needs("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter
        self._writer: Any = SummaryWriter(str(folder))

    def add(self, name: str, value: float, step: int, when: float) -> None:
        self._writer.add_scalar(name, value, step, walltime=when)

    def close(self) -> None:
        self._writer.close()


class WandB:
    """An offline run in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        with needs("wandb"):
            import wandb
        folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(project="isoflop", name=name, dir=str(folder), mode="offline")

    def add(self, name: str, value: float, step: int, when: float) -> None:
        self._run.log({name: value, f"{name.rpartition('/')[0]}/step": step})

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A file store in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        with needs("mlflow"):
            from mlflow.tracking import MlflowClient
        folder.mkdir(parents=True, exist_ok=True)
        self._client: Any = MlflowClient(tracking_uri=f"sqlite:///{folder.absolute()}/mlflow.db")
        experiment = self._client.create_experiment(f"{name} {time.time():.0f}")
        self._run = self._client.create_run(experiment, run_name=name).info.run_id

    def add(self, name: str, value: float, step: int, when: float) -> None:
        self._client.log_metric(self._run, name, value, timestamp=int(1000 * when), step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)


SINKS: dict[str, Callable[[Path, str], Sink]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


def mirror(study: Study, sink: Sink, *, follow: bool) -> int:
    """Gives the sink every curve of the study, and with ``follow`` what comes until the study ends; returns points."""
    count = 0
    try:
        for stamped in _followed(study, follow=follow):
            for scalar in scalars(stamped):
                sink.add(*scalar)
                count += 1
    finally:
        sink.close()
    return count


def _followed(study: Study, *, follow: bool) -> Iterator[Stamped]:
    offset, ended = 0, False
    while True:
        records, offset = records_from(study.records, offset)
        yield from records
        ended = ended or any(is_last(stamped.record) for stamped in records)
        if ended or not follow:
            return
        time.sleep(POLL_SECONDS)


def scalars(stamped: Stamped) -> list[Scalar]:
    """The points of one record: a run's by its step, the machine's by the second."""
    record, when = stamped.record, stamped.time
    if isinstance(record, Step):
        values = {name: getattr(record, name) for name in CURVES}
        return [
            (f"{record.run}/{name}", value, record.step, when) for name, value in values.items() if value is not None
        ]
    if isinstance(record, Evaluation):
        return [(f"{record.run}/{record.split}_bits_per_byte", record.bits_per_byte, record.step, when)]
    if isinstance(record, Monitor) and record.seconds > 0:
        values = {
            "cpu_utilisation": record.cpu_utilisation,
            "memory_bytes": float(record.memory_bytes),
            "watts": record.joules_central / record.seconds,
        }
        return [(f"machine/{name}", value, int(when), when) for name, value in values.items()]
    return []
