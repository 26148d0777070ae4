"""Replays areas: prepares, sends each recorded request, compares each answer."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.golden import streams
from tests.golden.comparison import Comparison, Difference, is_unstable
from tests.golden.filler import encode_body
from tests.golden.inference import infer_plan
from tests.golden.mapping import Mapping
from tests.golden.recording import Area, Exchange
from tests.golden.reduction import reduce
from tests.golden.server import Server
from tests.golden.setup import (
    PLANS,
    Call,
    Capture,
    Compact,
    Pause,
    Plan,
    Restart,
    Step,
    Until,
)
from tests.golden.setup_controllers import PLANS as CONTROLLER_PLANS
from tests.golden.webhook import PORT, Webhook
from tests.golden.wire import Answer, Wire, encode_query

SERVED_SECONDS = 3.0
OPEN_SECONDS = 0.3
BETWEEN_SECONDS = 0.05
VERSION = re.compile(r"(?<![A-Za-z])resourceVersion=(\d+)")
OWN_ADDRESS = re.compile(
    r'(?:serverAddress": "|jwks_uri": "https://|issuer": "https://)([\d.]+:\d+)'
)
# The recording client's name in requests it did not record; it shows in managedFields.
SETUP_AGENT = "python-requests/2.32.5"
HOOK_PATH = "(apiserver to webhook)"


@dataclass
class Result:
    """How one exchange went."""

    area: str
    exchange: str
    status: tuple[int, int]
    header_differences: list[Difference] = field(default_factory=list)
    body_differences: list[Difference] = field(default_factory=list)
    error: str = ""

    @property
    def is_status_same(self) -> bool:
        """The status codes agree."""
        return not self.error and self.status[0] == self.status[1]

    @property
    def is_body_same(self) -> bool:
        """The status codes and the bodies agree."""
        return self.is_status_same and not self.body_differences

    @property
    def is_same(self) -> bool:
        """Status, headers of interest and body agree."""
        return self.is_body_same and not self.header_differences


class Replay:
    """Replays areas against one server."""

    def __init__(
        self, server: Server, webhook: Callable[[], Webhook], tell: Callable[[str], None] = print
    ) -> None:
        self.server = server
        self.tell = tell
        self._open_webhook = webhook
        self._webhook: Webhook | None = None
        self._wire = Wire(server.url, server.ca)
        self.mapping = Mapping()

    def run(self, area: Area) -> list[Result]:
        """Replay one area."""
        tokens = self.mapping.token
        self.mapping = Mapping(token=tokens)
        self._learn_address(area)
        plan = PLANS.get(area.name) or CONTROLLER_PLANS.get(area.name) or infer_plan(area)
        comparison = Comparison(self.mapping, with_managers=plan.needs != "controllers")
        if plan.needs == "controllers":
            self.server.start_controllers()
        if plan.needs == "webhook" and self._webhook is None:
            self._webhook = self._open_webhook()
        if self._webhook is not None:
            self.mapping.hosts[f"127.0.0.1:{PORT}"] = self._webhook.address
        self._take(plan.start, area)
        results = []
        for exchange in area.exchanges:
            self._take(plan.before.get(exchange.key, ()), area)
            results.append(self._exchange(area, plan, exchange, comparison))
        self._take(plan.end, area)
        self._wire.close()
        return results

    def _learn_address(self, area: Area) -> None:
        """A few answers show the server's own address."""
        for exchange in area.exchanges:
            for found in OWN_ADDRESS.findall(json.dumps(exchange.answer)):
                self.mapping.hosts[found] = f"{self._wire.host}:{self._wire.port}"

    def close(self) -> None:
        """Close the connection and the webhook."""
        self._wire.close()
        if self._webhook is not None:
            self._webhook.close()

    def _exchange(
        self, area: Area, plan: Plan, exchange: Exchange, comparison: Comparison
    ) -> Result:
        result = Result(area.name, exchange.key, (exchange.status, 0))
        if isinstance(exchange.body, dict) and isinstance(exchange.body.get("metadata"), dict):
            stem = exchange.body["metadata"].get("generateName")
            comparison.stems |= {stem} if isinstance(stem, str) and stem else set()
        try:
            answer = self._send(exchange, plan)
            deadline = time.monotonic() + SERVED_SECONDS
            while _is_too_early(exchange, answer) and time.monotonic() < deadline:
                threading.Event().wait(0.1)
                answer = self._send(exchange, plan)
        except Exception as error:  # any failure to answer is a result, not the end of the run
            self._wire.close()
            result.error = f"{type(error).__name__}: {error}"
            return result
        result.status = (exchange.status, answer.status)
        self._learn_tags(exchange, answer)
        self._learn_uid(answer)
        recorded, live = reduce(exchange.answer, answer.body, answer.raw.decode(errors="replace"))
        unstable = area.unstable.get(exchange.name, ())
        if "(status)" in unstable:
            result.status = (answer.status, answer.status)
        found = comparison.compare(recorded, live)
        result.body_differences = [item for item in found if not is_unstable(item[0], unstable)]
        result.header_differences = comparison.compare_headers(
            exchange.answer_headers, answer.headers
        )
        if "(status)" in unstable or exchange.path == HOOK_PATH:
            result.header_differences = []
        return result

    def _learn_tags(self, exchange: Exchange, answer: Answer) -> None:
        left, right = exchange.answer_headers.get("Etag"), answer.headers.get("Etag")
        if left and right:
            self.mapping.values[left] = right
            self.mapping.values[left.strip('"')] = right.strip('"')

    def _send(self, exchange: Exchange, plan: Plan) -> Answer:
        if exchange.path == HOOK_PATH:
            return self._webhook_log(exchange)
        headers = self._headers(exchange, plan)
        path = self.mapping.substitute(exchange.path)
        query = self._query(exchange)
        if any(name.lower() == "upgrade" for name in headers):
            return streams.talk(self._wire, path, query, headers, exchange)
        if exchange.stream:
            return self._watch(exchange, plan, path, query, headers)
        body = exchange.body
        if isinstance(body, dict | list):
            body = self.mapping.substitute_tree(body)
            body = self._own_bundle(body)
        elif isinstance(body, str):
            body = self._substitute_text(body)
        return self._wire.send(exchange.method, path, query, headers, encode_body(body), timeout=60)

    def _substitute_text(self, body: str) -> str:
        body = self.mapping.substitute(body)
        return re.sub(
            r'("resourceVersion":\s*")(\d+)',
            lambda found: found[1] + str(self.mapping.versions.get(int(found[2]), int(found[2]))),
            body,
        )

    def _own_bundle(self, body: Any) -> Any:
        """Webhook configurations carry the CA of the webhook that runs here."""
        if isinstance(body, dict):
            return {
                key: self._webhook.bundle
                if key == "caBundle" and self._webhook is not None
                else self._own_bundle(value)
                for key, value in body.items()
            }
        return [self._own_bundle(item) for item in body] if isinstance(body, list) else body

    def _webhook_log(self, exchange: Exchange) -> Answer:
        received = self._webhook.received if self._webhook is not None else []
        others = [item for item in received if item["body"]["request"]["operation"] != "CREATE"]
        return Answer(exchange.status, {}, received[:3] + others[:4])

    def _headers(self, exchange: Exchange, plan: Plan) -> dict[str, str]:
        headers = {name: self.mapping.substitute(value) for name, value in exchange.headers.items()}
        for name in list(headers):
            if name == "Authorization":
                headers[name] = self._bearer(plan.users.get(exchange.name, exchange.user))
            if name in ("Connection", "Host") and exchange.headers.get("Upgrade"):
                del headers[name]
            elif name == "Accept-Encoding":
                # The recording client names it and took it off again before it sent the request.
                del headers[name]
        headers |= plan.headers.get(exchange.name, {})
        return {name: value for name, value in headers.items() if value}

    def _bearer(self, user: str) -> str:
        if user == "anon":
            return "Basic YTpi"
        if user == "sa":
            return f"Bearer {self.mapping.token}"
        return f"Bearer {self.server.tokens.get(user, 'nope')}"

    def _query(self, exchange: Exchange) -> str:
        query = self.mapping.substitute(exchange.query)

        def live(found: re.Match[str]) -> str:
            number = int(found[1])
            current = None
            if number not in self.mapping.versions and exchange.path.startswith("/api"):
                current = self._current_version(exchange)
            return f"resourceVersion={self.mapping.live_version(number, current)}"

        return encode_query(VERSION.sub(live, query))

    def _current_version(self, exchange: Exchange) -> int | None:
        path = exchange.path.replace("/v1/watch/", "/v1/")
        answer = self._admin(Call("GET", path, query="limit=1"))
        if answer.status == 200 and isinstance(answer.body, dict):
            return int(answer.body.get("metadata", {}).get("resourceVersion") or 0) or None
        return None

    def _watch(
        self, exchange: Exchange, plan: Plan, path: str, query: str, headers: dict[str, str]
    ) -> Answer:
        steps = plan.during.get(exchange.key, ())
        limit = max(exchange.seconds + 2.0, 2.0)
        cut = exchange.ended.startswith("client")
        if cut:
            limit = exchange.seconds or 1.5
        wire = Wire(self.server.url, self.server.ca)
        pause = threading.Event()

        def enact() -> None:
            # The recording left the watch alone as long, so that events come in its order.
            pause.wait(OPEN_SECONDS)
            for step in steps:
                if isinstance(step, Call):
                    self._call(wire, step)
                pause.wait(BETWEEN_SECONDS)

        thread = threading.Thread(target=enact, daemon=True)
        answer = self._wire.watch(
            path,
            query,
            headers,
            limit,
            enough=lambda _events: False,
            opened=thread.start if steps else lambda: None,
        )
        if steps and thread.ident is not None:
            thread.join()
        wire.close()
        if isinstance(exchange.answer, list):
            return answer
        return Answer(answer.status, answer.headers, answer.body[0] if answer.body else "")

    def _take(self, steps: tuple[Step, ...], area: Area) -> None:
        for step in steps:
            match step:
                case Call():
                    self._admin(step)
                case Compact():
                    self.server.compact()
                case Restart():
                    self.server.restart()
                    self._wire.close()
                    self._wire = Wire(self.server.url, self.server.ca)
                case Pause():
                    time.sleep(step.seconds)  # only for controllers, which have no event to await
                case Until():
                    self._until(step)
                case Capture():
                    self._capture(step, area)

    def _admin(self, call: Call) -> Answer:
        answer = self._call(self._wire, call)
        if answer.status >= 500:
            self.tell(f"  set-up {call.method} {call.path}: {answer.status} {answer.body}")
        return answer

    def _call(self, wire: Wire, call: Call) -> Answer:
        headers = {
            "Authorization": self._bearer("admin"),
            "Accept": "application/json",
            "User-Agent": SETUP_AGENT,
        }
        body = None
        if call.body is not None:
            headers["Content-Type"] = call.content_type
            body = json.dumps(self.mapping.substitute_tree(call.body)).encode()
        answer = wire.send(call.method, call.path, call.query, headers, body)
        self._learn_uid(answer)
        return answer

    def _learn_uid(self, answer: Answer) -> None:
        """Set-up data refers to the uid of what was made before by name."""
        metadata = answer.body.get("metadata") if isinstance(answer.body, dict) else None
        if answer.status == 201 and metadata and metadata.get("uid"):
            self.mapping.values[f"<uid of {metadata.get('name')}>"] = metadata["uid"]

    def _until(self, step: Until) -> None:
        deadline = time.monotonic() + step.seconds
        while time.monotonic() < deadline:
            answer = self._admin(Call("GET", step.path))
            if step.value is None and answer.status == 404:
                return
            if step.value is not None and _at(answer.body, step.field) == step.value:
                return
            time.sleep(0.1)
        self.tell(f"  set-up: {step.path} {step.field} did not become {step.value!r}")

    def _capture(self, step: Capture, area: Area) -> None:
        found = self._admin(Call("GET", step.path, query="limit=1"))
        metadata = found.body.get("metadata", {}) if isinstance(found.body, dict) else {}
        for exchange in area.exchanges:
            if exchange.name == step.version_of:
                for number in VERSION.findall(exchange.query):
                    self.mapping.versions[int(number)] = int(metadata["resourceVersion"])
            if exchange.name == step.token_of:
                token = exchange.query.partition("continue=")[2].partition("&")[0]
                self.mapping.values[token] = metadata.get("continue", "")


def _is_too_early(exchange: Exchange, answer: Answer) -> bool:
    """A definition is served moments after it was made; the recording had waited that long."""
    if answer.status != 404 or exchange.status == 404:
        return False
    return answer.body == "404 page not found\n" and exchange.path.startswith("/apis/")


def replay_areas(server: Server, areas: list[Area]) -> Iterator[tuple[Area, list[Result], float]]:
    """Replay areas in order; yield each with its results and how long it took."""
    replay = Replay(server, Webhook)
    try:
        for area in areas:
            begun = time.monotonic()
            yield area, replay.run(area), time.monotonic() - begun
    finally:
        replay.close()


def _at(body: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(body, list):
            body = body[int(part)] if int(part) < len(body) else None
        elif isinstance(body, dict):
            body = body.get(part)
        else:
            return None
    return body
