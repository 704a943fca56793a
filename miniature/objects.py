"""The thirty kinds of objects, in ten categories of three, each drawn by one function."""

from __future__ import annotations

import math
from collections.abc import Callable

from miniature.pen import CREAM, GLASS, LEAF, OUTLINE, STEEL, WOOD, Pen, Point
from miniature.things import (
    ball,
    bed,
    chair,
    cloud,
    hammer,
    key,
    kite,
    lamp,
    moon,
    robot,
    star,
    umbrella,
)  # fmt: skip


def cat(p: Pen) -> None:
    """A sitting cat, seen from the front, tail to the side."""
    p.line([(0.45, 0.75), (0.85, 0.6), (0.85, 0.15), (0.72, 0.0)], p.dark, 13)
    p.oval(0.05, 0.5, 0.5, 0.48)
    p.oval(0.05, 0.62, 0.24, 0.32, p.light, edge=False)
    p.poly([(-0.52, -0.25), (-0.55, -0.98), (-0.1, -0.62)])
    p.poly([(0.5, -0.25), (0.53, -0.98), (0.08, -0.62)])
    p.oval(-0.01, -0.3, 0.56, 0.46)
    p.eye(-0.22, -0.36, 0.12)
    p.eye(0.22, -0.36, 0.12)
    p.poly([(-0.07, -0.17), (0.07, -0.17), (0, -0.08)], (240, 130, 150), edge=False)
    for y in (-0.12, -0.02):
        p.line([(-0.75, y - 0.06), (-0.25, y)], width=2)
        p.line([(0.75, y - 0.06), (0.25, y)], width=2)


def dog(p: Pen) -> None:
    """A standing dog, seen from the side, with a hanging ear."""
    p.line([(-0.7, -0.1), (-0.95, -0.55)], p.main, 12)
    for x in (-0.62, -0.38, 0.2, 0.42):
        p.box(x - 0.09, 0.3, x + 0.09, 0.92, p.dark if x in (-0.38, 0.2) else p.main)
    p.oval(-0.1, 0.2, 0.68, 0.34)
    p.poly([(0.25, 0.2), (0.3, -0.4), (0.62, -0.4), (0.58, 0.25)], edge=False)
    p.oval(0.5, -0.42, 0.34, 0.31)
    p.oval(0.82, -0.3, 0.2, 0.16, p.light)
    p.oval(0.97, -0.38, 0.07, 0.06, OUTLINE)
    p.oval(0.26, -0.32, 0.14, 0.36, p.dark)
    p.eye(0.58, -0.5, 0.09)


def rabbit(p: Pen) -> None:
    """A rabbit with two tall ears."""
    for x in (-0.22, 0.22):
        p.oval(x, -0.62, 0.15, 0.38)
        p.oval(x, -0.6, 0.07, 0.26, (246, 170, 180), edge=False)
    p.oval(0.42, 0.7, 0.18, 0.18, (255, 255, 255))
    p.oval(0, 0.52, 0.46, 0.44)
    p.oval(0, 0.6, 0.24, 0.28, p.light, edge=False)
    p.oval(0, -0.08, 0.38, 0.34)
    p.eye(-0.16, -0.14, 0.09)
    p.eye(0.16, -0.14, 0.09)
    p.oval(0, 0.02, 0.06, 0.05, (240, 120, 140), edge=False)
    p.box(-0.06, 0.1, 0.06, 0.22, (255, 255, 255))
    for x in (-0.26, 0.26):
        p.oval(x, 0.9, 0.2, 0.1)


def duck(p: Pen) -> None:
    """A swimming duck from the side, orange bill."""
    p.poly([(-0.95, -0.05), (-0.55, 0.1), (-0.5, 0.5), (-0.8, 0.4)])
    p.oval(-0.05, 0.38, 0.75, 0.45)
    p.oval(0.42, -0.36, 0.36, 0.34)
    p.poly([(0.72, -0.42), (1.08, -0.28), (0.72, -0.16)], (250, 150, 30))
    p.oval(-0.14, 0.34, 0.4, 0.22, p.dark)
    p.eye(0.48, -0.44, 0.1)


