"""Whether adapters are what they say: titles, descriptions and tags against what is measured.

The claim's own words are queries. What counts is how an adapter scores for them compared with all others.
The standings of all other adapters for all these words show how high chance reaches, so that words that fit are
separated from the rest at a false discovery rate of 5% (Benjamini and Hochberg 1995).

That words do not fit proves nothing: they may be foreign, a boast, or of things that the encoder does not know. An
adapter is called mislabelled only if its words clearly describe another adapter of the library and none of them puts it
above what is usual, while what it does instead has words of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Float64

from lorascope.adapters.claims import plain_text
from lorascope.analysis.description import FALSE_DISCOVERIES, FEWEST, Description, describe, levels, robust_spread
from lorascope.analysis.finding import Finding, Flag
from lorascope.analysis.weight import Advice, advise, known_curves
from lorascope.families import named, title_of
from lorascope.grid import PromptSet
from lorascope.library import StoredAdapter
from lorascope.search import Request, Searcher

Verdict = Literal["fits", "mislabelled", "mute", "unclear"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Claimed = Sequence[tuple[str, str]]
"""Phrases of a claim, each after its source."""

_MOST_TAGS, _MOST_CLAUSES, _LONGEST = 5, 6, 120
_USAGE: Final = re.compile(
    r"\b(weights?|strength|triggers?|cfg|samplers?|steps?|trained|training|data ?sets?|versions?|v\d\S*|uploads?"
    r"|uploaded|downloads?|thanks?|licen[cs]e|commercial|feedback|examples?|settings?|rank|batch|refunds?|lora)\b",
    re.IGNORECASE,
)
"""Clauses with these words are about the use of a file rather than about what it does."""
_CLAUSES: Final = re.compile(r"[.!?;:]+(?:\s+|$)|,\s+")
_SIGNS: Final = re.compile(r"[^\w'&-]|_|(?<!\w)-|-(?!\w)")
_SAMPLE = 500
"""Adapters on which the words of each claim are tried; of a larger library, evenly spaced ones."""
_ABOVE = 1.0
"""Robust standard deviations: a claim of which some words reach this is not refuted."""


@dataclass(frozen=True)
class ClaimedPhrase:
    """A phrase of a claim, and how the adapter scores for it.

    Attributes:
        source: ``title``, ``tags`` or ``description``.
        text: the phrase.
        standing: how many robust standard deviations it lies above the library's median for this phrase.
        rank: its place among the adapters, 1 for the best.
    """

    source: str
    text: str
    standing: float
    rank: int


@dataclass(frozen=True)
class Audit:
    """What became of an adapter's claims.

    Attributes:
        key: of the adapter.
        name: of the adapter.
        verdict: whether its words fit; see the module's text.
        reason: for the verdict, in words.
        does: what it does, in words; "" where nothing stands out.
        phrases: of its claims as they were tried, the best first.
        chance: that words stand as high for an adapter that they do not describe; None without words.
        contradicted: other claims that measurements contradict, in words.
    """

    key: str
    name: str
    verdict: Verdict
    reason: str
    does: str
    phrases: tuple[ClaimedPhrase, ...] = ()
    chance: float | None = None
    contradicted: tuple[str, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """What a person should know of it: nothing, where its words fit or cannot be judged."""
        flags: dict[Verdict, Flag] = {"mislabelled": "mislabelled", "mute": "mute"}
        does = f"It does this: {self.does}" if self.does else "What it does has no word: look at its images"
        found = [Finding(self.key, self.name, flags[self.verdict], self.reason, does)] if self.verdict in flags else []
        remedy = "Trust what was measured, and correct its notes"
        return found + [Finding(self.key, self.name, "contradicted", one, remedy) for one in self.contradicted]


def audit(searcher: Searcher, keys: Iterable[str] | None = None) -> list[Audit]:
    """Compare what is said about adapters with what they do.

    Args:
        searcher: over the library. Phrases of claims that were never encoded before are encoded, once.
        keys: of the adapters to be audited; all by default.

    Returns:
        An audit of each adapter that has a signature under the Protocol, in the library's order.

    Raises:
        LibraryError: the library holds too few adapters to tell words from chance, or one that is named is unknown.
        ModelError: the encoder is not on this disk.

    >>> audit(searcher)[0].verdict  # doctest: +SKIP
    'fits'
    """
    described = describe(searcher, keys)
    adapters = searcher.library.adapters.get(one.key for one in described)
    described = [one for one in described if one.key in adapters]
    claims = {key: claimed_phrases(adapter) for key, adapter in adapters.items()}
    tried = _Tried.of(searcher, claims)
    matrix = searcher.matrix
    repeats = {key for key in claims if matrix.consistency_interval[matrix.places[key], 0] > 0}
    chances = {key: tried.chance(found) for key, found in tried.phrases.items() if found and key in repeats}
    fitting = _discoveries(chances)
    curves = known_curves(searcher.library, searcher.stored.protocol.digest, adapters)
    audits: list[Audit] = []
    for one in described:
        found = tried.phrases[one.key]
        if one.key in fitting:
            verdict, reason = "fits", f"for {found[0].text!r} it ranks {found[0].rank} of {len(matrix)}"
        elif found and one.key not in repeats:
            verdict, reason = "unclear", "it does nothing that it repeats, so no words can be tried on it"
        else:
            verdict, reason = _judged(searcher, one, found)
        curve = curves.get(one.key)
        contradicted = _contradicted(adapters[one.key], advise(curve) if curve else None)
        audits.append(Audit(one.key, one.name, verdict, reason, str(one), found, chances.get(one.key), contradicted))
    return audits


def phrases_asked(searcher: Searcher, keys: Iterable[str] | None = None) -> list[str]:
    """All phrases of an audit: the vocabulary, and the claims of adapters; none where it would be refused."""
    matrix = searcher.matrix
    if np.count_nonzero(matrix.strength > 0) < FEWEST:
        return []
    adapters = searcher.library.adapters.get(matrix.keys if keys is None else keys).values()
    claimed = [text for adapter in adapters for _, text in claimed_phrases(adapter)]
    return [*PromptSet.load(searcher.stored.preset.vocabulary).texts, *claimed]


def claimed_phrases(adapter: StoredAdapter) -> list[tuple[str, str]]:
    """What can be searched for of an adapter's title, tags and description: sources and phrases.

    Clauses of the description about its use, such as weights, versions and thanks, are left out. British spellings
    become American ones, of which encoders have read more.
    """
    title, text = (plain_text(str(adapter.claimed(name) or "")) for name in ("title", "description"))
    tags = [plain_text(str(tag)) for tag in (adapter.claimed("tags") or ())[:_MOST_TAGS]]
    clauses = [clause for clause in _CLAUSES.split(text) if not _USAGE.search(clause)][:_MOST_CLAUSES]
    pairs = [("title", title), *(("tags", tag) for tag in tags), *(("description", clause) for clause in clauses)]
    phrases = [(source, _phrase(words)) for source, words in pairs]
    return [(source, phrase) for source, phrase in dict.fromkeys(phrases) if phrase]


def _phrase(text: str) -> str:
    """Words alone: what a query would take for signs and weights goes."""
    words = " ".join(_SIGNS.sub(" ", text).split())[:_LONGEST]
    return words.replace("colour", "color").replace("grey", "gray").replace("Grey", "Gray")


@dataclass(frozen=True)
class _Tried:
    """The phrases of each adapter's claims as they were tried, the best first."""

    phrases: Mapping[str, tuple[ClaimedPhrase, ...]]
    null: Float64[np.ndarray, " m"]
    """Standings of adapters for phrases that are not theirs, in ascending order."""

    @classmethod
    def of(cls, searcher: Searcher, claims: Mapping[str, Claimed]) -> _Tried:
        """Encode and try them; of a large library, on evenly spaced adapters and their own."""
        matrix, count = searcher.matrix, len(searcher.matrix)
        sample = np.arange(0, count, -(-count // _SAMPLE))
        rows = np.asarray(matrix.directions[sample])
        vocabulary = searcher.vectors(PromptSet.load(searcher.stored.preset.vocabulary).texts)
        tried: dict[str, tuple[ClaimedPhrase, ...]] = {}
        null: list[Float64[np.ndarray, " m"]] = [np.empty(0)]
        for key, claimed in claims.items():
            if not claimed:
                tried[key] = ()
                continue
            vectors, row = searcher.vectors([text for _, text in claimed]), matrix.places[key]
            found = levels(rows, vectors, vocabulary)
            medians, spreads = robust_spread(found)
            standings = (found - medians) / spreads
            own = (levels(np.asarray(matrix.directions[[row]]), vectors, vocabulary)[0] - medians) / spreads
            ranks = 1 + np.rint((standings > own + 1e-6).mean(axis=0) * count).astype(int)
            pairs = zip(claimed, own.tolist(), ranks.tolist(), strict=True)
            phrases = (ClaimedPhrase(*one, standing, rank) for one, standing, rank in pairs)
            tried[key] = tuple(sorted(phrases, key=lambda one: -one.standing))
            null.append(standings[(sample != row) & (matrix.strength[sample] > 0)].ravel())
        return cls(tried, np.sort(np.concatenate(null)))

    def chance(self, phrases: Sequence[ClaimedPhrase]) -> float:
        """The chance that the best of so many phrases stands as high for an adapter that they do not describe."""
        higher = len(self.null) - np.searchsorted(self.null, phrases[0].standing, side="left")
        return 1 - (1 - float(1 + higher) / (1 + len(self.null))) ** len(phrases)


def _discoveries(chances: Mapping[str, float]) -> set[str]:
    """Those that Benjamini and Hochberg's rule accepts."""
    order = sorted(chances, key=lambda key: chances[key])
    passing = [place for place, key in enumerate(order, 1) if chances[key] <= FALSE_DISCOVERIES * place / len(order)]
    return set(order[: max(passing, default=0)])


def _described_by(searcher: Searcher, phrases: Sequence[ClaimedPhrase]) -> tuple[str, str] | None:
    """A phrase that clearly describes some adapter of the library, and which one; None if no phrase does."""
    for phrase in phrases:
        hits = searcher.search(Request(phrase.text, limit=1, everything=True)).hits
        if hits and hits[0].clarity == "clear":
            return phrase.text, hits[0].adapter.name
    return None


def _judged(searcher: Searcher, description: Description, phrases: tuple[ClaimedPhrase, ...]) -> tuple[Verdict, str]:
    """The verdict on claims that do not fit, and why."""
    does, among = str(description), len(searcher.matrix)
    best = phrases[0] if phrases else None
    if best is not None and does and best.standing < _ABOVE and (other := _described_by(searcher, phrases)):
        place = f"for the best of its words, {best.text!r}, it ranks {best.rank} of {among}"
        return "mislabelled", f"{other[0]!r} describes {other[1]}; {place}"
    if best is None:
        return "mute", "no title, tags or description"
    if all(one.source == "title" for one in phrases):
        return "mute", f"only a title, {best.text!r}, which does not clearly say it"
    return "unclear", "its words describe nothing here clearly: they may be vague, foreign or a boast"


def _contradicted(adapter: StoredAdapter, advice: Advice | None) -> tuple[str, ...]:
    """Claims about its base model and its weight that reading and measuring contradict."""
    said: list[str] = []
    base, weight = adapter.claimed("base_model"), adapter.claimed("weight")
    found = named(base) if isinstance(base, str) else None
    if found is not None and found[0].name != adapter.family:
        said.append(f"it is said to be made for {base}, but it fits {title_of(adapter.family)} only")
    low, high = (None, None) if advice is None else (advice.low, advice.high)
    if weight and advice is not None and low is not None and high is not None and not low <= weight <= high:
        said.append(f"a weight of {weight:g} is claimed, {advice.range} is measured: {advice.reason}")
    return tuple(said)
