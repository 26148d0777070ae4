"""A class on one host: `labs class --students 12` prepares it and starts

    LABS_CLASS=build/class .venv/bin/jupyterhub -f deploy/jupyterhub/jupyterhub_config.py

What a site may want to change is here; how it is done is in labclass. README.md beside
this file says what it protects, and what to do when something is wrong.
"""

import importlib.util
import os
import signal
import sys

from labclass import early, hub, share
from labclass.accounts import ClassAuthenticator
from labclass.spawner import LearnerSpawner, fair_heap
from labrunner.errors import LabError

c = get_config()  # noqa: F821 - JupyterHub gives it

try:
    room = hub.open_class()
except LabError as error:
    sys.exit(str(error))
for note in room.notes:
    print(note, flush=True)
os.umask(0o077)
os.environ.update(room.mark)
# A closed terminal ends the class as Ctrl-C does, servers included.
signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))

# Where learners reach the hub. On a network only with TLS.
scheme = "https" if room.tls else "http"
c.JupyterHub.bind_url = f"{scheme}://{room.bind}:{room.port}"
if room.tls:
    c.JupyterHub.ssl_cert = str(room.tls.certificate)
    c.JupyterHub.ssl_key = str(room.tls.key)
c.JupyterHub.hub_bind_url = room.inner("hub")
c.ConfigurableHTTPProxy.api_url = room.inner("proxy")
c.ConfigurableHTTPProxy.auth_token = room.secret("proxy_token")
c.ConfigurableHTTPProxy.command = [sys.executable, "-m", "labclass.proxy"]
c.ConfigurableHTTPProxy.pid_file = str(room.state / "proxy.pid")

# The hub's own pages, in the labs' colours and with names for screen readers.
c.JupyterHub.template_paths = [str(hub.TEMPLATES)]

# What the hub keeps, readable by its owner alone.
c.JupyterHub.db_url = f"sqlite:///{room.state / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(room.state / "cookie_secret")
# Cookies travel with requests from our own pages, and with links to us, only.
c.JupyterHub.tornado_settings = {"cookie_options": {"SameSite": "Lax"}}

# Who may come in: the class's sheet, with the passwords on it or what learners changed them to.
c.JupyterHub.authenticator_class = ClassAuthenticator
c.ClassAuthenticator.sheet = str(room.folder / "credentials.csv")
c.ClassAuthenticator.issued = str(room.state / "issued.json")

# A server for each learner, at most one, confined.
c.JupyterHub.spawner_class = LearnerSpawner
c.JupyterHub.allow_named_servers = False
c.LearnerSpawner.cookie_options = {"SameSite": "Lax"}
c.LearnerSpawner.folder = str(room.folder)
c.LearnerSpawner.collection = room.collection  # LABS_COLLECTION names another git repository
c.LearnerSpawner.is_confined = room.is_confined
c.LearnerSpawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.LearnerSpawner.notebook_dir = str(room.folder / "homes" / "{username}" / "labs")
c.LearnerSpawner.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.LearnerSpawner.heap_mb = fair_heap(len(room.learners))
c.LearnerSpawner.memory = share.most_memory(len(room.learners))
c.LearnerSpawner.start_timeout = 120
c.LearnerSpawner.http_timeout = 120
c.LearnerSpawner.poll_interval = 5

# What helps beside: end servers nobody uses, show who is where. Each may do what it needs to.
idle_seconds = int(os.environ.get("LABS_CLASS_IDLE_SECONDS", "5400"))
c.JupyterHub.last_activity_interval = min(300, max(idle_seconds // 4, 1))
c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": room.service("jupyterhub_idle_culler", f"--timeout={idle_seconds}"),
        "environment": room.mark,
    },
    {"name": "early", "api_token": room.secret(early.TOKEN)},  # `labs class` itself
]
c.JupyterHub.load_groups = {"instructors": {"users": room.instructors}}
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["idle-culler"],
    },
    {  # help with servers and forgotten passwords; no look into anybody's notebooks
        "name": "instructor",
        "scopes": ["admin-ui", "admin:users", "admin:servers", "list:services", "access:services"],
        "groups": ["instructors"],
    },
    {"name": "early", "scopes": ["servers", "read:servers"], "services": ["early"]},
    {"name": "user", "scopes": ["self", "access:services!service=attendance"]},
]
if importlib.util.find_spec("labclass.attendance"):
    c.LearnerSpawner.attendance_url = f"{room.attendance_url}/services/attendance/progress"
    c.JupyterHub.services.append(
        {
            "name": "attendance",
            "url": room.attendance_url,
            "command": room.service("labclass.attendance"),
            "environment": {"LABS_CLASS": str(room.folder), **room.mark},
            "oauth_no_confirm": True,
        }
    )
