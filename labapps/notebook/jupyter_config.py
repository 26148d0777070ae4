"""Settings of the Jupyter server; the values that differ come from the environment."""

import os
from pathlib import Path

from labapps.member.place import Place

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.ServerApp.ip = os.environ.get("POD_LISTEN_IP") or "0.0.0.0"
c.ServerApp.port = Place.from_env().port(8000)
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.quit_button = False
c.ServerApp.allow_root = True
c.ServerApp.root_dir = os.environ["HOME"]
# The gateway ends TLS: it says in X-Forwarded-Proto what the browser spoke.
c.ServerApp.trust_xheaders = True
c.ServerApp.allow_remote_access = True
# The sign-in page says whose password it asks for.
c.ServerApp.extra_template_paths = [str(Path(__file__).with_name("templates"))]
c.ServerApp.jinja_template_vars = {"owner": os.environ.get("NOTEBOOK_OWNER") or "its owner"}
c.ServerApp.identity_provider_class = "labapps.notebook.identity.OwnerIdentityProvider"
c.ServerApp.tornado_settings = {"websocket_ping_interval": 20, "websocket_ping_timeout": 20}
# Not a login shell: /etc/profile would set PATH anew, and `labs` would not be found.
c.ServerApp.terminado_settings = {
    "shell_command": ["/bin/bash", "--rcfile", str(Path(__file__).with_name("terminal.bashrc"))]
}
c.LabApp.news_url = None
c.LabApp.extension_manager = "readonly"
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LanguageServerManager.autodetect = False
c.FileContentsManager.delete_to_trash = False
