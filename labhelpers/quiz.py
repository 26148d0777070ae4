"""Questions without code at the end of a lab, answered in a widget, with the reason shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["quiz"]


def quiz(question: str, answers: Sequence[str], right: int, because: str) -> None:
    """Ask a question; choosing an answer shows whether it is right, and why.

    >>> quiz("What is a table version?", ["A commit", "A copy"], 0, "Each commit makes one.")
    What is a table version?
      a) A commit
      b) A copy
    """
    letters = "abcdefgh"
    text = "\n".join(
        [question, *(f"  {letters[number]}) {answer}" for number, answer in enumerate(answers))]
    )
    from IPython.core.getipython import get_ipython

    if get_ipython() is None:
        print(text)
        return
    import ipywidgets
    from IPython.display import display

    choice = ipywidgets.RadioButtons(
        options=[(answer, number) for number, answer in enumerate(answers)],
        index=None,
        layout=ipywidgets.Layout(width="auto"),
    )
    said = ipywidgets.HTML()

    def tell(change: dict[str, Any]) -> None:
        mark = "✓ Right." if change["new"] == right else "✗ Not quite."
        said.value = f"<div role='status'>{mark} {because}</div>"

    choice.observe(tell, names="value")
    box = ipywidgets.VBox([ipywidgets.HTML(f"<b>{question}</b>"), choice, said])
    # The text twin: what a batch run, a diff or a screen reader without widgets finds.
    bundle = box._repr_mimebundle_()
    bundle["text/plain"] = text
    display(bundle, raw=True)
