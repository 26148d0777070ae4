"""The Pod Security Standards: what `baseline` and `restricted` forbid, and how they say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Json = dict[str, Any]


class Violation(NamedTuple):
    """A rule that a pod breaks: its short name and the explanation."""

    reason: str
    detail: str


Check = Callable[[Json, Json], Violation | None]
BASELINE_CAPABILITIES = frozenset(
    (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
SELINUX_TYPES = frozenset(
    ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
)
SYSCTLS = frozenset(
    (
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies"),
        *("net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"),
        *("net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time"),
        *("net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
        *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
    )
)
VOLUMES = frozenset(
    (
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
        *("persistentVolumeClaim", "projected", "secret"),
    )
)


def containers(spec: Json) -> Iterator[Json]:
    """All containers of a pod, in the order messages name them."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def _context(one: Json) -> Json:
    return one.get("securityContext") or {}


def _names(found: list[Json], spec: Json | None = None) -> str:
    word = "container" if len(found) == 1 else "containers"
    return f"{word} {', '.join(_quoted(str(one.get('name'))) for one in found)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _joined(values: Iterator[str] | list[str] | set[str]) -> str:
    return ", ".join(_quoted(one) for one in sorted(set(values)))


def _plural(count: int, word: str, many: str = "") -> str:
    return word if count == 1 else many or f"{word}s"


def app_armor(metadata: Json, spec: Json) -> Violation | None:
    """Profiles named by annotation must be the runtime's or local ones."""
    prefix = "container.apparmor.security.beta.kubernetes.io/"
    allowed = ("", "runtime/default")
    bad = [
        f'{key}="{value}"'
        for key, value in sorted((metadata.get("annotations") or {}).items())
        if key.startswith(prefix) and value not in allowed and not value.startswith("localhost/")
    ]
    if not bad:
        return None
    word = _plural(len(bad), "annotation")
    return Violation("forbidden AppArmor profile", f"{word} {', '.join(bad)}")


def capabilities_baseline(metadata: Json, spec: Json) -> Violation | None:
    """No capability may be added beyond those a runtime gives anyway."""
    found, added = [], set()
    for one in containers(spec):
        bad = {
            name
            for name in (_context(one).get("capabilities") or {}).get("add") or ()
            if name not in BASELINE_CAPABILITIES
        }
        if bad:
            found.append(one)
            added |= bad
    if not found:
        return None
    return Violation(
        "non-default capabilities",
        f"{_names(found)} must not include {_joined(added)} in securityContext.capabilities.add",
    )


