"""A class on Kubernetes: who is in it. The hub of the Zero-to-JupyterHub chart loads this file.

values.yaml puts it, with the two files of ours that it needs, into the hub's pod; the class's
sheet comes from a Secret. LABS_CLASS names the folder where both the sheet and these files lie.
"""

import os
import sys
from pathlib import Path

place = Path(os.environ["LABS_CLASS"])
sys.path.insert(0, str(place.parent / "lib"))

from labclass.accounts import ClassAuthenticator, read  # noqa: E402

people = read(place / "credentials.csv")
tenants = {person.name: person.tenant for person in people if person.tenant}

c.JupyterHub.authenticator_class = ClassAuthenticator  # noqa: F821 - the chart gives c
c.ClassAuthenticator.sheet = str(place / "credentials.csv")  # noqa: F821
c.ClassAuthenticator.issued = str(Path.cwd() / "issued.json")  # noqa: F821 - on the hub's volume
c.JupyterHub.load_groups = {  # noqa: F821
    "instructors": {"users": [person.name for person in people if person.is_instructor]}
}
# Learners who have a tenant of their own; the others have the one of ConfigMap labs-platform.
c.KubeSpawner.environment["EZMERAL_TENANT"] = lambda spawner: tenants.get(  # noqa: F821
    spawner.user.name, os.environ.get("EZMERAL_TENANT", "")
)
