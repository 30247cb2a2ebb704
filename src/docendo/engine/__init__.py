"""What trains a phase: rehearsal, frozen networks, optimiser, checkpoints, memory of phases, and the one loop."""

from docendo.engine.networks import Learners
from docendo.engine.rehearse import PhasePlan, rehearse
from docendo.engine.settings import OptimizerSettings, ScheduleSettings, TrainSettings

__all__ = ["Learners", "OptimizerSettings", "PhasePlan", "ScheduleSettings", "TrainSettings", "rehearse"]
