"""Furniture, tools, toys and things of the sky, each drawn by one function."""

from __future__ import annotations

import math

from miniature.pen import CREAM, OUTLINE, STEEL, WOOD, Pen


def chair(p: Pen) -> None:
    """A wooden chair with a seat in the named colour."""
    for x in (-0.5, 0.38):
        p.box(x, 0.2, x + 0.13, 0.95, p.dark)
    p.box(-0.5, -0.95, -0.34, 0.2, p.dark)
    p.box(0.35, -0.95, 0.51, 0.2, p.dark)
    p.box(-0.36, -0.88, 0.37, -0.6)
    p.box(-0.36, -0.42, 0.37, -0.2)
    p.poly([(-0.5, 0.08), (0.5, 0.08), (0.68, 0.36), (-0.68, 0.36)])


def lamp(p: Pen) -> None:
    """A standing lamp with a wide shade."""
    p.box(-0.06, -0.15, 0.06, 0.82, STEEL)
    p.oval(0, 0.84, 0.4, 0.11, STEEL)
    p.poly([(-0.36, -0.92), (0.36, -0.92), (0.74, -0.1), (-0.74, -0.1)])
    p.poly([(-0.3, -0.84), (-0.12, -0.84), (-0.3, -0.18), (-0.56, -0.18)], p.light, edge=False)
    p.oval(0, -0.04, 0.15, 0.12, (255, 242, 150))


def bed(p: Pen) -> None:
    """A bed from the side with pillow and blanket."""
    p.box(-0.98, -0.55, -0.8, 0.75, WOOD)
    p.box(0.82, -0.1, 0.98, 0.75, WOOD)
    p.box(-0.8, 0.22, 0.82, 0.5, (240, 240, 244))
    p.oval(-0.52, 0.06, 0.28, 0.18, (255, 255, 255))
    p.poly([(-0.2, 0.0), (0.72, 0.0), (0.84, 0.15), (0.84, 0.5), (-0.3, 0.5)])
    p.line([(-0.2, 0.12), (0.8, 0.12)], p.light, 6)


def hammer(p: Pen) -> None:
    """A hammer with a wooden handle and a head in the named colour."""
    p.poly([(-0.1, -0.4), (0.1, -0.4), (0.14, 0.95), (-0.14, 0.95)], WOOD)
    p.box(-0.5, -0.85, 0.3, -0.4)
    p.box(-0.72, -0.92, -0.48, -0.33, p.dark)
    p.poly([(0.3, -0.85), (0.8, -0.55), (0.84, -0.4), (0.3, -0.4)], p.dark)
    p.line([(-0.4, -0.74), (0.2, -0.74)], p.light, 5)


def key(p: Pen) -> None:
    """An old key lying level."""
    p.box(-0.2, -0.1, 0.95, 0.1)
    p.box(0.52, 0.1, 0.66, 0.45)
    p.box(0.78, 0.1, 0.92, 0.52)
    p.oval(-0.5, 0, 0.46, 0.46)
    p.oval(-0.5, 0, 0.2, 0.2, (245, 245, 240))


def umbrella(p: Pen) -> None:
    """An open umbrella with a hooked handle."""
    p.line([(0, -0.2), (0, 0.72), (0.1, 0.88), (0.26, 0.84), (0.3, 0.68)], (70, 50, 40), 8)
    dome = [(math.cos(a), 0.05 - 0.9 * math.sin(a)) for a in [i * math.pi / 12 for i in range(13)]]
    rim = [(-0.66, -0.1), (-0.33, 0.05), (0.0, -0.1), (0.33, 0.05), (0.66, -0.1)]
    p.poly([*dome, *rim])
    p.poly([(0, -0.84), (0.33, 0.04), (0.0, -0.1), (-0.33, 0.04)], p.light)
    p.line([(0, -0.85), (0, -1.0)], width=5)


