"""The address of the search page, which holds the whole search, so that it can be linked and bookmarked."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from lorascope.search import Example, Request
from lorascope.search.request import Order
from lorascope.server.examples import examples

PAGE = 48
"""Hits on a page."""
_STEPS = (0.25, 0.5, 1.0, 2.0, 4.0)


class Address(BaseModel):
    """What is asked, under the names that the API uses.

    A threshold that is None is the Protocol's own. ``family`` may name a lineage, as in ``sdxl/pony``. ``does`` are
    words that describe adapters, ``flag`` is a kind of finding, and ``since`` a time after which adapters came.
    ``favourite`` asks for favourites only.
    ``lane`` is the page of the hits that thresholds hide.
    """

    model_config = ConfigDict(frozen=True)

    q: str = ""
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    image: tuple[str, ...] = ()
    protocol: str = ""
    family: str = ""
    folder: str = ""
    does: tuple[str, ...] = ()
    flag: str = ""
    since: FiniteFloat = 0.0
    favourite: bool = False
    sort: Order = "strongest"
    scene: str = ""
    max_strength: FiniteFloat | None = None
    min_consistency: FiniteFloat | None = None
    hidden: bool = False
    page: int = Field(default=1, ge=1, le=100_000)
    lane: int = Field(default=1, ge=1, le=100_000)

    @model_validator(mode="before")
    @classmethod
    def _chosen(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Without "", which a form sends, until the page's script has run, where nothing is chosen."""
        lists = {name: [one for one in value if one] for name, value in fields.items() if isinstance(value, list)}
        return {name: value for name, value in (fields | lists).items() if value != ""}

    @property
    def browsing(self) -> bool:
        """Whether nothing is asked for, so that everything is shown."""
        return not (self.q.strip() or self.more or self.less or self.image)

    @property
    def fine(self) -> bool:
        """Whether one of the filters is set that the page folds away."""
        limits = (self.max_strength, self.min_consistency)
        return bool(self.flag or self.since or self.scene) or limits != (None, None)

    @property
    def filtered(self) -> bool:
        """Whether only adapters of some keys may appear."""
        return bool(self.does or self.flag or self.since or self.favourite or "/" in self.family)

    def request(self, only: frozenset[str] | None = None) -> Request:
        """The request for a searcher, among adapters of some keys. Consistency 0 is the slider's left end: all pass."""
        lowest = self.min_consistency
        return Request(
            self.q.strip(),
            adapters=examples(self.more, self.less),
            pictures=tuple(map(Example, self.image)),
            family=self.family.partition("/")[0],
            folder=self.folder,
            only=only,
            everything=bool(self.flag) or self.favourite,  # some findings are about what thresholds hide
            order=self.sort,
            max_strength=self.max_strength,
            min_consistency=float("-inf") if lowest is not None and lowest <= 0 else lowest,
            hidden_offset=(self.lane - 1) * PAGE,
            offset=(self.page - 1) * PAGE,
            limit=PAGE,
        )

    def url(self, **changes: Any) -> str:
        """The address with some changes; it goes back to the first pages unless they are named."""
        fields = self.model_dump(exclude_defaults=True) | {"page": 1, "lane": 1} | changes
        defaults = Address()
        kept = [(name, value) for name, value in fields.items() if value != getattr(defaults, name)]
        text = urlencode([(name, _spelt(value)) for name, value in kept], doseq=True)
        return f"/?{text}" if text else "/"

    @property
    def examples(self) -> tuple[tuple[str, Example], ...]:
        """Adapters to be like or unlike, each with the name of its list."""
        lists = (("more", self.more), ("less", self.less))
        return tuple((name, Example.parse(text)) for name, texts in lists for text in texts)

    def lighter(self, example: Example) -> str:
        """The same with the next smaller weight of an example of those that the page offers; "" if it has the least."""
        return next((self._weigh(example, step) for step in reversed(_STEPS) if step < example.weight), "")

    def heavier(self, example: Example) -> str:
        """The same with the next larger one; "" if it has the most."""
        return next((self._weigh(example, step) for step in _STEPS if step > example.weight), "")

    def _weigh(self, example: Example, weight: float) -> str:
        lists: dict[str, list[str]] = {"more": [], "less": []}
        for name, one in self.examples:
            lists[name].append(str(Example(one.name, weight) if one.name == example.name else one))
        return self.url(**{name: tuple(texts) for name, texts in lists.items()})

    def more_like(self, key: str) -> str:
        """The address with an adapter added as an example to be like."""
        return self.url(more=_with(self.more, key), less=_without(self.less, key))

    def less_like(self, key: str) -> str:
        """The address with an adapter added as an example to be unlike."""
        return self.url(less=_with(self.less, key), more=_without(self.more, key))

    def forget(self, key: str) -> str:
        """The address without an adapter as an example."""
        return self.url(more=_without(self.more, key), less=_without(self.less, key))


def _with(keys: tuple[str, ...], key: str) -> tuple[str, ...]:
    return keys if any(Example.parse(other).name == key for other in keys) else (*keys, key)


def _without(keys: tuple[str, ...], key: str) -> tuple[str, ...]:
    return tuple(other for other in keys if Example.parse(other).name != key)


def _spelt(value: Any) -> Any:
    return "1" if value is True else value