def host_namespaces(metadata: Json, spec: Json) -> Violation | None:
    """The host's namespaces stay the host's."""
    found = [f"{key}=true" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    return Violation("host namespaces", ", ".join(found)) if found else None


def host_path_volumes(metadata: Json, spec: Json) -> Violation | None:
    """No folder of the host may be mounted."""
    found = [str(one.get("name")) for one in spec.get("volumes") or () if one.get("hostPath")]
    if not found:
        return None
    names = ", ".join(_quoted(name) for name in found)
    return Violation("hostPath volumes", f"{_plural(len(found), 'volume')} {names}")


def host_ports(metadata: Json, spec: Json) -> Violation | None:
    """No port of the host may be taken."""
    found, ports = [], set()
    for one in containers(spec):
        mine = {port["hostPort"] for port in one.get("ports") or () if port.get("hostPort")}
        if mine:
            found.append(one)
            ports |= mine
    if not found:
        return None
    word = _plural(len(found), "uses", "use")
    shown = ", ".join(str(port) for port in sorted(ports, key=str))
    return Violation(
        "hostPort", f"{_names(found)} {word} {_plural(len(ports), 'hostPort')} {shown}"
    )


def privileged(metadata: Json, spec: Json) -> Violation | None:
    """No container is privileged."""
    found = [one for one in containers(spec) if _context(one).get("privileged")]
    if not found:
        return None
    return Violation("privileged", f"{_names(found)} must not set securityContext.privileged=true")


def proc_mount(metadata: Json, spec: Json) -> Violation | None:
    """/proc stays masked."""
    found = [
        one for one in containers(spec) if _context(one).get("procMount") not in (None, "Default")
    ]
    if not found:
        return None
    values = _joined({str(_context(one)["procMount"]) for one in found})
    return Violation(
        "procMount", f"{_names(found)} must not set securityContext.procMount to {values}"
    )


def seccomp_baseline(metadata: Json, spec: Json) -> Violation | None:
    """Seccomp may not be switched off."""
    is_pod = (_context(spec).get("seccompProfile") or {}).get("type") == "Unconfined"
    found = [
        one
        for one in containers(spec)
        if (_context(one).get("seccompProfile") or {}).get("type") == "Unconfined"
    ]
    if not is_pod and not found:
        return None
    return Violation(
        "seccompProfile",
        f'{_who(is_pod, found)} must not set securityContext.seccompProfile.type to "Unconfined"',
    )


def _who(is_pod: bool, found: list[Json]) -> str:
    parts = ["pod"] if is_pod else []
    return " and ".join([*parts, _names(found)] if found else parts)


def selinux(metadata: Json, spec: Json) -> Violation | None:
    """Only the container types of SELinux, and no user or role of one's own."""
    types, users, roles = set(), False, False
    is_pod, found = False, []
    for one in (spec, *containers(spec)):
        options = _context(one).get("seLinuxOptions") or {}
        bad_type = options.get("type", "") not in SELINUX_TYPES
        if bad_type:
            types.add(str(options["type"]))
        users, roles = users or bool(options.get("user")), roles or bool(options.get("role"))
        if bad_type or options.get("user") or options.get("role"):
            is_pod = is_pod or one is spec
            if one is not spec:
                found.append(one)
    if not is_pod and not found:
        return None
    parts = [f"{_plural(len(types), 'type')} {_joined(types)}"] if types else []
    parts += ["user may not be set"] if users else []
    parts += ["role may not be set"] if roles else []
    return Violation(
        "seLinuxOptions",
        f"{_who(is_pod, found)} set forbidden securityContext.seLinuxOptions: {'; '.join(parts)}",
    )


def sysctls(metadata: Json, spec: Json) -> Violation | None:
    """Only namespaced kernel settings that are known to be safe."""
    found = [
        str(one.get("name"))
        for one in _context(spec).get("sysctls") or ()
        if one.get("name") not in SYSCTLS
    ]
    return Violation("forbidden sysctls", ", ".join(found)) if found else None


def windows_host_process(metadata: Json, spec: Json) -> Violation | None:
    """No process of a Windows host."""

    def is_set(one: Json) -> bool:
        return bool((_context(one).get("windowsOptions") or {}).get("hostProcess"))

    found = [one for one in containers(spec) if is_set(one)]
    if not found and not is_set(spec):
        return None
    return Violation(
        "hostProcess",
        f"{_who(is_set(spec), found)} must not set securityContext.windowsOptions.hostProcess=true",
    )


def privilege_escalation(metadata: Json, spec: Json) -> Violation | None:
    """A process must not gain privileges."""
    found = [
        one
        for one in containers(spec)
        if _context(one).get("allowPrivilegeEscalation") is not False
    ]
    if not found:
        return None
    return Violation(
        "allowPrivilegeEscalation != false",
        f"{_names(found)} must set securityContext.allowPrivilegeEscalation=false",
    )


def capabilities_restricted(metadata: Json, spec: Json) -> Violation | None:
    """All capabilities are dropped; binding low ports may be added."""
    keeping, adding, added = [], [], set()
    for one in containers(spec):
        capabilities = _context(one).get("capabilities") or {}
        if "ALL" not in (capabilities.get("drop") or ()):
            keeping.append(one)
        bad = set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}
        if bad:
            adding.append(one)
            added |= bad
    parts = []
    if keeping:
        parts.append(f'{_names(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        parts.append(
            f"{_names(adding)} must not include {_joined(added)} in "
            "securityContext.capabilities.add"
        )
    return Violation("unrestricted capabilities", "; ".join(parts)) if parts else None