def fish(p: Pen) -> None:
    """A fish with a forked tail and stripes."""
    p.poly([(-0.45, 0), (-1.0, -0.5), (-0.85, 0), (-1.0, 0.5)], p.dark)
    p.poly([(-0.2, -0.38), (0.15, -0.8), (0.4, -0.34)], p.dark)
    p.oval(0.15, 0, 0.75, 0.48)
    for x in (-0.2, 0.08):
        p.line([(x, -0.36), (x + 0.1, 0), (x, 0.36)], p.light, 7)
    p.eye(0.58, -0.12, 0.13)
    p.line([(0.86, 0.1), (0.66, 0.16)])


def whale(p: Pen) -> None:
    """A whale with a light belly and a spout."""
    p.poly([(-0.6, 0.1), (-0.78, -0.3), (-1.05, -0.55), (-0.68, -0.5), (-0.5, -0.62), (-0.45, 0)])
    p.oval(0.15, 0.18, 0.82, 0.5)
    p.poly([(-0.5, 0.42), (0.9, 0.32), (0.6, 0.6), (0.1, 0.68), (-0.3, 0.6)], p.light, edge=False)
    p.eye(0.6, 0.08, 0.1)
    p.poly([(-0.05, 0.4), (0.22, 0.4), (-0.02, 0.82)], p.dark)
    for x in (-0.05, 0.45):
        p.line([(0.2, -0.34), (0.2, -0.6), (x, -0.88)], (120, 200, 250), 7)


def car(p: Pen) -> None:
    """A car from the side."""
    p.poly([(-0.6, 0.05), (-0.38, -0.42), (0.3, -0.42), (0.62, 0.05)])
    p.poly([(-0.46, 0.02), (-0.3, -0.3), (-0.06, -0.3), (-0.06, 0.02)], GLASS)
    p.poly([(0.06, 0.02), (0.06, -0.3), (0.25, -0.3), (0.46, 0.02)], GLASS)
    p.poly([(-0.98, 0.45), (-0.98, 0.05), (0.7, 0.02), (1.0, 0.14), (1.0, 0.45)])
    p.box(-0.96, 0.3, 0.98, 0.4, p.dark, edge=False)
    p.oval(0.92, 0.18, 0.07, 0.08, (255, 240, 140))
    for x in (-0.56, 0.56):
        p.oval(x, 0.46, 0.25, 0.25, (40, 40, 46))
        p.oval(x, 0.46, 0.11, 0.11, STEEL, edge=False)


def sailboat(p: Pen) -> None:
    """A boat under two sails."""
    p.poly([(-0.85, 0.45), (0.9, 0.45), (0.6, 0.88), (-0.6, 0.88)], WOOD)
    p.box(-0.08, -0.95, 0.0, 0.45, (96, 66, 40))
    p.poly([(0.06, -0.9), (0.06, 0.32), (0.82, 0.32)])
    p.poly([(-0.14, -0.7), (-0.14, 0.32), (-0.72, 0.32)], p.light)


def airplane(p: Pen) -> None:
    """An aeroplane climbing to the right."""
    p.poly([(-0.62, 0.15), (-0.98, -0.4), (-0.72, -0.42), (-0.36, 0.0)], p.dark)
    p.poly([(0.1, -0.1), (-0.22, -0.66), (0.02, -0.68), (0.42, -0.14)], p.dark)
    p.oval(0.02, 0.06, 0.9, 0.24)
    p.poly([(-0.05, 0.12), (-0.42, 0.72), (-0.12, 0.72), (0.36, 0.12)], p.light)
    p.poly([(0.6, -0.12), (0.82, -0.04), (0.84, 0.06), (0.6, 0.04)], GLASS)
    for x in (-0.3, -0.1, 0.1, 0.3):
        p.oval(x, 0.0, 0.06, 0.06, GLASS, edge=False)


