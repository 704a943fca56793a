"""What people answered in a study: one row for each person, pair and question, kept before it is acknowledged."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, final

from lorascope.library.database import Database

Answer = Literal["ours", "other", "tie"]
Question = Literal["overall", "relevance", "quality"]
QUESTIONS: Mapping[Question, str] = {
    "overall": "Which side is better on the whole?",
    "relevance": "Which side does more of what the words ask for?",
    "quality": "Which side has the better pictures?",
}
"""The three questions of the paper's study."""
WANTED = 6
"""How many people should answer each pair, as in the paper."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS votes (
    person TEXT NOT NULL, pair INTEGER NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (person, pair, question)
);
"""


class Vote(NamedTuple):
    """One answer. ``person`` is a random id."""

    person: str
    pair: int
    question: str
    answer: str


@final
class Votes:
    """The answers of one study, in a file of their own, which is open only while it is used."""

    def __init__(self, path: Path) -> None:
        """Make the file if it is not there.

        Raises:
            LibraryError: it cannot be made, or is something else.
        """
        self._path = path
        self.all()

    def put(self, person: str, pair: int, answers: Mapping[Question, Answer]) -> None:
        """Keep a person's answers to one pair, all or none. Answered again, the later answer counts, once."""
        rows = [(person, pair, question, answer, time.time()) for question, answer in answers.items()]
        with self._open() as db:
            db.write(
                "INSERT INTO votes VALUES (?, ?, ?, ?, ?) ON CONFLICT (person, pair, question)"
                " DO UPDATE SET answer = excluded.answer, at = excluded.at",
                rows,
            )

    def all(self) -> list[Vote]:
        """Every answer, by pair, question and time."""
        with self._open() as db:
            rows = db.rows("SELECT person, pair, question, answer FROM votes ORDER BY pair, question, at")
            return [Vote(*row) for row in rows]

    @contextmanager
    def _open(self) -> Generator[Database]:
        with closing(Database(self._path, _SCHEMA, create=True)) as db:
            db.rows("PRAGMA synchronous = FULL")  # nobody answers twice: not even a power failure may take an answer
            yield db

    def next_pair(self, person: str, pairs: int) -> tuple[int | None, int]:
        """The pair to show a person next, None after the last, and how many they have answered.

        It is the one that the fewest people have answered; among those, one by lot, another for each person.
        """
        people: dict[int, set[str]] = {pair: set() for pair in range(pairs)}
        for vote in self.all():
            people.get(vote.pair, set()).add(vote.person)
        left = [pair for pair, voters in people.items() if person not in voters]
        chosen = min(left, key=lambda pair: (len(people[pair]), lot(person, pair)), default=None)
        return chosen, pairs - len(left)


def lot(person: str, pair: int) -> int:
    """A number from person and pair, as good as random and always the same."""
    return int.from_bytes(hashlib.sha256(f"{person} {pair}".encode()).digest()[:8])


def ours_is_left(person: str, pair: int) -> bool:
    """On which side our answer is shown for this person."""
    return lot(person, pair) % 2 == 0