def restricted_volumes(metadata: Json, spec: Json) -> Violation | None:
    """Only volumes that come from the cluster."""
    found, kinds = [], set()
    for one in spec.get("volumes") or ():
        kind = next((key for key in one if key != "name"), "")
        if kind and kind not in VOLUMES:
            found.append(str(one.get("name")))
            kinds.add(kind)
    if not found:
        return None
    names = ", ".join(_quoted(name) for name in found)
    uses = _plural(len(found), "uses", "use")
    word = _plural(len(kinds), "restricted volume type")
    return Violation(
        "restricted volume types",
        f"{_plural(len(found), 'volume')} {names} {uses} {word} {_joined(kinds)}",
    )


def run_as_non_root(metadata: Json, spec: Json) -> Violation | None:
    """The pod, or every container, says it is not root."""
    pod = _context(spec).get("runAsNonRoot")
    wrong = [one for one in containers(spec) if _context(one).get("runAsNonRoot") is False]
    if pod is False or wrong:
        return Violation(
            "runAsNonRoot != true",
            f"{_who(pod is False, wrong)} must not set securityContext.runAsNonRoot=false",
        )
    if pod:
        return None
    found = [one for one in containers(spec) if not _context(one).get("runAsNonRoot")]
    if not found:
        return None
    return Violation(
        "runAsNonRoot != true",
        f"pod or {_names(found)} must set securityContext.runAsNonRoot=true",
    )


def run_as_user(metadata: Json, spec: Json) -> Violation | None:
    """Nobody asks for user 0."""
    is_pod = _context(spec).get("runAsUser") == 0
    found = [one for one in containers(spec) if _context(one).get("runAsUser") == 0]
    if not is_pod and not found:
        return None
    return Violation("runAsUser=0", f"{_who(is_pod, found)} must not set runAsUser=0")


def seccomp_restricted(metadata: Json, spec: Json) -> Violation | None:
    """The pod, or every container, names a seccomp profile."""
    good = ("RuntimeDefault", "Localhost")
    pod = (_context(spec).get("seccompProfile") or {}).get("type")
    bad, unset = [], []
    for one in containers(spec):
        kind = (_context(one).get("seccompProfile") or {}).get("type")
        if kind is None:
            unset.append(one)
        elif kind not in good:
            bad.append(one)
    reason, field = "seccompProfile", "securityContext.seccompProfile.type"
    is_pod_bad = pod is not None and pod not in good
    if is_pod_bad or bad:
        values = _joined(
            {str((_context(one).get("seccompProfile") or {}).get("type")) for one in bad}
            | ({str(pod)} if is_pod_bad else set())
        )
        return Violation(reason, f"{_who(is_pod_bad, bad)} must not set {field} to {values}")
    if pod in good or not unset:
        return None
    return Violation(
        reason, f'pod or {_names(unset)} must set {field} to "RuntimeDefault" or "Localhost"'
    )


BASELINE: tuple[Check, ...] = (
    app_armor,
    capabilities_baseline,
    host_namespaces,
    host_path_volumes,
    host_ports,
    privileged,
    proc_mount,
    seccomp_baseline,
    selinux,
    sysctls,
    windows_host_process,
)
# What `restricted` checks more strictly than `baseline` replaces the looser check.
RESTRICTED: tuple[Check, ...] = (
    *(one for one in BASELINE if one not in (capabilities_baseline, seccomp_baseline)),
    privilege_escalation,
    capabilities_restricted,
    restricted_volumes,
    run_as_non_root,
    run_as_user,
    seccomp_restricted,
)
