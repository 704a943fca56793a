"""Every file of the broken tray is refused, with the reason that it was made for."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorascope.adapters import Names, load_delta, read_adapter
from lorascope.errors import AdapterError
from lorascope.miniature.broken import write_broken


def test_each_broken_file_is_refused_with_its_own_code(tmp_path: Path, good: Path, names: Names) -> None:
    tray = write_broken(tmp_path / "tray", good)
    refused = {}
    for name in tray:
        with pytest.raises(AdapterError) as caught:
            load_delta(tmp_path / "tray" / name, names)
        refused[name] = caught.value.code
        assert name in str(caught.value)
        assert caught.value.remedy in str(caught.value)
    assert refused == tray


def test_the_tray_has_every_code_that_a_file_by_itself_can_have(tmp_path: Path, good: Path) -> None:
    codes = {error.code for error in AdapterError.__subclasses__()} - {"changed"}
    assert set(write_broken(tmp_path, good).values()) == codes


def test_what_a_header_can_tell_is_told_without_loading(tmp_path: Path, good: Path) -> None:
    tray = write_broken(tmp_path / "tray", good)
    needs_values = {"not-finite", "no-effect", "wrong-base", "partial-match"}
    for name, code in tray.items():
        if code in needs_values:
            assert read_adapter(tmp_path / "tray" / name).keys > 0
            continue
        with pytest.raises(AdapterError) as caught:
            read_adapter(tmp_path / "tray" / name)
        assert caught.value.code == code


def test_the_same_bytes_in_memory_are_refused_alike(tmp_path: Path, good: Path, names: Names) -> None:
    tray = write_broken(tmp_path / "tray", good)
    for name, code in tray.items():
        path = tmp_path / "tray" / name
        if path.is_dir():
            continue
        with pytest.raises(AdapterError) as caught:
            load_delta(path.read_bytes(), names, name=path)
        assert caught.value.code == code


def test_the_good_file_is_left_as_it_was(tmp_path: Path, good: Path, names: Names) -> None:
    before = good.read_bytes()
    write_broken(tmp_path / "tray", good)
    assert good.read_bytes() == before
    assert load_delta(good, names).coverage.unmatched == ()


RANDOM = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RANDOM
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_one_wrong_byte_raises_nothing_but_an_adapter_error(place: float, value: int, good: Path, names: Names) -> None:
    data = bytearray(good.read_bytes())
    data[int(place * len(data))] = value
    with suppress(AdapterError):
        load_delta(data, names)


@RANDOM
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(place: float, good: Path, names: Names) -> None:
    data = good.read_bytes()
    with pytest.raises(AdapterError):
        load_delta(data[: int(place * len(data))], names)
