"""A page beside the notebooks: the labs, the learner's progress, the platform's state, live.

A Jupyter *server* extension. It serves `<base_url>labs/` to any browser, adds the same page to
JupyterLab as a left panel, and sends the learner's progress to the instructor's page where there
is one. The page is the robust part: it needs a browser, no version of JupyterLab and no build. The
left panel is a thin frame around it that may fail to load and takes nothing down with it. No lab
needs either: the start notebook shows the same facts in a cell, in any editor.

    jupyter lab --ServerApp.jpserver_extensions="{'labpanel': True}"
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["LABEXTENSIONS", "NAME"]

NAME = "labpanel"
LABEXTENSIONS = str(Path(__file__).with_name("labextensions"))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": NAME}]


def _link_jupyter_server_extension(server: Any) -> None:
    """Tell JupyterLab, before it loads, where its left panel lies; without it, there is none."""
    for point in server.extension_manager.extension_points.values():
        paths = getattr(point.app, "extra_labextensions_path", None)
        if paths is not None and LABEXTENSIONS not in paths:
            point.app.extra_labextensions_path = [*paths, LABEXTENSIONS]


def _load_jupyter_server_extension(server: Any) -> None:
    from labpanel import handlers, reporter
    from labpanel.facts import Facts

    handlers.add(server.web_app, Facts(Path(server.root_dir)))
    reporter.start(server)
