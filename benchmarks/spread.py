"""Strength against Consistency: the shipped world beside a real library, in one picture.

    python -m benchmarks.spread LIBRARY PICTURE [--sample PARQUET]

The two have different encoders, so Strengths are divided by their median. Needs the extra `lab` (matplotlib), and
`parquet` for a sample, which is not part of the project.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lorascope import Library
from lorascope.evaluation.statistics import spearman

Cloud = tuple[np.ndarray, np.ndarray]
"""Strengths over their median, and Consistencies."""


def measured(path: Path) -> Cloud:
    """The signatures of a library's only Protocol."""
    with Library(path) as library:
        found = library.signatures.get(library.protocols.find().protocol.digest, library.adapters.all()).values()
        rows = [(s.signature.strength, s.signature.consistency) for s in found if s.signature.consistency is not None]
    return _cloud(np.array(rows))


def published(path: Path) -> Cloud:
    """The authors' signatures, from a parquet file in their layout."""
    from pyarrow import parquet

    table = parquet.read_table(path, columns=["strength", "consistency"]).to_pydict()
    return _cloud(np.array([table["strength"], table["consistency"]]).T)


def _cloud(rows: np.ndarray) -> Cloud:
    return rows[:, 0] / np.median(rows[:, 0]), rows[:, 1]


def describe(name: str, cloud: Cloud) -> str:
    """A few lines of figures: quantiles, how Strength and Consistency go together, and why.

    Effects are what all cells share, of length near S sqrt(C), and what each has of its own, S sqrt(1 - C).
    """
    strength, consistency = cloud
    share = np.clip(consistency, 0, 1)
    shared, own = strength * np.sqrt(share), strength * np.sqrt(1 - share)
    quantiles = " ".join(f"{value:.3f}" for value in np.quantile(consistency, (0, 0.1, 0.5, 0.9, 1)))
    low, high = np.quantile(own, (0.1, 0.9)) / np.median(own)
    told = consistency > 0.001
    slope = np.polyfit(np.log(own[told]), np.log(shared[told]), 1)[0]
    return (
        f"{name}: {len(strength)} adapters, Consistency at 0, 10, 50, 90, 100 %: {quantiles}\n"
        f"  Strength over its median {strength.min():.2f} to {strength.max():.2f}; rank correlation of Strength and"
        f" Consistency {spearman(strength, consistency):.2f}\n"
        f"  what each cell has of its own: 10 to 90 % {low:.2f} to {high:.2f} of its median; rank correlation with what"
        f" all share {spearman(own, shared):.2f}, slope of the logarithms of the latter on the former {slope:.1f}"
    )


def draw(clouds: dict[str, Cloud], path: Path) -> None:
    """Both clouds in one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for (name, (strength, consistency)), marker in zip(clouds.items(), ("o", "x"), strict=False):
        axes.scatter(strength, consistency, s=22, alpha=0.7, marker=marker, label=f"{name} ({len(strength)})")
    axes.set(xlabel="Strength / median Strength", ylabel="Consistency", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Draw the picture and print a line for each library."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spread", description=__doc__)
    parser.add_argument("library", type=Path, help="a library of the shipped world's signatures")
    parser.add_argument("picture", type=Path, help="where the PNG goes")
    parser.add_argument("--sample", type=Path, help="published signatures, as parquet")
    args = parser.parse_args()
    clouds = {"miniature": measured(args.library)}
    if args.sample:
        clouds["published SDXL library"] = published(args.sample)
    for name, cloud in clouds.items():
        print(describe(name, cloud))
    draw(clouds, args.picture)


if __name__ == "__main__":
    main()
