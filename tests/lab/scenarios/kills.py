"""Three cuts in every run; `campaign` has them by the dozen."""

from __future__ import annotations

from labkit.lab import Lab

from .campaign import Room

PROVES = "kill -9 and a power cut within a push, and a power cut of a rebuild that was killed: every target, the last accepted commit and every byte come back"


def run(lab: Lab) -> None:
    """One of each."""
    room = Room(lab)
    room.killed()
    lab.proves("killed within a push, the room comes back with every target and every byte")
    room.cut()
    lab.proves("and after a power cut within a push")
    room.cut(rebuild=True)
    lab.proves("and after one more of the rebuild")
    room.takes_a_push()
    lab.proves("and takes the next push")
