"""How well weights alone predict Strength and Consistency, each adapter predicted from all the others.

python -m benchmarks.truth --library truth.db
python -m benchmarks.prior --library truth.db
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lorascope import Library, Preset, Signature
from lorascope.adapters import load_delta
from lorascope.adapters.spectra import Spectrum
from lorascope.measure import load_bench
from lorascope.measure.prior import Prior, Ridge, features_of
from lorascope.miniature import adapters_path


def weighed(path: Path) -> tuple[list[Spectrum], list[Signature]]:
    """Spectrum and signature of every shipped adapter that a library has measured."""
    with Library(path) as library:
        bench = load_bench(Preset.load("miniature"), library, device="cpu")
        stored = library.signatures(bench.protocols[0], library.adapters())
        signatures = {library.adapters([key])[key].name: one.signature for key, one in stored.items()}
        files = {file.stem: file for file in adapters_path().glob("*.safetensors") if file.stem in signatures}
        spectra = [bench.spectrum(load_delta(file, bench.names)) for file in files.values()]
    return spectra, [signatures[name] for name in files]


def section(path: Path) -> str:
    """The table, as Markdown."""
    spectra, signatures = weighed(path)
    strength = [one.strength for one in signatures]
    consistency = [one.consistency or 0.0 for one in signatures]
    prior = Prior(spectra, strength, consistency)
    norm = np.array([features_of(spectrum)[:1] for spectrum in spectra])
    rows = [
        _row("Strength", "norm, stable rank, text and attention share", prior.strength),
        _row("Strength", "norm alone", Ridge.fit(norm, np.log(strength))),
        _row("Consistency", "norm, stable rank, text and attention share", prior.consistency),
        _row("Consistency", "norm alone", Ridge.fit(norm, np.log(np.maximum(consistency, 1e-3)))),
    ]
    note = (
        f"{len(spectra)} adapters; logarithms by ridge regression, each adapter predicted by a fit without it."
        " *factor*: the root mean square error, as a factor. *used*: whether the rank correlation is above 0 with 95%"
        " confidence; a library that measures these adapters uses what it predicts then, and nothing else.\n\n"
    )
    columns = ("predicted", "from", "R²", "rank correlation", "95% interval", "factor", "used")
    lines: list[Sequence[str]] = [columns, ["---"] * len(columns), *rows]
    return note + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _row(figure: str, source: str, fit: Ridge | None) -> Sequence[str]:
    if fit is None:
        return (figure, source, "too few adapters", "", "", "", "no")
    rho, low, high = fit.rank_correlation
    interval = f"{low:.2f} to {high:.2f}"
    used = "yes" if fit.useful else "no"
    return (figure, source, f"{fit.r_squared:.2f}", f"{rho:.2f}", interval, f"{math.exp(fit.error):.2f}", used)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True, help="a library that measured the shipped adapters")
    print(section(parser.parse_args().library))


if __name__ == "__main__":
    main()
