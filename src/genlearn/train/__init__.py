"""The trainer: players, stages, streams and one loop; it knows no model by name."""

from genlearn.train.checkpoint import Keeper
from genlearn.train.game import Budget, JointLoss, Loss, Player, Stage
from genlearn.train.journal import Journal
from genlearn.train.loop import Diverged, Monitor, Progress, Training
from genlearn.train.optim import Optimizer, OptimizerName
from genlearn.train.schedules import Schedule
from genlearn.train.stream import Stream

__all__ = [
    "Budget",
    "Diverged",
    "JointLoss",
    "Journal",
    "Keeper",
    "Loss",
    "Monitor",
    "Optimizer",
    "OptimizerName",
    "Player",
    "Progress",
    "Schedule",
    "Stage",
    "Stream",
    "Training",
]
