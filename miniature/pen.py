"""A pen that draws in unit coordinates: x and y from -1 to 1, y pointing down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

OUTLINE: Colour = (32, 28, 40)
WOOD: Colour = (139, 94, 52)
STEEL: Colour = (176, 184, 196)
GLASS: Colour = (178, 222, 245)
CREAM: Colour = (250, 240, 214)
LEAF: Colour = (58, 140, 62)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Blend `share` of `b` into `a`."""
    r, g, b_ = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return (r, g, b_)


@dataclass(frozen=True)
class Pen:
    """Draws one object at a place, size and flip on a Pillow canvas.

    `main` is the colour that the caption names; `dark` and `light` are its shades.
    """

    draw: ImageDraw.ImageDraw
    centre: Point
    size: float
    flip: bool
    main: Colour

    @property
    def dark(self) -> Colour:
        """The main colour in shade."""
        return mix(self.main, (16, 10, 30), 0.38)

    @property
    def light(self) -> Colour:
        """The main colour in light."""
        return mix(self.main, (255, 255, 255), 0.45)

    def at(self, x: float, y: float) -> Point:
        """Unit coordinates to pixels."""
        side = -x if self.flip else x
        return (self.centre[0] + side * self.size, self.centre[1] + y * self.size)

    def poly(self, points: Sequence[Point], fill: Colour | None = None, edge: bool = True) -> None:
        """Fill a polygon and trace its outline."""
        pixels = [self.at(x, y) for x, y in points]
        self.draw.polygon(pixels, fill=fill or self.main)
        if edge:
            self.draw.line([*pixels, pixels[0], pixels[1]], fill=OUTLINE, width=3, joint="curve")

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour | None = None, edge: bool = True) -> None:
        """Fill an ellipse about (x, y)."""
        cx, cy = self.at(x, y)
        box = (cx - rx * self.size, cy - ry * self.size, cx + rx * self.size, cy + ry * self.size)
        self.draw.ellipse(box, fill=fill or self.main, outline=OUTLINE if edge else None, width=3)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None, edge: bool = True) -> None:
        """Fill an upright rectangle."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, edge)

    def line(self, points: Sequence[Point], fill: Colour = OUTLINE, width: int = 3) -> None:
        """Draw an open line of `width` pixels."""
        self.draw.line([self.at(x, y) for x, y in points], fill=fill, width=width, joint="curve")

    def eye(self, x: float, y: float, r: float = 0.09) -> None:
        """A white eye with a black pupil."""
        self.oval(x, y, r, r, (255, 255, 255), edge=False)
        self.oval(x + r * 0.15, y, r * 0.6, r * 0.6, (10, 10, 14), edge=False)
