"""The tree of adapter errors is drawn in full, and its members travel and speak."""

import pickle
from pathlib import Path

import pytest

from lorascope import errors
from lorascope.errors import AdapterError, LorascopeError, PartialMatch, WrongBase

LEAVES = sorted(AdapterError.__subclasses__(), key=lambda error: error.__name__)


def test_every_error_is_drawn_and_exported() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert set(errors.__all__) == classes
    assert errors.__all__ == sorted(errors.__all__)
    for name in classes:
        assert name in (errors.__doc__ or "")
        assert issubclass(getattr(errors, name), LorascopeError)


def test_every_adapter_error_has_a_code_of_its_own_which_is_drawn() -> None:
    codes = [error.code for error in LEAVES]
    assert len(set(codes)) == len(codes)
    for error in LEAVES:
        assert any(error.__name__ in line and f" {error.code} " in line for line in (errors.__doc__ or "").splitlines())
        assert not error.__subclasses__()


def make(error: type[AdapterError]) -> AdapterError:
    if error is WrongBase:
        return error(Path("a.safetensors"), "sd15", "sdxl", "the detail")
    if error is PartialMatch:
        return error(Path("a.safetensors"), ("k1", "k2", "k3", "k4", "k5", "k6"), 3, 5)
    return error(Path("a.safetensors"), "the reason", "The remedy")


@pytest.mark.parametrize("error", LEAVES)
def test_a_message_survives_the_way_between_processes(error: type[AdapterError]) -> None:
    made = make(error)
    back = pickle.loads(pickle.dumps(made))
    assert type(back) is error
    assert str(back) == str(made)
    assert vars(back) == vars(made)
    assert str(made).startswith("a.safetensors: ")
    assert made.reason in str(made)
    assert made.remedy in str(made)


def test_a_wrong_base_names_both_sides() -> None:
    assert "made for sd15, but the base model is sdxl (the detail)" in str(make(WrongBase))


def test_a_partial_match_shows_the_first_keys_and_counts_the_rest() -> None:
    assert "3 of 5 modules match the base model; unmatched keys: k1, k2, k3, k4, k5 and 1 more" in str(
        make(PartialMatch)
    )
