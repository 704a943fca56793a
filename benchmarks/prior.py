"""How well weights alone predict Strength and Consistency, each adapter predicted from all the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lorascope import Bench, Signature
from lorascope.adapters import load_delta
from lorascope.adapters.spectra import Spectrum
from lorascope.measure.prior import Prior, Ridge, features_of
from lorascope.miniature import adapters_path


def weighed(bench: Bench) -> tuple[list[Spectrum], list[Signature]]:
    """Spectrum and signature of every shipped adapter that the bench's library has measured."""
    library, files = bench.library, {file.stem: file for file in adapters_path().glob("*.safetensors")}
    adapters = library.adapters()
    stored = library.signatures(bench.protocols[0], adapters)
    spectra = [bench.spectrum(load_delta(files[adapters[key].name], bench.names)) for key in stored]
    return spectra, [one.signature for one in stored.values()]


def section(bench: Bench) -> str:
    """The table, as Markdown."""
    spectra, signatures = weighed(bench)
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
