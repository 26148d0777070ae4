"""What neither a lab nor any other file of the repository may hold: one pattern a rule."""

from __future__ import annotations

import re

ASKS_WHERE = re.compile(
    r"IS_TESTING|IN_SANDBOX|PYTEST_CURRENT_TEST|\bis_sandbox\b|\bis_test\b", re.I
)
UNVERIFIED = re.compile(
    r"verify(?:_ssl)?\s*=\s*False|--insecure\b|\bcurl\b[^\n`]* -\w*k\b|CERT_NONE"
    r"|insecure-skip-tls-verify|_create_unverified_context|check_hostname\s*=\s*False"
)
# The home of a container's user is the same everywhere.
MACHINE_PATH = re.compile(
    r"(?<![\w.])(?:/work/|/root/|/home/(?!jovyan|learner)\w+/|/Users/\w+/|C:\\)"
)
