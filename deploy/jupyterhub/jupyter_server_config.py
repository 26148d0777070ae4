"""A learner's Jupyter server in a class, on one host (JUPYTER_CONFIG_PATH) as in the image."""

import importlib.util
import sys

c = get_config()  # noqa: F821 - Jupyter gives it

# Neighbours share the host's loopback addresses, and what a kernel prints goes over one of them.
c.KernelManager.transport_encryption = "required"
# ... and its terminals. See labclass/terminal.py.
c.ServerApp.terminado_settings = {"shell_command": [sys.executable, "-m", "labclass.terminal"]}
c.ServerApp.allow_root = True  # in a hub that root runs: confined, and without root's capabilities

# An idle kernel goes before the whole server does: a kernel with Spark holds a gigabyte or two.
c.MappingKernelManager.cull_idle_timeout = 3600
c.MappingKernelManager.cull_interval = 300
c.TerminalManager.cull_inactive_timeout = 3600

# Nothing asks the network for news or for programs.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
c.LanguageServerManager.autodetect = False

if importlib.util.find_spec("labpanel"):
    from labpanel import LABEXTENSIONS

    c.ServerApp.jpserver_extensions = {"labpanel": True}
    c.LabApp.extra_labextensions_path = [LABEXTENSIONS]
