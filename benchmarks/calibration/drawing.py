"""A small writer of SVG pictures with a white ground, readable on light and dark pages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

INK, FAINT, GRID = "#1f2328", "#656d76", "#d8dee4"
FONT = "font-family='system-ui, sans-serif'"

Point = tuple[float, float]


@dataclass(slots=True)
class Drawing:
    """A picture that is drawn on from back to front; lengths in pixels.

    ``title`` and ``description`` are for those who cannot see it.
    """

    width: float
    height: float
    title: str
    description: str
    _parts: list[str] = field(default_factory=list)

    def line(
        self, start: Point, end: Point, colour: str, width: float = 1.0, dash: str = ""
    ) -> None:
        """Draw a straight line."""
        dashed = f" stroke-dasharray='{dash}'" if dash else ""
        self._parts.append(
            f"<line x1='{start[0]:.1f}' y1='{start[1]:.1f}' x2='{end[0]:.1f}' y2='{end[1]:.1f}' "
            f"stroke='{colour}' stroke-width='{width:g}' stroke-linecap='round'{dashed}/>"
        )

    def path(self, points: Sequence[Point], colour: str, width: float, opacity: float) -> None:
        """Draw a line through points."""
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(
            f"<polyline points='{way}' fill='none' stroke='{colour}' stroke-width='{width:g}' "
            f"stroke-opacity='{opacity:g}' stroke-linejoin='round'/>"
        )

    def dot(self, centre: Point, radius: float, colour: str, *, hollow: bool = False) -> None:
        """Draw a circle."""
        fill = (
            f"fill='white' stroke='{colour}' stroke-width='1.5'" if hollow else f"fill='{colour}'"
        )
        self._parts.append(
            f"<circle cx='{centre[0]:.1f}' cy='{centre[1]:.1f}' r='{radius:g}' {fill}/>"
        )

    def text(
        self,
        at: Point,
        words: str,
        *,
        anchor: str = "start",
        colour: str = INK,
        size: float = 12.0,
        bold: bool = False,
    ) -> None:
        """Write a line of text; ``at`` is on its base line."""
        weight = " font-weight='600'" if bold else ""
        self._parts.append(
            f"<text x='{at[0]:.1f}' y='{at[1]:.1f}' text-anchor='{anchor}' fill='{colour}' "
            f"font-size='{size:g}'{weight} {FONT}>{escape(words)}</text>"
        )

    def svg(self) -> str:
        """Return the file."""
        size = f"width='{self.width:g}' height='{self.height:g}'"
        box = f"viewBox='0 0 {self.width:g} {self.height:g}'"
        lines = [
            f"<svg xmlns='http://www.w3.org/2000/svg' role='img' {size} {box}>",
            f"<title>{escape(self.title)}</title>",
            f"<desc>{escape(self.description)}</desc>",
            f"<rect {size} fill='white'/>",
            *self._parts,
            "</svg>\n",
        ]
        return "\n".join(lines)