def house(p: Pen) -> None:
    """A house with a roof in the named colour."""
    p.box(0.4, -0.85, 0.62, -0.3, (150, 70, 60))
    p.box(-0.68, -0.1, 0.68, 0.85, CREAM)
    p.poly([(-0.95, 0.0), (0, -0.85), (0.95, 0.0)])
    p.box(-0.16, 0.3, 0.18, 0.85, p.dark)
    p.box(-0.56, 0.15, -0.28, 0.45, GLASS)
    p.box(0.3, 0.15, 0.58, 0.45, GLASS)


def castle(p: Pen) -> None:
    """A castle: two towers with battlements, a gate and a flag."""
    p.line([(0, -0.55), (0, -1.0)], width=3)
    p.poly([(0, -1.0), (0.3, -0.9), (0, -0.78)], (230, 50, 50))
    p.box(-0.5, -0.2, 0.5, 0.85, p.light)
    for x in (-0.7, 0.7):
        p.box(x - 0.26, -0.5, x + 0.26, 0.85)
        for i in (-1, 0, 1):
            p.box(x + i * 0.19 - 0.08, -0.7, x + i * 0.19 + 0.08, -0.46)
        p.box(x - 0.07, -0.2, x + 0.07, 0.1, OUTLINE, edge=False)
    p.box(-0.2, -0.55, 0.2, -0.2)
    p.box(-0.18, 0.35, 0.18, 0.85, (70, 48, 36))
    p.oval(0, 0.36, 0.18, 0.18, (70, 48, 36), edge=False)


def lighthouse(p: Pen) -> None:
    """A striped lighthouse on a rock."""
    p.poly([(-0.6, 0.9), (-0.4, 0.66), (0.4, 0.66), (0.6, 0.9)], (120, 116, 120))
    left, right = (-0.34, 0.7), (0.34, 0.7)
    top_l, top_r = (-0.2, -0.5), (0.2, -0.5)
    p.poly([left, top_l, top_r, right], (250, 250, 250))
    for a, b in ((0.0, 0.22), (0.44, 0.66), (0.86, 1.0)):
        span = [_along(left, top_l, a), _along(left, top_l, b)]
        p.poly([*span, _along(right, top_r, b), _along(right, top_r, a)])
    p.box(-0.28, -0.56, 0.28, -0.48, OUTLINE)
    p.box(-0.15, -0.8, 0.15, -0.54, (255, 236, 120))
    p.poly([(-0.24, -0.78), (0, -1.0), (0.24, -0.78)], p.dark)


def _along(a: Point, b: Point, share: float) -> Point:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share)


def tree(p: Pen) -> None:
    """A tree with a round crown of leaves."""
    p.poly([(-0.14, 0.92), (-0.09, 0.1), (0.09, 0.1), (0.14, 0.92)], WOOD)
    for x, y, r in ((-0.42, -0.05, 0.38), (0.42, -0.05, 0.38), (0, -0.5, 0.46)):
        p.oval(x, y, r, r)
    p.oval(0, -0.14, 0.5, 0.36, edge=False)
    p.oval(-0.16, -0.56, 0.17, 0.13, p.light, edge=False)


def flower(p: Pen) -> None:
    """A flower on a stalk with two leaves."""
    p.line([(0, 0.0), (0, 0.95)], LEAF, 9)
    p.poly([(0, 0.75), (0.48, 0.45), (0.26, 0.8)], LEAF)
    p.poly([(0, 0.85), (-0.48, 0.55), (-0.26, 0.9)], LEAF)
    for i in range(6):
        turn = i * math.pi / 3
        p.oval(0.37 * math.cos(turn), -0.35 + 0.37 * math.sin(turn), 0.25, 0.25)
    p.oval(0, -0.35, 0.22, 0.22, (255, 214, 60))


