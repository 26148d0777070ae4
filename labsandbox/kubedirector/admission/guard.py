"""Who may write a status: only the operator, with the one-time code it announced beforehand."""

from __future__ import annotations

from labsandbox.kubedirector.admission.verdict import Request, is_same

VIOLATION = "KubeDirector-related status properties are read-only"


class Codes:
    """The codes (generationUID) of status writes that are expected, by the object's uid."""

    def __init__(self) -> None:
        self._expected: dict[str, str] = {}
        self._used: set[str] = set()

    def expect(self, uid: str, code: str) -> None:
        """Announce a status write."""
        self._expected[uid] = code
        self._used.discard(uid)

    def spend(self, uid: str) -> None:
        """Note that the expected write has returned; the code opens nothing any more.

        Not earlier: an API server may call the webhook several times for one write, each time the
        stored object turns out to be newer than the one in its cache.
        """
        if uid in self._expected:
            self._used.add(uid)

    def forget(self, uid: str) -> None:
        """Drop what is known of an object that is gone."""
        self._expected.pop(uid, None)
        self._used.discard(uid)

    def opens(self, uid: str, code: str | None) -> bool:
        """Say whether this code lets a changed status through now."""
        return uid not in self._used and self._expected.get(uid) == code and code is not None


def check_status(request: Request, codes: Codes) -> str | None:
    """Return why a status may not be written, or None."""
    new, old = request.obj.get("status"), request.old.get("status")
    if new is None or is_same(new, old):
        return None
    if request.operation == "UPDATE" and not request.subresource:
        meta, before = request.obj["metadata"], request.old["metadata"]
        # differs: a write that starts from an old version gets the API server's conflict, which
        # clients know how to repeat, and not a complaint about a status it only carries along.
        if meta.get("resourceVersion") not in (None, "", before.get("resourceVersion")):
            return None
        return VIOLATION
    uid = request.obj["metadata"].get("uid", "")
    return None if codes.opens(uid, new.get("generationUID")) else VIOLATION
