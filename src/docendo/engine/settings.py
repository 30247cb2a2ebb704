"""How a phase is trained: optimiser, schedule and the machine's part."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from docendo.engine.memory_folder import size_of

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

REFERENCE_BATCH = 64
"""Images of a step for which `lr` is meant where `scale_lr` is on: the batch size of the CRD protocol."""


class OptimizerSettings(BaseModel):
    """The optimiser; defaults are the CRD protocol's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["sgd", "nesterov", "adamw"] = Field("sgd", description="SGD, SGD with Nesterov momentum, or AdamW")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="momentum of SGD, first beta of AdamW")
    weight_decay: NotNegative = Field(5e-4, description="weight decay, on every weight")
    clip: Positive | None = Field(None, description="largest norm of a step's gradient; not clipped if unset")


class ScheduleSettings(BaseModel):
    """The learning rate over a phase, as a factor on `lr`; positions are fractions of the phase."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["step", "cosine", "one_cycle", "constant"] = Field("step", description="the curve")
    milestones: tuple[float, ...] = Field(
        (0.625, 0.75, 0.875), description="where step drops, as fractions of the phase (150, 180, 210 of 240 epochs)"
    )
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="what step multiplies by at each drop")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="fraction of the phase over which the rate first rises from 0; one_cycle rises over 0.3 if it is 0",
    )

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < m < 1 for m in value) or list(value) != sorted(set(value)):
            raise ValueError("ascending fractions of the phase between 0 and 1, such as 0.5,0.75")
        return value

    def factor_at(self, progress: float) -> float:
        """Give the factor on the learning rate when `progress` of the phase, in [0, 1), is done.

        >>> ScheduleSettings().factor_at(0.7)
        0.1
        >>> ScheduleSettings(name="cosine").factor_at(0.5)
        0.5
        """
        rise = self.warmup or (0.3 if self.name == "one_cycle" else 0.0)
        if progress < rise:
            ramp = progress / rise
            return (1 - math.cos(math.pi * ramp)) / 2 * 0.96 + 0.04 if self.name == "one_cycle" else ramp
        if self.name == "constant":
            return 1.0
        if self.name == "step":
            return self.factor ** sum(progress >= m for m in self.milestones)
        done = (progress - rise) / (1 - rise)
        return round((1 + math.cos(math.pi * done)) / 2, 15)


class TrainSettings(BaseModel):
    """Everything the engine needs to know of a run; defaults are the CRD protocol's where it says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(ge=1)] = Field(240, description="epochs of a full phase")
    batch_size: Annotated[int, Field(ge=2)] = Field(64, description="images a step reads at once, over all processes")
    lr: Positive = Field(0.05, description="learning rate, before the schedule's factor")
    scale_lr: bool = Field(
        False,
        description="multiply lr by the images of a step (batch_size x accumulate) over 64, the batch size of the "
        "default lr",
    )
    optimizer: OptimizerSettings = Field(OptimizerSettings(), description="the optimiser")
    schedule: ScheduleSettings = Field(ScheduleSettings(), description="the learning rate's curve")
    accumulate: Annotated[int, Field(ge=1)] = Field(1, description="batches whose gradients are averaged into one step")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="decay of an exponential moving average of the weights, which is then what is deployed"
    )
    channels_last: bool = Field(True, description="store images with channels last, which is faster")
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"] = Field(
        "32-true", description="number format, as Lightning Fabric names it"
    )
    frozen_precision: Literal["bf16-mixed"] | None = Field(
        None,
        description="number format of frozen networks in a run of precision 32-true: in bf16-mixed they answer up to "
        "twice as fast where the machine knows bfloat16, rounded to about two digits; as the run if unset",
    )
    accelerator: str = Field("auto", description="cpu, cuda, mps or auto, as Lightning Fabric names it")
    devices: Annotated[int, Field(ge=1)] = Field(1, description="devices, or CPU processes, on each machine")
    nodes: Annotated[int, Field(ge=1)] = Field(1, description="machines; start them by torchrun or SLURM")
    strategy: str = Field(
        "auto", description="Lightning Fabric's strategy; auto: ddp where there are several processes"
    )
    sync_batchnorm: bool = Field(
        True, description="BatchNorm statistics over the batches of all processes, so that their number changes nothing"
    )
    shard_frozen: bool = Field(
        False, description="share the weights of frozen networks out over the processes, for those too large for one"
    )
    teacher_memory: str = Field(
        "auto",
        description="disk for frozen networks' logits, which are computed once for each view of an image and kept for "
        "all runs: a size such as 20GB, off, or auto: 4 GiB, or a tenth of what is free if that is less",
    )
    teacher_memory_top: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="remember only so many of the largest logits of each answer, and the probability of the others "
        "together: for many classes, such as 50 of ImageNet's 1000; all if unset",
    )
    compile: Literal["off", "frozen", "all"] = Field(
        "off",
        description="compile stages and heads of frozen networks, or of all, which takes a while before each phase; "
        "docendo bench tells whether it pays",
    )
    winograd: Literal["auto", "on", "off"] = Field(
        "auto",
        description="on a CPU in 32-true, compute 3x3 convolutions with a quarter of the multiplications (Lavin and "
        "Gray, CVPR 2016), up to rounding; auto: where a C++ compiler is installed; on: or refuse to train",
    )
    cuda_graphs: bool = Field(
        False,
        description="on a GPU, record a step once as a CUDA graph and replay it: for small networks and batches, whose "
        "steps are thousands of short launches; checked against the step itself before it is used",
    )
    best_on_test: bool = Field(
        False,
        description="measure the test images after each epoch too, for a column beside papers that publish their best "
        "test epoch; nothing is chosen by it",
    )
    deterministic: bool = Field(False, description="refuse operations that differ from run to run on a GPU")
    checkpoint_seconds: NotNegative = Field(30.0, description="time between checkpoints; 0 saves after every step")

    @field_validator("frozen_precision")
    @classmethod
    def _goes_with(cls, value: str | None, info: ValidationInfo) -> str | None:
        precision = info.data.get("precision", "32-true")
        if value and precision != "32-true":
            raise ValueError(f"left unset beside precision={precision}: it is for runs in 32-true")
        return value

    @field_validator("teacher_memory", mode="before")
    @classmethod
    def _size(cls, value: object) -> str:
        text = "off" if value is False else str(value)  # YAML reads a plain off as false
        size_of(text)
        return text

    @field_validator("compile", "winograd", mode="before")
    @classmethod
    def _which(cls, value: object, info: ValidationInfo) -> object:
        most = "all" if info.field_name == "compile" else "on"
        return {False: "off", True: most}[value] if isinstance(value, bool) else value  # as YAML reads a plain off

    @property
    def rate(self) -> float:
        """The learning rate before the schedule's factor: `lr`, scaled with the images of a step where that is asked.

        The linear rule of Goyal et al., arXiv 1706.02677.

        >>> TrainSettings(lr=0.1, batch_size=256).rate, TrainSettings(lr=0.1, batch_size=256, scale_lr=True).rate
        (0.1, 0.4)
        """
        return self.lr * self.batch_size * self.accumulate / REFERENCE_BATCH if self.scale_lr else self.lr

    def epochs_of(self, fraction: float) -> int:
        """Give the epochs of a phase that takes a fraction of the run's, at least 1."""
        return max(1, round(self.epochs * fraction))
