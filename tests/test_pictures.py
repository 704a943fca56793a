"""Pictures from strangers: any file is embedded or refused with a message, within limits of memory."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.pictures import embed_picture
from lorascope.errors import QueryError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")
MUTATIONS = 60
"""Of each format. Set it to some ten thousand to look for more."""


LARGE_WEBP = "524946461c000000574542505650384c0f0000002f3fdfcf170710fd8f260422a2ff0100"
"""8000 x 8000 pixels of one colour."""


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


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    """A file of 25 MB once kept the encoder busy for an hour: each scan of 117 bytes is a pass over all pixels."""
    file = io.BytesIO()
    Image.new("L", (64, 64), 128).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    scan = whole[whole.rfind(b"\xff\xc4", 0, whole.rfind(b"\xff\xda")) : -2]
    assert np.isfinite(embed_picture(io.BytesIO(whole[:-2] + 10 * scan + whole[-2:]), FakeEncoder())).all()
    with pytest.raises(QueryError, match="the picture is a JPEG of more than 64 scans: save it anew"):
        embed_picture(io.BytesIO(whole[:-2] + 1000 * scan + whole[-2:]), FakeEncoder())


def header(kind: str, size: int) -> bytes:
    """A picture whose header says that it is this wide and high."""
    whole, was = bytearray(drawing(kind)), (50, 40)
    fields = {
        "PNG": (16, [side.to_bytes(4, "big") for side in was], 4, "big"),
        "GIF": (6, [side.to_bytes(2, "little") for side in was], 2, "little"),
        "BMP": (18, [side.to_bytes(4, "little") for side in was], 4, "little"),
    }
    place, sides, width, order = fields[kind]
    assert whole[place : place + 2 * width] == b"".join(sides)
    whole[place : place + 2 * width] = size.to_bytes(width, order) * 2  # type: ignore[arg-type]
    if kind == "PNG":
        whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    return bytes(whole)


@pytest.mark.parametrize(("kind", "size"), [("PNG", 60_000), ("GIF", 65_535), ("BMP", 30_000)])
def test_a_bomb_is_refused_by_its_header(kind: str, size: int) -> None:
    with pytest.raises(QueryError, match=rf"{size} x {size} pixels: use at most 64 megapixels|cannot be read"):
        embed_picture(io.BytesIO(header(kind, size)), FakeEncoder())


CHILD = """
import io, resource, sys
from pathlib import Path
from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.pictures import embed_picture
encoder = FakeEncoder()
embed_picture(io.BytesIO(Path(sys.argv[1]).read_bytes()), encoder)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**29, used + 3 * 2**29))
embed_picture(io.BytesIO(Path(sys.argv[2]).read_bytes()), encoder)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells how much memory is mapped")
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_largest_picture_takes_at_most_a_gigabyte_and_a_half(kind: str, tmp_path: Path) -> None:
    """Small files at the limit of 64 megapixels, with transparency; WebP takes most, as it may be animated."""
    small, large = tmp_path / "small.png", tmp_path / "large"
    Image.new("RGBA", (80, 80), (255, 0, 0, 9)).save(small)
    if kind == "WEBP":
        large.write_bytes(bytes.fromhex(LARGE_WEBP))
    else:
        Image.new("RGBA", (8000, 8000), (255, 0, 0, 9)).save(large, kind, compress_level=1)
    done = subprocess.run([sys.executable, "-c", CHILD, small, large], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
