"""The topics of the lab by name, in the order of the page."""

from __future__ import annotations

from genlearn.lab.topic import Topic
from genlearn.lab.topics import distance, games, learning, optimal
from genlearn.words import unknown

ROOMS = (optimal, distance, games, learning)
TOPICS: dict[str, Topic] = {topic.name: topic for room in ROOMS for topic in room.TOPICS}


def topic(name: str) -> Topic:
    """A topic by name; ValueError in one line if there is none."""
    if name not in TOPICS:
        raise ValueError(unknown("topic", name, TOPICS))
    return TOPICS[name]