def cactus(p: Pen) -> None:
    """A cactus with two arms in a pot."""
    for x, y in ((-0.55, -0.3), (0.55, -0.45)):
        p.line([(0, 0.22), (x, 0.22), (x, y)], OUTLINE, 21)
        p.oval(x, y, 0.16, 0.16)
        p.line([(0, 0.22), (x, 0.22), (x, y)], p.main, 15)
    p.oval(0, -0.6, 0.25, 0.25)
    p.box(-0.25, -0.6, 0.25, 0.6, edge=False)
    p.line([(-0.25, -0.6), (-0.25, 0.6)])
    p.line([(0.25, -0.6), (0.25, 0.6)])
    for x in (-0.08, 0.1):
        p.line([(x, -0.66), (x, 0.55)], p.light, 3)
    p.poly([(-0.42, 0.5), (0.42, 0.5), (0.3, 0.95), (-0.3, 0.95)], (190, 98, 62))


def apple(p: Pen) -> None:
    """An apple with a stalk and a leaf."""
    p.line([(0, -0.4), (0.08, -0.88)], (90, 60, 30), 8)
    p.poly([(0.08, -0.6), (0.35, -0.9), (0.62, -0.78), (0.36, -0.55)], LEAF)
    p.oval(-0.28, 0.14, 0.5, 0.58)
    p.oval(0.28, 0.14, 0.5, 0.58)
    p.oval(0, 0.18, 0.45, 0.55, edge=False)
    p.oval(-0.42, -0.06, 0.13, 0.2, p.light, edge=False)


def cake(p: Pen) -> None:
    """A layer cake with icing, candles and a plate."""
    p.oval(0, 0.75, 0.98, 0.16, (235, 235, 240))
    p.box(-0.76, 0.2, 0.76, 0.74, p.main)
    p.box(-0.76, 0.42, 0.76, 0.54, CREAM, edge=False)
    p.box(-0.5, -0.26, 0.5, 0.2, p.light)
    p.poly([(-0.5, -0.26), (0.5, -0.26), (0.5, 0.0), (0.25, -0.1), (0, 0.06), (-0.25, -0.1), (-0.5, 0.0)], CREAM)
    for x in (-0.3, 0, 0.3):
        p.box(x - 0.05, -0.62, x + 0.05, -0.27, p.dark)
        p.oval(x, -0.76, 0.07, 0.12, (255, 190, 40))


def carrot(p: Pen) -> None:
    """A carrot pointing down with green leaves."""
    for x in (-0.36, 0.0, 0.36):
        p.poly([(0, -0.4), (x - 0.13, -0.95), (x + 0.13, -0.95)], LEAF)
    p.poly([(-0.42, -0.42), (0.42, -0.42), (0.3, 0.05), (0.02, 0.95), (-0.3, 0.05)])
    for y, w in ((-0.15, 0.22), (0.15, 0.18), (0.45, 0.1)):
        p.line([(-w, y), (w * 0.3, y + 0.04)], p.dark, 4)


CATEGORIES: dict[str, tuple[str, str, str]] = {
    "animals": ("cat", "dog", "rabbit"),
    "water life": ("duck", "fish", "whale"),
    "vehicles": ("car", "sailboat", "airplane"),
    "buildings": ("house", "castle", "lighthouse"),
    "plants": ("tree", "flower", "cactus"),
    "food": ("apple", "cake", "carrot"),
    "furniture": ("chair", "lamp", "bed"),
    "tools": ("hammer", "key", "umbrella"),
    "toys": ("ball", "kite", "robot"),
    "sky": ("moon", "star", "cloud"),
}

DRAW: dict[str, Callable[[Pen], None]] = {
    function.__name__: function
    for function in (
        cat,
        dog,
        rabbit,
        duck,
        fish,
        whale,
        car,
        sailboat,
        airplane,
        house,
        castle,
        lighthouse,
        tree,
        flower,
        cactus,
        apple,
        cake,
        carrot,
        chair,
        lamp,
        bed,
        hammer,
        key,
        umbrella,
        ball,
        kite,
        robot,
        moon,
        star,
        cloud,
    )  # fmt: skip
}

KINDS: tuple[str, ...] = tuple(kind for kinds in CATEGORIES.values() for kind in kinds)
