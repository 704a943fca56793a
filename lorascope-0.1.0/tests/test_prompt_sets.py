"""What the prompt sets promise, checked on the data files themselves."""

from __future__ import annotations

import re
import tomllib
from itertools import combinations, product
from pathlib import Path

import pytest

PROMPTS = Path(__file__).resolve().parents[1] / "src" / "lorascope" / "prompts"
CATEGORIES = {
    "portraits",
    "landscapes",
    "art_styles",
    "conceptual_art",
    "animals",
    "fashion",
    "vehicles",
    "food",
    "cinematic",
    "logos",
}
NEAR_COPY = 0.6
MINORS = re.compile(
    r"\b(child(ren)?|kids?|boys?|girls?|bab(y|ies)|toddlers?|infants?|teen(s|agers?)?"
    r"|school\w*|students?|young)\b"
)
CLICHES = re.compile(r"\b(whimsical|tapestry|ethereal|bustling|vibrant|mesmerizing|masterpiece)\b")

Groups = dict[str, dict[str, list[str]]]


def load(file_name: str) -> tuple[str, Groups]:
    """Read a prompt set.

    Args:
        file_name: The file's name in the folder of prompt sets.

    Returns:
        The set's name, and its prompts by category and sub-category.
    """
    with (PROMPTS / file_name).open("rb") as file:
        data = tomllib.load(file)
    name = data.pop("name")
    return name, data


def flat(groups: Groups) -> list[str]:
    """List all prompts in the order of the file.

    Args:
        groups: Prompts by category and sub-category.

    Returns:
        The prompts, in one list.
    """
    return [prompt for subs in groups.values() for prompts in subs.values() for prompt in prompts]


def normal(prompt: str) -> str:
    """Fold case and runs of whitespace.

    Args:
        prompt: A prompt.

    Returns:
        The form in which two prompts count as the same.
    """
    return " ".join(prompt.casefold().split())


def words(prompt: str) -> frozenset[str]:
    """Take a prompt's distinct words, without punctuation.

    Args:
        prompt: A prompt.

    Returns:
        The words in lower case.
    """
    return frozenset(re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", prompt.casefold()))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Say which share of the words of two prompts is common to both.

    Args:
        left: Words of one prompt.
        right: Words of the other.

    Returns:
        Size of the intersection over size of the union, 0 to 1.
    """
    return len(left & right) / len(left | right)


INDEX_NAME, INDEX = load("index.toml")
QUERY_NAME, QUERY = load("query.toml")
REFERENCE_NAME, REFERENCE = load("reference.toml")
TAGS_NAME, TAGS = load("index-tags.toml")

both = pytest.mark.parametrize("groups", [INDEX, QUERY], ids=["index", "query"])
grids = pytest.mark.parametrize("groups", [INDEX, QUERY, TAGS], ids=["index", "query", "index-tags"])
every = pytest.mark.parametrize(
    "groups", [INDEX, QUERY, REFERENCE, TAGS], ids=["index", "query", "reference", "index-tags"]
)


def test_names() -> None:
    """A name carries a version, since results depend on the exact words."""
    names = (INDEX_NAME, QUERY_NAME, REFERENCE_NAME, TAGS_NAME)
    assert names == ("index-v1", "query-v1", "reference-v1", "index-tags-v1")


@grids
def test_shape(groups: Groups) -> None:
    """There are 280 prompts: ten categories of three or four sub-categories of eight."""
    assert set(groups) == CATEGORIES
    assert sorted(len(subs) for subs in groups.values()) == [3] * 5 + [4] * 5
    assert {len(prompts) for subs in groups.values() for prompts in subs.values()} == {8}
    assert len(flat(groups)) == 280


def test_same_categories_in_the_same_order() -> None:
    """P and P' share categories and sub-categories, so that profiles can be laid side by side."""
    shapes = [[(category, list(subs)) for category, subs in groups.items()] for groups in (INDEX, QUERY, TAGS)]
    assert shapes[0] == shapes[1] == shapes[2]


@grids
def test_sub_category_names_are_unique(groups: Groups) -> None:
    """A sub-category is named unambiguously without its category."""
    names = [sub for subs in groups.values() for sub in subs]
    assert len(names) == len(set(names))


@every
def test_no_duplicates_within(groups: Groups) -> None:
    """No prompt stands twice in a set."""
    seen = [normal(prompt) for prompt in flat(groups)]
    assert [prompt for prompt in set(seen) if seen.count(prompt) > 1] == []


def test_no_duplicates_across() -> None:
    """No prompt stands in two sets."""
    index, query, reference = ({normal(prompt) for prompt in flat(groups)} for groups in (INDEX, QUERY, REFERENCE))
    assert index & query == set()
    assert (index | query) & reference == set()


def test_no_near_copies_across() -> None:
    """No prompt of P' is one of P in slightly other words."""
    copies = [
        (left, right)
        for left, right in product(flat(INDEX), flat(QUERY))
        if jaccard(words(left), words(right)) > NEAR_COPY
    ]
    assert copies == []


@grids
def test_no_near_copies_within(groups: Groups) -> None:
    """No prompt of a set repeats another one of it in slightly other words."""
    copies = [
        (left, right) for left, right in combinations(flat(groups), 2) if jaccard(words(left), words(right)) > NEAR_COPY
    ]
    assert copies == []


@every
def test_text_is_plain(groups: Groups) -> None:
    """Prompts are clean ASCII without final punctuation, because a query follows after a space."""
    for prompt in flat(groups):
        assert prompt.isascii(), prompt
        assert prompt == " ".join(prompt.split()), prompt
        assert prompt[-1].isalnum(), prompt


@both
def test_length_leaves_room_for_a_query(groups: Groups) -> None:
    """Prompts have 6 to 20 words: something to draw, and room for a query within CLIP's 77 tokens."""
    assert [prompt for prompt in flat(groups) if not 6 <= len(prompt.split()) <= 20] == []


@every
def test_people_are_adults(groups: Groups) -> None:
    """No prompt asks for minors, because adapters of unknown content are run on all of them."""
    assert [prompt for prompt in flat(groups) if MINORS.search(prompt.casefold())] == []


def test_every_person_in_tags_is_tagged_as_an_adult() -> None:
    people = [prompt for prompt in flat(TAGS) if "no humans" not in prompt and "logo" not in prompt]
    adult = re.compile(r"\b(mature (fe)?male|old (wo)?man)\b")
    assert [prompt for prompt in people if not adult.search(prompt)] == []


@every
def test_no_cliches(groups: Groups) -> None:
    """No prompt uses the words that say nothing about a picture."""
    assert [prompt for prompt in flat(groups) if CLICHES.search(prompt.casefold())] == []


def test_reference_is_short_and_broad() -> None:
    """The reference phrases are about 120 searches of two to five words, in ten or more groups."""
    phrases = flat(REFERENCE)
    assert 100 <= len(phrases) <= 140
    assert len(REFERENCE["phrases"]) >= 10
    assert [phrase for phrase in phrases if not 2 <= len(phrase.split()) <= 5] == []


@pytest.mark.parametrize(
    ("left", "right", "share"),
    [
        ("a red fox", "A red, fox", 1.0),
        ("a red fox", "a gray owl", 0.2),
        ("two boats", "one train", 0.0),
    ],
)
def test_jaccard_itself(left: str, right: str, share: float) -> None:
    """The similarity used above gives the figures worked out by hand."""
    assert jaccard(words(left), words(right)) == pytest.approx(share)
