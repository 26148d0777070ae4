"""Resolve *.svc.cluster.local from the hosts file beside this one (installed as sitecustomize).

Runs at the start of every Python of a pod or a learner, so it is small, imports what any program
imports anyway, and whatever goes wrong with the file, a name is resolved as if this were not here.
"""

# mypy: ignore-errors
import os
import socket
import sys

_DOMAIN = ".svc.cluster.local"
_HOSTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hosts")
_original = socket.getaddrinfo
_cache = [None, {}]


def _read():
    changed = os.stat(_HOSTS).st_mtime_ns
    if _cache[0] != changed:
        found = {}
        with open(_HOSTS, encoding="utf-8") as file:
            for line in file:
                line, _, ports = line.partition("#")
                address, *names = line.split()
                for name in names:
                    if name.endswith(_DOMAIN):
                        found.setdefault(name, []).append((address, ports.strip()))
        _cache[:] = [changed, found]
    return _cache[1]


def _lookup(host):
    if isinstance(host, bytes):
        host = host.decode("ascii")
    if not isinstance(host, str):
        return None
    name = host.rstrip(".").lower()
    namespace = os.environ.get("LABSANDBOX_NAMESPACE")
    if name.endswith(_DOMAIN):
        return _read().get(name)
    if name.endswith(".svc"):
        return _read().get(name + ".cluster.local")
    if namespace and name.count(".") <= 2 and name != "localhost":
        known = _read()
        return known.get(f"{name}.{namespace}{_DOMAIN}") or known.get(name + _DOMAIN)
    return None


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """Do what socket.getaddrinfo does, for the cluster's names from the hosts file."""
    try:
        addresses = _lookup(host)
    except (OSError, ValueError):
        addresses = None  # A hosts file that is not there or not readable answers nothing.
    if not addresses:
        return _original(host, port, family, type, proto, flags)
    found = []
    for address, ports in addresses:
        found += _original(address, _shift(port, ports), family, type, proto, flags)
    return found


def _shift(port, ports):
    """Return the port of this machine, where pods have ports of a shared address."""
    if not ports or not str(port).isdigit() or not 0 < int(port) < 32768:
        return port
    first, count = map(int, ports.split("/"))
    return first + int(port) % count


def _chain():
    """Run the sitecustomize this one hides, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    for folder in sys.path:
        path = os.path.join(folder or ".", "sitecustomize.py")
        if os.path.abspath(folder or ".") != here and os.path.isfile(path):
            import runpy

            runpy.run_path(path, run_name="sitecustomize")
            return


socket.getaddrinfo = getaddrinfo
_chain()
