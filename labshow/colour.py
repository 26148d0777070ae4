"""The colours of the labs, in one place: outputs, their pictures and our own pages use these.

The colours of data are those of Okabe and Ito that also stand out on white (3:1). Neighbours stay
apart for eyes that see no red, no green or no blue; a test computes it. Nothing is said by colour
alone: lines have dashes and markers, results a sign and a word.
"""

from __future__ import annotations

__all__ = ["BAD", "BLUE", "DARK", "GOOD", "GREEN", "GREY", "INK", "LINE", "ORANGE", "PINK", "QUIET"]

BLUE, ORANGE, GREEN, PINK, DARK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#4D4D4D"
GREY = "#8C8C8C"  # what stands behind what is pointed at
INK, LINE = "#1D2530", "#DCDFE4"
GOOD, BAD = "#17683F", "#9C1C14"
# Words that step back. A notebook may be dark: the place it is shown in knows its own grey.
QUIET = "var(--jp-content-font-color2, var(--vscode-descriptionForeground, #595959))"
