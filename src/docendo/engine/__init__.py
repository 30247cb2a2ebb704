"""What trains a phase: rehearsal, frozen networks, optimiser, checkpoints, memory of phases, and the one loop."""

from docendo.engine.rehearse import PhasePlan, rehearse
from docendo.engine.settings import OptimizerSettings, ScheduleSettings, TrainSettings
from docendo.engine.train import Trainer

__all__ = ["OptimizerSettings", "PhasePlan", "ScheduleSettings", "TrainSettings", "Trainer", "rehearse"]
