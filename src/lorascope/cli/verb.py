"""Commands whose help shows flags without ``<bool>``: a flag takes no value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand, TyperGroup, TyperOption


class Verb(TyperCommand):
    """One verb."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments; the message on a wrong value names it."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except BadParameter as error:
            value = _value_of(getattr(error.param, "opts", ()), given)
            if value and value not in error.message:
                error.message = f"{value!r}: {error.message}"
            raise

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, flags without a type."""
        return _without_flag_types(super().get_params(ctx))


class Verbs(TyperGroup):
    """All verbs."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, flags without a type."""
        return _without_flag_types(super().get_params(ctx))


def _value_of(options: Sequence[str], args: Sequence[str]) -> str:
    """The last value that one of some options was given; "" where it was none."""
    found = ""
    for place, arg in enumerate(args):
        name, given, value = arg.partition("=")
        if name in options:
            found = value if given else "".join(args[place + 1 : place + 2])
    return found


def _without_flag_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_bool_flag:
            parameter.metavar = ""
    return parameters
