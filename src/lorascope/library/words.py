"""Which trigger words an adapter is measured with, and on which side of an effect."""

from __future__ import annotations

from collections.abc import Sequence

from lorascope.adapters.inversions import is_named
from lorascope.errors import printable
from lorascope.library.records import StoredAdapter
from lorascope.protocol import AlternativePolicy, Preset, Protocol


def suffix(triggers: Sequence[str], policy: AlternativePolicy, tokens: Sequence[str] = ()) -> str:
    """What is appended to a prompt to call an adapter up, as ", word, word".

    Args:
        triggers: what its author gives: one text, or alternatives such as outfits or characters.
        policy: ``all`` of several, the ``first``, the tags that are ``common`` to all (the first where there are
            none), or ``none``.
        tokens: of its textual inversions, which do not act unless they are named.

    >>> suffix(["ana, red coat", "ana, blue suit"], "common", ["ana", "ink"])
    ', ana, ink'
    """
    chosen = list(_chosen(list(triggers), policy))
    chosen += [token for token in tokens if not is_named(token, " ".join(chosen))]
    return "".join(f", {printable(word)}" for word in chosen)


def _chosen(triggers: list[str], policy: AlternativePolicy) -> list[str]:
    if len(triggers) < 2 or policy == "all":
        return triggers
    if policy == "none":
        return []
    tags = [dict.fromkeys(tag.strip() for tag in trigger.split(",")) for trigger in triggers]
    common = [tag for tag in tags[0] if all(tag in others for others in tags[1:])]
    return common if policy == "common" and common else triggers[:1]


def measured_words(adapter: StoredAdapter, protocol: Protocol) -> str:
    """The words that an adapter is measured with under a scene: those it was begun with, else those it claims."""
    known = adapter.facts.measured_words.get(protocol.scene)
    if known is not None:
        return known
    return suffix(adapter.claimed("triggers") or (), protocol.alternatives, adapter.facts.tokens)


def arms(setting: Preset | Protocol, words: str) -> tuple[str, str]:
    """What the trigger policy appends to adapted and to bare prompts, of ``words``, which are ", word, word" or ""."""
    return (words if setting.triggers != "none" else "", words if setting.triggers == "both" else "")
