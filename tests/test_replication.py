"""The replication kit, against a site on this machine whose library was published from the shipped world."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import three, tint
from test_sites import Answer, plain, site
from typer import BadParameter
from typer.testing import CliRunner

from lorascope.cli.app import app
from lorascope.cli.evaluation import timespan
from lorascope.errors import SiteError, UsageError
from lorascope.evaluation import Corpus, Evaluation, JudgedQuery
from lorascope.evaluation.corpus import Words
from lorascope.evaluation.findings import Section
from lorascope.evaluation.replication import Replication
from lorascope.evaluation.replication.claims import better, diversity_claims, promises, signature_claims, summary
from lorascope.evaluation.replication.comparison import Twin, limits_of, stopped
from lorascope.evaluation.replication.delivery import MOST_FAILURES, deliver
from lorascope.evaluation.replication.plan import FEWEST, draw, fitting, in_turn, listed, stratum
from lorascope.evaluation.statistics import Comparison, Interval
from lorascope.grid import PromptSet
from lorascope.library import AdapterFacts, Library, StoredAdapter, export_carlos
from lorascope.library.published import PublishedRow
from lorascope.measure import Worker, index, load_worker
from lorascope.measure.local import LocalWorker
from lorascope.miniature import adapters_path
from lorascope.protocol import Preset, Thresholds
from lorascope.signature import Accuracy, Estimate, Signature
from lorascope.sites import Civitai
from lorascope.sites.web import Web

PAPER = Thresholds(strength_max=9.8, consistency_min=0.041)
SHIPPED = {101: "pencil_sketch_v1", 102: "winter_wonder", 103: "watercolour_dream", 104: "royal"}
"""Adapters of the shipped world by the numbers that the site has for them."""


def estimate(value: float, reach: float) -> Estimate:
    return Estimate(value, value - reach, value + reach)


def signature(direction: np.ndarray, strength: float, consistency: float, **fields: Any) -> Signature:
    """A signature of 140 prompts, with intervals of a tenth of Strength and a hundredth of Consistency."""
    known = Accuracy(estimate(strength, strength / 10), estimate(consistency, 0.01), Estimate(1.0, 0.98, 1.0))
    whole: dict[str, Any] = {
        "direction": direction, "mean": direction, "strength": strength, "consistency": consistency,
        "active_consistency": None, "active_share": 1.0, "magnitude": 1.0, "cells": 400, "prompts": 140,
        "grid": known, "new_prompts": known, "categories": (),
    }  # fmt: skip
    return Signature(**(whole | fields))


def published_row(version: int, strength: float, consistency: float) -> PublishedRow:
    name = f"adapter {version}"
    figures = signature(np.ones(4), strength, consistency)
    return PublishedRow(StoredAdapter(f"civitai:1@{version}", name, "sdxl", (), AdapterFacts()), figures, "full")


# --- the draw and the plan ----------------------------------------------------------------------------------------


def spread(count: int) -> dict[int, PublishedRow]:
    """Rows of which nine tenths are alike."""
    rare = [(1.0, 0.01), (5.0, 0.15), (10.5, 0.3)]
    return {n: published_row(n, *(rare[n % 3] if n % 10 == 0 else (7.0, 0.12))) for n in range(count)}


def test_a_draw_is_spread_over_strength_and_consistency() -> None:
    rows = spread(90)
    order = in_turn(draw(rows, ()))
    first = [stratum(rows[version].signature) for version in order[:12]]
    assert {first.count(one) for one in set(first)} == {3}
    assert sorted(order) == sorted(rows)


def test_a_draw_is_the_same_for_everyone() -> None:
    rows = spread(90)
    backwards = dict(reversed(rows.items()))
    assert draw(backwards, ()) == draw(rows, ())
    fewer = {version: row for version, row in rows.items() if version != 7}
    assert [[v for v in one if v != 7] for one in draw(rows, ())] == draw(fewer, ())
    assert {one[0] for one in draw(rows, (88, 20))} >= {88, 20}


def test_the_list_that_ships_names_each_version_once() -> None:
    assert len(set(listed())) == len(listed()) == 60


def test_a_plan_fills_the_budget_in_order_of_importance() -> None:
    known, expected = [0] * 60, [400] * 60
    assert fitting(known, expected, 4480, 0.0) == (0, 0, 0)
    assert fitting(known, expected, 4480, 2400.0) == (5, 0, 2400)  # the bare model's cells are shared
    coarse = FEWEST * 400 + 400
    assert fitting(known, expected, 4480, coarse + 8159.0) == (50, 0, coarse + 8000)
    assert fitting(known, expected, 4480, coarse + 8160.0) == (FEWEST, 1, coarse + 8160)
    assert fitting(known, expected, 4480, math.inf) == (50, 50, 51 * 4480)


def test_a_plan_counts_what_is_measured_already() -> None:
    assert fitting([4480] * 3 + [100] * 3, [4480] * 3 + [400] * 3, 4480, 900.0) == (6, 3, 900)


def test_what_is_wrong_is_said_before_anything_is_fetched(
    worker: Worker, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, path in enumerate(sorted(three(tmp_path / "loras").iterdir())):
        path.with_suffix(".civitai.info").write_text(json.dumps({"id": number + 1}), "utf-8")
    index([tmp_path / "loras"], worker, library, precision="glance")
    export_carlos(library, tmp_path / "metrics.parquet")
    kit = Replication(tmp_path / "again", tmp_path / "metrics.parquet", worker.preset)
    assert kit.plan(worker, timedelta(hours=1)).adapters == 3
    with pytest.raises(UsageError, match="too small: one adapter takes about"):
        kit.plan(worker, timedelta(microseconds=1))
    cost = dataclasses.replace(worker.cell_cost(), embeddings=2 * 768)
    monkeypatch.setattr(LocalWorker, "cell_cost", lambda self: cost)
    with pytest.raises(UsageError, match=r"have 16 dimensions, those of preset 'fake' 768"):
        kit.plan(worker, timedelta(hours=1))


def test_a_budget_is_a_length_of_time() -> None:
    assert [timespan(text) for text in ("24h", "1.5h", "90m", "2d")] == [
        timedelta(hours=hours) for hours in (24, 1.5, 1.5, 48)
    ]
    for text in ("", "24", "h", "soon", "0h", "-1h", "nanh", "infh"):
        with pytest.raises(BadParameter, match="such as 24h"):
            timespan(text)


# --- fetching -----------------------------------------------------------------------------------------------------


@contextmanager
def stand_in_site(files: Mapping[int, Path]) -> Iterator[tuple[Civitai, list[str]]]:
    """Civitai as it answers for these versions, and what it was asked."""

    def described(address: str, version: int) -> dict[str, Any]:
        digest = hashlib.sha256(files[version].read_bytes()).hexdigest()
        file = {"name": "x.safetensors", "primary": True, "type": "Model", "hashes": {"SHA256": digest.upper()}}
        file["downloadUrl"] = f"{address}/files/{version}"
        return {"id": version, "modelId": 9, "trainedWords": [], "baseModel": "SDXL 1.0", "files": [file]}

    def answer(path: str, body: bytes, headers: dict[str, str]) -> Answer:
        address = f"http://{headers['Host']}"
        version = int(path.rsplit("/", 1)[1])
        if version not in files:
            return plain({}, 404)
        if path.startswith("/files/"):
            return 200, {}, files[version].read_bytes()
        return plain(described(address, version))

    with site(answer) as (address, asked):
        yield Civitai(web=Web("civitai", address, token="key", pause=0.0)), asked


def test_what_is_gone_is_replaced_by_its_own_stratum(tmp_path: Path) -> None:
    rows = {n: published_row(n, 2.0 if n < 3 else 7.0, 0.12) for n in range(6)}
    files = {n: tint(tmp_path / "site" / f"{n}.safetensors", red=n / 10) for n in (1, 2, 4)}
    with stand_in_site(files) as (civitai, asked):
        found = deliver(rows, [[0, 1, 2], [3, 4, 5]], 2, tmp_path / "loras", civitai)
        assert list(found.files) == [1, 4]
        assert [line.split(":")[0] for line in found.missing] == ["adapter 0 (version 0)", "adapter 3 (version 3)"]
        beside = json.loads((tmp_path / "loras" / "4.civitai.info").read_text("utf-8"))
        assert (beside["id"], beside["model"]["name"]) == (4, "adapter 4")
        before = len(asked)
        assert deliver(rows, [[1], [4]], 2, tmp_path / "loras", civitai).files == found.files
        assert len(asked) == before


def test_a_site_that_has_nothing_ends_the_run(tmp_path: Path) -> None:
    rows = {n: published_row(n, 2.0, 0.12) for n in range(20)}
    with stand_in_site({}) as (civitai, asked), pytest.raises(SiteError, match="civitai knows nothing of"):
        deliver(rows, [list(rows)], 10, tmp_path, civitai)
    assert len(asked) == MOST_FAILURES


# --- claims -------------------------------------------------------------------------------------------------------


def twins(count: int, off: float = 0.0, precision: str = "standard") -> list[Twin]:
    """Adapters whose figures were published ``off`` by a share of what they vary by."""
    draws = np.random.default_rng(0)
    found: list[Twin] = []
    for number in range(count):
        consistency = 0.02 + 0.4 * number / count
        strength = 3 + 20 * consistency
        direction, noise = draws.normal(size=(2, 64))
        published = signature(
            direction + 3 * off * noise, strength * (1 + off * draws.normal()),
            consistency + off * draws.normal(), prompts=280, cells=4480,
        )  # fmt: skip
        ours = signature(direction + 0.1 * draws.normal(size=64), strength, consistency)
        limits = limits_of(ours, published, same_prompts=False)
        found.append(Twin(f"k{number}", f"a{number}", number, precision, published, ours, limits))
    return found


def verdicts(section: Section) -> list[Any]:
    assert section.table is not None
    return [row[1] for row in section.table.rows]


def test_claims_hold_where_both_measured_the_same() -> None:
    section = signature_claims(twins(40), PAPER, Interval(0.9, 0.85, 0.95))
    assert verdicts(section) == ["holds"] * 6
    held = promises(twins(40), 4480, [0.99] * 40)
    assert verdicts(held) == ["holds"] * 5
    assert summary([section, held]) == "11 claims hold, 0 do not hold, 0 cannot be told."


def test_claims_do_not_hold_where_figures_are_others() -> None:
    section = signature_claims(twins(40, off=1.0), PAPER, Interval(0.2, 0.1, 0.3))
    assert verdicts(section) == ["does not hold"] * 3 + ["holds"] + ["does not hold"] * 2
    assert verdicts(promises(twins(40, off=1.0), 500, [0.9] * 40)) == ["does not hold"] * 5


def test_nothing_can_be_told_from_few_adapters() -> None:
    assert set(verdicts(signature_claims(twins(19), PAPER, Interval(0.9, math.nan, math.nan)))) == {"cannot be told"}
    assert set(verdicts(promises(twins(19), 4480, [0.99] * 19))) == {"cannot be told"}


def test_limits_allow_for_the_choice_of_prompts_on_both_sides() -> None:
    ours = signature(np.ones(4), 5.0, 0.1)
    theirs = signature(np.ones(4), 5.0, 0.1, prompts=280)
    assert limits_of(ours, theirs, same_prompts=True) == ours.grid
    found = limits_of(ours, theirs, same_prompts=False)
    assert found.strength is not None
    assert found.strength.upper - 5.0 == 5.0 - found.strength.lower == pytest.approx(0.5 * math.sqrt(1.5))
    assert found.agreement is not None
    assert 1 - found.agreement.lower**2 == pytest.approx((1 - 0.98**2) * 1.5)


def test_limits_hold_another_sample_s_figures_as_often_as_they_say() -> None:
    """Means over prompts of two samples of other sizes, drawn from one population."""
    draws = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        ours, theirs = draws.normal(5, 1, 140), draws.normal(5, 1, 280)
        known = Accuracy(estimate(ours.mean(), 1.977 * ours.std(ddof=1) / math.sqrt(140)), None, None)
        here = signature(np.ones(4), float(ours.mean()), 0.1, new_prompts=known)
        limits = limits_of(here, signature(np.ones(4), 5.0, 0.1, prompts=280), same_prompts=False).strength
        assert limits is not None
        held += limits.lower <= theirs.mean() <= limits.upper
    assert 0.94 < held / 2000 < 0.96


def test_where_standard_stops_is_replayed_from_the_whole_grid(preset: Preset, library: Library, tmp_path: Path) -> None:
    one_seed = load_worker(dataclasses.replace(preset, seeds=(1,)))
    index([three(tmp_path / "loras")], one_seed, library, precision="full")
    stored = library.protocols.find()
    known = library.signatures.get(stored.protocol.digest, library.adapters.all())
    ours = [Twin(key, key, 0, "full", one.signature, one.signature, one.signature.grid) for key, one in known.items()]
    coarse = dataclasses.replace(ours[0], ours=dataclasses.replace(ours[0].ours, cells=96))
    turned = dataclasses.replace(ours[0], ours=dataclasses.replace(ours[0].ours, direction=-ours[0].ours.direction))
    found = stopped(library, stored, [*ours, coarse, turned])
    assert found == pytest.approx([1, 1, 1, -1], abs=0.02)
    assert min(found[:3]) < 1  # it stopped before the end


def test_a_retriever_is_better_only_if_no_judge_disagrees() -> None:
    def by(difference: float, p: float) -> Comparison:
        return Comparison("behaviour", "minilm", Interval(difference, difference - 0.1, difference + 0.1), p, 0.1)

    assert better([by(0.2, 0.01), by(0.3, 0.01)]) == "holds"
    assert better([by(0.2, 0.01), by(0.01, 0.5)]) == "cannot be told"
    assert better([by(0.2, 0.01), by(-0.2, 0.01)]) == "does not hold"
    assert better([]) == "cannot be told"


def test_diversity_is_compared_at_every_span() -> None:
    keys = tuple(f"k{n}" for n in range(30))
    corpus = Corpus(keys, keys, tuple(Words(key, "", ()) for key in keys), (None,) * 30)
    queries = tuple(JudgedQuery(str(n), f"query {n}") for n in range(40))
    draws = np.random.default_rng(0)
    varied = [draws.permutation(30).tolist() for _ in queries]
    alike = [list(range(25)) for _ in queries]
    evaluation = Evaluation(corpus, queries, {"behaviour": varied, "one": alike, "same": varied}, {}, ())
    assert verdicts(diversity_claims(evaluation, ["one", "same"])) == ["holds", "cannot be told"]
    turned = dataclasses.replace(evaluation, rankings={"behaviour": alike, "one": varied})
    assert verdicts(diversity_claims(turned, ["one"])) == ["does not hold"]


# --- the whole path -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters of the shipped world, what a site says of them, and their library as its authors would publish it."""
    folder = tmp_path_factory.mktemp("stand-in")
    (folder / "prompts.txt").write_text("\n".join(PromptSet.load("miniature-index").texts[:16]), "utf-8")
    preset = dataclasses.replace(
        Preset.load("miniature"), prompts=str(folder / "prompts.txt"), seeds=(0, 1), estimator="mean", calibration=""
    )
    (folder / "preset.toml").write_text(
        "\n".join(f"{name} = {json.dumps(value)}" for name, value in dataclasses.asdict(preset).items()), "utf-8"
    )
    (folder / "loras").mkdir()
    for version, name in SHIPPED.items():
        path = folder / "loras" / f"{name}.safetensors"
        shutil.copy(adapters_path() / f"{name}.safetensors", path)
        beside = {"id": version, "modelId": 9, "model": {"name": name, "description": f"makes it {name}"}}
        path.with_suffix(".civitai.info").write_text(json.dumps(beside), "utf-8")
    with Library(folder / "theirs.db", create=True) as library:
        worker = load_worker(Preset.load(folder / "preset.toml"), device="cpu")
        assert index([folder / "loras"], worker, library, precision="full").finished
        assert export_carlos(library, folder / "metrics.parquet") == len(SHIPPED)
    (folder / "queries.csv").write_text("query\n" + "\n".join(("snow", "pencil drawing", "a crown")), "utf-8")
    return folder