def ball(p: Pen) -> None:
    """A beach ball with light panels."""
    p.oval(0, 0.1, 0.82, 0.82)
    p.oval(0, 0.1, 0.36, 0.8, CREAM, edge=False)
    p.oval(0, 0.1, 0.14, 0.79, p.main, edge=False)
    p.oval(0, -0.62, 0.14, 0.09, OUTLINE, edge=False)
    p.oval(-0.48, -0.26, 0.1, 0.1, (255, 255, 255), edge=False)


def kite(p: Pen) -> None:
    """A kite with a tail of bows."""
    p.line([(0, 0.4), (0.2, 0.62), (-0.05, 0.8), (0.15, 1.0)], width=3)
    for x, y in ((0.16, 0.62), (0.0, 0.84)):
        p.poly([(x - 0.16, y - 0.09), (x + 0.16, y + 0.09), (x + 0.16, y - 0.09), (x - 0.16, y + 0.09)], p.light)
    p.poly([(0, -0.98), (0.6, -0.28), (0, 0.45), (-0.6, -0.28)])
    p.poly([(0, -0.98), (0.6, -0.28), (0, -0.28)], p.light)
    p.poly([(0, 0.45), (-0.6, -0.28), (0, -0.28)], p.dark)


def robot(p: Pen) -> None:
    """A toy robot."""
    p.line([(0, -0.75), (0, -0.98)], width=4)
    p.oval(0, -0.95, 0.09, 0.09, (255, 80, 80))
    p.box(-0.42, -0.76, 0.42, -0.2)
    for x in (-0.2, 0.2):
        p.oval(x, -0.52, 0.13, 0.13, (255, 244, 130))
    p.box(-0.22, -0.34, 0.22, -0.27, OUTLINE, edge=False)
    for x in (-0.66, 0.66):
        p.box(x - 0.1, -0.1, x + 0.1, 0.46, p.dark)
    for x in (-0.26, 0.26):
        p.box(x - 0.14, 0.55, x + 0.14, 0.94, p.dark)
    p.box(-0.52, -0.16, 0.52, 0.58)
    p.box(-0.28, 0.02, 0.28, 0.32, STEEL)


def moon(p: Pen) -> None:
    """A crescent moon."""
    turns = [math.pi * (0.28 + 1.44 * i / 24) for i in range(25)]
    outer = [(0.2 + 0.92 * math.cos(t), 0.92 * math.sin(t)) for t in turns]
    (x0, y0), (_, y1) = outer[0], outer[-1]
    inner = []
    for i in range(1, 20):
        y = y1 + (y0 - y1) * i / 20
        inner.append((x0 - 0.72 * math.sqrt(max(0.0, 1 - (y / y0) ** 2)), y))
    p.poly([*outer, *inner])
    for x, y, r in ((-0.5, -0.2, 0.1), (-0.42, 0.3, 0.13), (-0.16, -0.58, 0.08)):
        p.oval(x, y, r, r, p.dark, edge=False)


def star(p: Pen) -> None:
    """A five-pointed star with a face of shades."""
    points = []
    for i in range(10):
        r = 1.0 if i % 2 == 0 else 0.44
        turn = math.pi * i / 5 - math.pi / 2
        points.append((r * math.cos(turn), r * math.sin(turn) + 0.05))
    p.poly(points)
    p.poly([(0, 0.05), points[0], points[1]], p.light, edge=False)
    p.poly([(0, 0.05), points[4], points[5]], p.dark, edge=False)
    p.poly([(0, 0.05), points[8], points[9]], p.light, edge=False)


def cloud(p: Pen) -> None:
    """A cloud of round puffs with a flat base."""
    puffs = ((-0.6, 0.2, 0.36), (-0.2, -0.18, 0.46), (0.35, -0.08, 0.42), (0.68, 0.26, 0.3))
    for x, y, r in puffs:
        p.oval(x, y, r, r)
    for x, y, r in puffs:
        p.oval(x, y, r - 0.07, r - 0.07, edge=False)
    p.box(-0.6, 0.2, 0.7, 0.5, edge=False)
    p.line([(-0.66, 0.55), (0.72, 0.55)])
    p.oval(-0.25, -0.3, 0.2, 0.16, p.light, edge=False)
