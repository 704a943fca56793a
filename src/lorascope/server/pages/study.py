"""The study: blind pairs, three questions, and the results."""

from __future__ import annotations

import csv
import io
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, final

from fastapi import APIRouter, Cookie, Form, Request
from fastapi.responses import RedirectResponse, Response

from lorascope.evaluation.pairs import Study, read_study
from lorascope.evaluation.statistics import krippendorff_alpha, wilson
from lorascope.library import Library
from lorascope.report.words import is_mature
from lorascope.server.pages.cards import Cells, PicturePair
from lorascope.server.pages.render import page
from lorascope.server.problems import Problem
from lorascope.server.shared_state import StateOf
from lorascope.server.votes import QUESTIONS, WANTED, Answer, Question, Vote, Votes, ours_is_left

_YEAR = 365 * 86400
_CELLS = 4
"""How many pinned cells each adapter is shown on."""
Side = Literal["left", "right", "tie"]
Person = Annotated[str | None, Cookie(alias="study", max_length=64, pattern="^[A-Za-z0-9_-]+$")]


@dataclass(frozen=True)
class QuestionResult:
    """The result of one question."""

    question: str
    counts: tuple[tuple[str, int, float, tuple[float, float]], ...]
    majorities: tuple[tuple[str, int], ...]
    alpha: float | None


@final
class StudyPages:
    """The pages of one study; ``router`` holds them."""

    def __init__(self, path: Path) -> None:
        """Read the pairs, and open the answers, which lie beside them.

        Raises:
            QueryError: the file of pairs cannot be read.
            LibraryError: the file of answers cannot be opened.
        """
        self._study: Study = read_study(path)
        self._votes = Votes(path.with_suffix(f".{self._study.digest}.votes.db"))
        self.router = APIRouter(include_in_schema=False)
        self.router.add_api_route("/study", self.ask)
        self.router.add_api_route("/study", self.answer, methods=["POST"])
        self.router.add_api_route("/study/results", self.results)
        self.router.add_api_route("/study/votes.csv", self.table)

    def ask(self, request: Request, state: StateOf, study: Person = None) -> Response:
        """The next pair for this person, who gets a random id as a cookie."""
        person = study or secrets.token_urlsafe(16)
        number, done = self._votes.next_pair(person, len(self._study.pairs))
        sides: list[list[tuple[PicturePair, ...]]] = []
        mature = tiny = False
        if number is not None:
            pair = self._study.pairs[number]
            first, second = (pair.ours, pair.other) if ours_is_left(person, number) else (pair.other, pair.ours)
            with state.library() as library:
                cells = Cells.of(library, library.protocols.find(), {*first, *second})
                sides = [_pictures(cells, keys) for keys in (first, second)]
                mature = _any_mature(library, (*first, *second))
                tiny = cells.tiny
        answer = page(
            request,
            "study.html.jinja",
            number=number,
            done=done,
            total=len(self._study.pairs),
            query=self._study.pairs[number].query if number is not None else "",
            sides=sides,
            tiny=tiny,
            mature_pair=mature,
            questions=QUESTIONS,
        )
        answer.set_cookie("study", person, max_age=_YEAR, httponly=True, samesite="strict")
        return answer

    def answer(
        self,
        pair: Annotated[int, Form(ge=0)],
        overall: Annotated[Side, Form()],
        relevance: Annotated[Side, Form()],
        quality: Annotated[Side, Form()],
        study: Person = None,
    ) -> Response:
        """Keep a person's three answers."""
        if study is None:
            raise Problem(409, "no-cookie", "an answer came without the cookie that its page set", "allow cookies here")
        if pair >= len(self._study.pairs):
            raise Problem(404, "unknown-pair", f"there is no pair {pair}", "open /study again", "pair")
        left: Answer = "ours" if ours_is_left(study, pair) else "other"
        right: Answer = "other" if left == "ours" else "ours"
        meaning: dict[Side, Answer] = {"left": left, "right": right, "tie": "tie"}
        answers: dict[Question, Answer] = {
            "overall": meaning[overall], "relevance": meaning[relevance], "quality": meaning[quality]
        }  # fmt: skip
        self._votes.put(study, pair, answers)
        return RedirectResponse("/study", 303)

    def results(self, request: Request) -> Response:
        """Shares with intervals, majorities, agreement."""
        votes = self._votes.all()
        people = Counter(vote.pair for vote in votes if vote.question == "overall")
        return page(
            request,
            "study-results.html.jinja",
            study=self._study,
            rows=[self._row(question, text, votes) for question, text in QUESTIONS.items()],
            people=len({vote.person for vote in votes}),
            enough=sum(count >= WANTED for count in people.values()),
            wanted=WANTED,
        )

    def table(self) -> Response:
        """Every answer as CSV; people are numbers."""
        votes = self._votes.all()
        people = {person: number for number, person in enumerate(dict.fromkeys(vote.person for vote in votes), 1)}
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(["pair", "query", "question", "person", "answer"])
        for vote in votes:
            query = self._study.pairs[vote.pair].query
            writer.writerow([vote.pair, query, vote.question, people[vote.person], vote.answer])
        return Response(file.getvalue(), media_type="text/csv; charset=utf-8")

    def _row(self, question: str, text: str, votes: Sequence[Vote]) -> QuestionResult:
        mine = [vote for vote in votes if vote.question == question]
        counts = Counter(vote.answer for vote in mine)
        units: dict[int, list[str]] = {}
        for vote in mine:
            units.setdefault(vote.pair, []).append(vote.answer)
        names = {"ours": self._study.ours, "other": self._study.other, "tie": "neither"}
        majorities = Counter(_majority(answers) for answers in units.values())
        return QuestionResult(
            text,
            tuple(
                (name, counts[key], counts[key] / max(len(mine), 1), wilson(counts[key], len(mine)))
                for key, name in names.items()
            ),
            tuple((name, majorities[key]) for key, name in names.items()),
            krippendorff_alpha(units.values()),
        )


def _majority(answers: Sequence[str]) -> str:
    """The answer that more than half of all are, ties among them; "" where none is."""
    answer, count = Counter(answers).most_common(1)[0]
    return answer if 2 * count > len(answers) else ""


def _pictures(cells: Cells, keys: Sequence[str]) -> list[tuple[PicturePair, ...]]:
    return [cells.pairs(key)[:_CELLS] for key in keys]


def _any_mature(library: Library, keys: Sequence[str]) -> bool:
    return any(is_mature(adapter) for adapter in library.adapters.get(keys).values())