Replicate = tuple[Callable[..., Any], list[str]]


@pytest.fixture
def replicate(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replicate]:
    """The command, with the stand-in for site and published library; and what the site was asked."""
    files = {n: stand_in / "loras" / f"{name}.safetensors" for n, name in SHIPPED.items() if n != 103}
    monkeypatch.setenv("CIVITAI_TOKEN", "key")
    command = [
        "experiment", "replicate", str(stand_in / "queries.csv"), "--published", str(stand_in / "metrics.parquet"),
        "--preset", str(stand_in / "preset.toml"), "--folder", str(tmp_path / "again"), "--judge", "world",
        "--text", "minilm", "--device", "cpu", "--json",
    ]  # fmt: skip
    with stand_in_site(files) as (civitai, asked):
        monkeypatch.setattr("lorascope.cli.replication.Civitai", lambda: civitai)
        yield lambda *more: CliRunner().invoke(app, [*command, *more]), asked


def test_an_interrupted_replication_goes_on_and_reports(
    replicate: Replicate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, asked = replicate
    assert run("--dry-run").exit_code == 0
    assert not (tmp_path / "again").exists()
    render, rendered = LocalWorker.block, list[int]()

    def counted(self: LocalWorker, index: int, **how: Any) -> Any:
        if len(rendered) == 3:
            rendered.append(-1)
            raise KeyboardInterrupt
        rendered.append(index)
        return render(self, index, **how)

    monkeypatch.setattr(LocalWorker, "block", counted)
    cut_off = run()
    assert len(rendered) == 4, cut_off.output
    assert cut_off.exit_code != 0
    result = run()
    assert result.exit_code == 0, result.output
    assert sorted(rendered) == [-1, *sorted([0, 1] * 4)]  # three adapters and the bare model, each block once
    assert sum(path.startswith("/files/") for path in asked) == 3
    found = json.loads(result.stdout)
    rows = {row[0]: row for section in found["sections"] if section["table"] for row in section["table"]["rows"]}
    for name, version in (("pencil_sketch_v1", 101), ("royal", 104)):
        assert rows[f"{name} ({version})"][3] == pytest.approx(1.0)
        assert rows[f"{name} ({version})"][5] == pytest.approx(rows[f"{name} ({version})"][6]["value"])
    assert rows["Words find the same adapters first"][2]["value"] == 1.0
    assert rows["It finds what suits a query better than minilm does"][1] == "cannot be told"
    assert "3 adapters are too few for intervals" in found["warnings"][0]
    assert found["warnings"][1].startswith("1 could not be fetched, and others were: watercolour_dream (version 103): ")
    assert found["about"].startswith("0 claims hold, 0 do not hold, 21 cannot be told. 3 of the 4 adapters of ")
    assert "Does the paper hold here?" in (tmp_path / "again" / "report.html").read_text("utf-8")
    planned = json.loads(run("--dry-run").stdout)
    assert (planned["adapters"], planned["whole"], planned["cells"]) == (4, 4, 32)  # but for the one that is gone
    assert planned["spent"] > 0


def test_a_key_is_asked_for_before_models_load(replicate: Replicate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIVITAI_TOKEN")
    monkeypatch.setattr("lorascope.cli.replication.loaded", lambda *_, **__: pytest.fail("loaded"))
    error = replicate[0]().exception
    assert isinstance(error, UsageError)
    assert "CIVITAI_TOKEN is not set" in str(error)
