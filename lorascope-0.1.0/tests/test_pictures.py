"""Pictures from strangers: any file is embedded or refused with a message, within limits of memory."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.pictures import embed_picture
from lorascope.errors import QueryError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")
MUTATIONS = 60
"""Of each format. Set it to some ten thousand to look for more."""


def drawing(kind: str) -> bytes:
    """A small picture of noise."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def damaged(data: bytes, lot: random.Random) -> bytes:
    """The same with some bytes changed, added or gone, most of them near the beginning."""
    found = bytearray(data)
    for _ in range(lot.choice((1, 1, 2, 5, 20))):
        place = lot.randrange(min(len(found), 200) if lot.random() < 0.6 else len(found))
        what = lot.random()
        if what < 0.6:
            found[place] = lot.randrange(256)
        elif what < 0.8:
            found[place:place] = lot.randbytes(lot.randrange(8))
        else:
            del found[place : place + lot.randrange(1, 8)]
    return bytes(found)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_picture_is_embedded_or_refused_with_a_message(kind: str) -> None:
    """Some of AVIF's errors once were answered as internal ones."""
    whole, lot, encoder = drawing(kind), random.Random(kind), FakeEncoder()
    messages: list[str] = []
    for _ in range(MUTATIONS):
        with warnings.catch_warnings(action="ignore"):
            try:
                embed_picture(io.BytesIO(damaged(whole, lot)), encoder)
            except QueryError as error:
                messages.append(str(error))
    assert len(messages) > 5
    assert all(message.startswith("the picture ") for message in messages)
    assert np.isfinite(embed_picture(io.BytesIO(whole), encoder)).all()


def test_a_cut_off_avif_file_is_refused_with_a_message() -> None:
    whole = drawing("AVIF")
    for length in range(40, len(whole), 97):
        with pytest.raises(QueryError, match="the picture cannot be read as a picture"):
            embed_picture(io.BytesIO(whole[:length]), FakeEncoder())


CHILD = """
import io, resource, sys
from pathlib import Path
from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.pictures import embed_picture
encoder = FakeEncoder()
embed_picture(io.BytesIO(Path(sys.argv[1]).read_bytes()), encoder)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
embed_picture(io.BytesIO(Path(sys.argv[2]).read_bytes()), encoder)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells how much memory is mapped")
def test_the_largest_picture_takes_at_most_a_gigabyte(tmp_path: object) -> None:
    """A file of some hundred kilobytes, at the limit of 64 megapixels, with transparency."""
    small, large = f"{tmp_path}/small.png", f"{tmp_path}/large.png"
    Image.new("RGBA", (80, 80), (255, 0, 0, 9)).save(small)
    Image.new("RGBA", (8000, 8000), (255, 0, 0, 9)).save(large, compress_level=1)
    done = subprocess.run([sys.executable, "-c", CHILD, small, large], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
