"""The trainer: players, stages, streams and one loop; it knows no model by name."""

from genlearn._types import Batch, Logs, Nets
from genlearn.train.average import Average
from genlearn.train.checkpoint import Keeper
from genlearn.train.contract import JointLoss, Loss, Prepare, Setup
from genlearn.train.game import Budget, Game, Move, Player, Playing, Stage
from genlearn.train.journal import Journal
from genlearn.train.loop import Training
from genlearn.train.monitor import Monitor
from genlearn.train.optim import Optimizer, OptimizerName
from genlearn.train.progress import Progress
from genlearn.train.schedules import Schedule
from genlearn.train.stop import Diverged, Stop, Stopped
from genlearn.train.stream import Stream

__all__ = [
    "Average",
    "Batch",
    "Budget",
    "Diverged",
    "Game",
    "JointLoss",
    "Journal",
    "Keeper",
    "Logs",
    "Loss",
    "Monitor",
    "Move",
    "Nets",
    "Optimizer",
    "OptimizerName",
    "Player",
    "Playing",
    "Prepare",
    "Progress",
    "Schedule",
    "Setup",
    "Stage",
    "Stop",
    "Stopped",
    "Stream",
    "Training",
]
