"""The tables of a library and of its evidence."""

from __future__ import annotations

VERSION = 3
VERSIONS = (2, 3)
"""The layouts that can be read. A file of version 2 is given the columns that it lacks when it can be written."""

LIBRARY = """
CREATE TABLE IF NOT EXISTS protocols (
    digest TEXT PRIMARY KEY, fields TEXT NOT NULL, preset TEXT NOT NULL, origin TEXT NOT NULL,
    baseline_mean BLOB, added REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS executions (digest TEXT PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS adapters (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, family TEXT NOT NULL,
    facts TEXT NOT NULL, added REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS adapters_by_time ON adapters (added);
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, adapter INTEGER NOT NULL REFERENCES adapters ON DELETE CASCADE,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS files_by_adapter ON files (adapter);
CREATE INDEX IF NOT EXISTS files_by_folder ON files (path, adapter);
CREATE TABLE IF NOT EXISTS signatures (
    adapter INTEGER NOT NULL REFERENCES adapters ON DELETE CASCADE, protocol TEXT NOT NULL REFERENCES protocols,
    cells INTEGER NOT NULL, strength REAL NOT NULL, strength_low REAL, strength_high REAL,
    consistency REAL, consistency_low REAL, consistency_high REAL,
    direction BLOB NOT NULL, figures TEXT NOT NULL, precision TEXT NOT NULL, measured REAL NOT NULL,
    stamp INTEGER NOT NULL, PRIMARY KEY (adapter, protocol)
);
CREATE INDEX IF NOT EXISTS signatures_by_time ON signatures (protocol, measured);
CREATE INDEX IF NOT EXISTS signatures_by_protocol ON signatures (protocol, adapter, stamp);
CREATE TABLE IF NOT EXISTS previews (
    scene TEXT NOT NULL, adapter TEXT NOT NULL, place INTEGER NOT NULL, prompt TEXT NOT NULL, seed INTEGER NOT NULL,
    webp BLOB NOT NULL, PRIMARY KEY (scene, adapter, place)
);
CREATE TABLE IF NOT EXISTS refusals (
    path TEXT PRIMARY KEY, code TEXT NOT NULL, reason TEXT NOT NULL, remedy TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, started REAL NOT NULL, finished REAL, request TEXT NOT NULL, outcome TEXT
);
CREATE TABLE IF NOT EXISTS leases (
    adapter TEXT NOT NULL, scene TEXT NOT NULL, owner TEXT NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (adapter, scene)
);
CREATE TABLE IF NOT EXISTS revisions (id INTEGER PRIMARY KEY CHECK (id = 0), number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS planes (protocol TEXT PRIMARY KEY, basis BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pictures (
    encoder TEXT NOT NULL, name TEXT NOT NULL, embedding BLOB NOT NULL, sent REAL NOT NULL, PRIMARY KEY (encoder, name)
);
CREATE TABLE IF NOT EXISTS curves (
    adapter INTEGER NOT NULL REFERENCES adapters ON DELETE CASCADE, protocol TEXT NOT NULL, figures TEXT NOT NULL,
    measured REAL NOT NULL, seal BLOB, PRIMARY KEY (adapter, protocol)
);
CREATE TABLE IF NOT EXISTS phrases (
    protocol TEXT NOT NULL, phrase TEXT NOT NULL, vector BLOB NOT NULL, consistency REAL, seal BLOB DEFAULT NULL,
    PRIMARY KEY (protocol, phrase)
);
CREATE TABLE IF NOT EXISTS marks (
    adapter INTEGER PRIMARY KEY REFERENCES adapters ON DELETE CASCADE, favourite INTEGER NOT NULL, note TEXT NOT NULL,
    changed REAL NOT NULL, seal BLOB DEFAULT NULL
);
CREATE TABLE IF NOT EXISTS calibrations (
    digest TEXT PRIMARY KEY, protocol TEXT NOT NULL, data BLOB NOT NULL, origin TEXT NOT NULL, added REAL NOT NULL,
    seal BLOB DEFAULT NULL
);
ALTER TABLE signatures ADD COLUMN mean BLOB DEFAULT NULL;
ALTER TABLE signatures ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE signatures ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE protocols ADD COLUMN baseline_cells INTEGER NOT NULL DEFAULT 0;
ALTER TABLE protocols ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE executions ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE adapters ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE files ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE signatures ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE previews ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE refusals ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE runs ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE planes ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE pictures ADD COLUMN seal BLOB DEFAULT NULL;
"""
"""Made by version 2, with what version 3 added: a seal for each row (see :mod:`lorascope.library.seals`), and for each
signature its origin ("" if it was measured here), whether it is a claim, which no evidence here backs, and the mean
effect where the Direction was estimated otherwise."""

EARLIER = {
    ("signatures", "origin"): "coalesce((SELECT origin FROM protocols WHERE digest = protocol), '')",
    ("signatures", "claimed"): "adapter IN (SELECT id FROM adapters WHERE key NOT LIKE 'sha256:%')",
}
"""Columns whose value in a file of version 2 follows from others: of signatures from elsewhere, their Protocol said so,
and published ones have keys of their own."""

EVIDENCE = """
CREATE TABLE IF NOT EXISTS blocks (
    adapter TEXT NOT NULL, protocol TEXT NOT NULL, block INTEGER NOT NULL, execution TEXT NOT NULL,
    words TEXT NOT NULL, embeddings BLOB NOT NULL, moved BLOB NOT NULL,
    PRIMARY KEY (adapter, protocol, block)
);
CREATE TABLE IF NOT EXISTS baselines (
    protocol TEXT NOT NULL, execution TEXT NOT NULL, words TEXT NOT NULL, block INTEGER NOT NULL,
    embeddings BLOB NOT NULL, PRIMARY KEY (protocol, execution, words, block)
);
CREATE TABLE IF NOT EXISTS thumbnails (
    scene TEXT NOT NULL, execution TEXT NOT NULL, words TEXT NOT NULL, block INTEGER NOT NULL,
    pixels BLOB NOT NULL, PRIMARY KEY (scene, execution, words, block)
);
CREATE TABLE IF NOT EXISTS pictures (
    scene TEXT NOT NULL, adapter TEXT NOT NULL, place INTEGER NOT NULL, webp BLOB NOT NULL, seal BLOB DEFAULT NULL,
    PRIMARY KEY (scene, adapter, place)
);
CREATE TABLE IF NOT EXISTS floors (
    protocol TEXT NOT NULL, execution TEXT NOT NULL, floor REAL NOT NULL, PRIMARY KEY (protocol, execution)
);
ALTER TABLE blocks ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE baselines ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE thumbnails ADD COLUMN seal BLOB DEFAULT NULL;
ALTER TABLE floors ADD COLUMN seal BLOB DEFAULT NULL;
"""

REVISE = "INSERT INTO revisions VALUES (0, 1) ON CONFLICT DO UPDATE SET number = number + 1"
"""Run in every transaction that changes what searches, lists and pages show. Clocks can step back, a count cannot."""
