"""What the lab keeps, so that nothing is paid for twice: text embeddings, images to judge, and judges' scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32

from lorascope.library import Library
from lorascope.library.database import Database

TABLES = """
CREATE TABLE IF NOT EXISTS texts (
    model TEXT NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (model, text)
);
CREATE TABLE IF NOT EXISTS pictures (
    scene TEXT NOT NULL, adapter TEXT NOT NULL, prompt TEXT NOT NULL, seed INTEGER NOT NULL,
    digest TEXT NOT NULL, webp BLOB NOT NULL, PRIMARY KEY (scene, adapter, prompt, seed)
);
CREATE TABLE IF NOT EXISTS verdicts (
    judge TEXT NOT NULL, picture TEXT NOT NULL, query TEXT NOT NULL, score REAL NOT NULL, parts TEXT NOT NULL,
    PRIMARY KEY (judge, picture, query)
);
"""


@dataclass(frozen=True)
class Picture:
    """An image to judge: its prompt and seed, the file (lossless WebP), and the sha256 of that file."""

    prompt: str
    seed: int
    digest: str
    webp: bytes


@final
class LabStore:
    """A companion of a library, ``LIB.lab.db``. Deleting it loses time, nothing else."""

    def __init__(self, library: Library) -> None:
        self.path: Path = library.companion("lab")
        self._db = Database(self.path, TABLES, create=True)

    def __enter__(self) -> LabStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def texts(self, model: str, texts: Iterable[str]) -> dict[str, Float32[np.ndarray, " d"]]:
        """Kept embeddings, of the texts that were embedded before."""
        rows = self._db.rows(
            "SELECT text, vector FROM texts WHERE model = ? AND text IN (SELECT value FROM json_each(?))",
            [model, json.dumps(list(texts))],
        )
        return {text: np.frombuffer(vector, np.float32) for text, vector in rows}

    def put_texts(self, model: str, found: Mapping[str, Float32[np.ndarray, " d"]]) -> None:
        """Keep embeddings by their text."""
        rows = [(model, text, vector.astype(np.float32).tobytes()) for text, vector in found.items()]
        self._db.write("INSERT INTO texts VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)

    def pictures(self, scene: str, adapter: str) -> list[Picture]:
        """The images of one adapter, in order of prompt and seed."""
        rows = self._db.rows(
            "SELECT prompt, seed, digest, webp FROM pictures WHERE scene = ? AND adapter = ? ORDER BY prompt, seed",
            [scene, adapter],
        )
        return [Picture(*row) for row in rows]

    def drawn(self, scene: str, adapter: str) -> set[tuple[str, int]]:
        """Which cells of an adapter have their image: prompts and seeds."""
        return set(self._db.rows("SELECT prompt, seed FROM pictures WHERE scene = ? AND adapter = ?", [scene, adapter]))

    def put_pictures(self, scene: str, adapter: str, pictures: Iterable[Picture]) -> None:
        """Keep images."""
        rows = [(scene, adapter, p.prompt, p.seed, p.digest, p.webp) for p in pictures]
        self._db.write("INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)

    def verdicts(self, judge: str, pictures: Iterable[str]) -> dict[tuple[str, str], float]:
        """Scores that a judge gave before, by picture digest and query."""
        rows = self._db.rows(
            "SELECT picture, query, score FROM verdicts WHERE judge = ?"
            " AND picture IN (SELECT value FROM json_each(?))",
            [judge, json.dumps(list(pictures))],
        )
        return {(picture, query): score for picture, query, score in rows}

    def put_verdicts(self, judge: str, rows: Iterable[tuple[str, str, float, Mapping[str, float]]]) -> None:
        """Keep scores: picture digest, query, score, parts."""
        values = [(judge, picture, query, score, json.dumps(parts)) for picture, query, score, parts in rows]
        self._db.write("INSERT INTO verdicts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", values)
