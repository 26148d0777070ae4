"""What the operator runs inside members, as POSIX shell, and how its answers are read.

Every script may be run again at any time: what was started is found by its status file and waited
for, never started twice. That is what lets the operator be killed at any moment. The first line of
standard output says where the start script is; the rest, and standard error, are the tails of what
the start script wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

_DELIMITER = "END_OF_CONFIGMETA"
_PRELUDE = r"""
root="${POD_ROOT:-}"; guest="$root/opt/guestconfig"; etc="$root/etc/guestconfig"
home="$root/home/guestconfig"
write_configmeta() {
  mkdir -p "$guest" "$etc" "$home" && chmod 700 "$guest" || return 1
  cat > "$etc/.configmeta.new" || return 1
  cp "$etc/.configmeta.new" "$home/.configmeta.new" && chmod 644 "$home/.configmeta.new" &&
    mv "$home/.configmeta.new" "$home/configmeta.json" &&
    mv "$etc/.configmeta.new" "$etc/configmeta.json"
}
# launch <event> <key> <argument>...: run the start script detached; what it leaves is in
# <event>.status (<key>=<exit code>), <event>.stdout and <event>.stderr.
launch() {
  event=$1; key=$2; shift 2
  rm -f "$guest/$event.status"; : > "$guest/$event.stdout"; : > "$guest/$event.stderr"
  printf '%s=' "$key" > "$guest/$event.status"
  nohup sh -c 'guest=$1; event=$2; key=$3; shift 3
    set -- "$guest"/*/startscript "$@"
    "$@" > "$guest/$event.stdout" 2> "$guest/$event.stderr" < /dev/null
    code=$?; s=; read -r s < "$guest/$event.status" || :
    if [ "$s" = "$key=" ]; then printf "%s" "$code" >> "$guest/$event.status"; fi
  ' kubedirector "$guest" "$event" "$key" "$@" < /dev/null > /dev/null 2>&1 &
}
tails() {
  tail -c "$limit" "$guest/$1.stdout" 2>/dev/null
  tail -c "$limit" "$guest/$1.stderr" >&2 2>/dev/null
}
# await <event> <key> <seconds> <generation>: say how the start script ended, or that it runs still.
await() {
  turn=0; spent=0
  while :; do
    s=; read -r s 2>/dev/null < "$guest/$1.status" || :
    case $s in
      "$2="?*) echo "exited ${s##*=} $4"; tails "$1"; exit 0 ;;
      "$2=") ;;
      *) echo "lost - $4"; exit 0 ;;
    esac
    [ "$spent" -ge "$(($3 * 100))" ] && { echo "running - $4"; tails "$1"; exit 0; }
    turn=$((turn + 1))
    if [ "$turn" -lt 20 ]; then sleep 0.03; spent=$((spent + 3))
    elif [ "$turn" -lt 60 ]; then sleep 0.1; spent=$((spent + 10))
    else sleep 0.5; spent=$((spent + 50)); fi
  done
}
# download <url> <file>
download() {
  if command -v curl > /dev/null 2>&1; then curl -fsSL --retry 2 -o "$2" "$1"
  elif command -v wget > /dev/null 2>&1; then wget -q -O "$2" "$1"
  else python3 -c 'import sys, urllib.request as r; r.urlretrieve(*sys.argv[1:])' "$1" "$2"; fi
}
"""

_SETUP = (
    _PRELUDE
    + r"""
container=$1; generation=$2; persistent=$3; attempt=$4; url=$5; configure=$6; limit=$7; seconds=$8
kept=; s=; read -r s 2>/dev/null < "$guest/configure.status" || :
done_attempt=; read -r done_attempt 2>/dev/null < "$guest/configure.attempt" || :
if [ -n "$attempt" ] && [ "$attempt" != "$done_attempt" ]; then s=; fi
case $s in
  "") ;;
  "$container="*)
    g=-; read -r g 2>/dev/null < "$guest/configure.generation" || :
    await configure "$container" "$seconds" "$g" ;;
  *=) [ "$persistent" = 1 ] && echo interrupted >&2 ;;
  *=0) [ "$persistent" = 1 ] && kept=1 ;;
esac
write_configmeta <<'@END@' || { echo "failed cannot write configmeta.json"; exit 0; }
@CONFIGMETA@
@END@
[ -n "$kept" ] && { echo "kept - $generation"; exit 0; }
[ -n "$url" ] || { echo "skipped - $generation"; exit 0; }
[ "$persistent" = 1 ] || rm -rf "$guest"/*
set -- "$guest"/*/startscript
if [ ! -f "$1" ]; then
  case $url in
    file://*) cp "$root${url#file://}" "$guest/appconfig.tgz" ;;
    *) download "$url" "$guest/appconfig.tgz" ;;
  esac || { echo "failed the setup package $url could not be fetched"; exit 0; }
  (cd "$guest" && tar -xzof appconfig.tgz) ||
    { echo "failed the setup package $url could not be unpacked"; exit 0; }
  rm -f "$guest/appconfig.tgz"
  set -- "$guest"/*/startscript
  [ -f "$1" ] || { echo "failed the setup package $url has no <folder>/startscript"; exit 0; }
fi
chmod u+x "$1"
printf '%s\n' "$generation" > "$guest/configure.generation"
printf '%s\n' "$attempt" > "$guest/configure.attempt"
[ "$configure" = 1 ] || { echo "exited 0 $generation"; exit 0; }
launch configure "$container" --configure
await configure "$container" "$seconds" "$generation"
"""
)

_UPDATE = (
    _PRELUDE
    + r"""
key=$1; generation=$2; reconnect=$3; limit=$4; seconds=$5
write_configmeta <<'@END@' || { echo "failed cannot write configmeta.json"; exit 0; }
@CONFIGMETA@
@END@
[ "$reconnect" = 1 ] || { echo "exited 0 $generation"; exit 0; }
s=; read -r s 2>/dev/null < "$guest/reconnect.status" || :
case $s in
  "$key="*) ;;
  *) launch reconnect "$key" --reconnect ;;
esac
await reconnect "$key" "$seconds" "$generation"
"""
)

_NOTIFY = (
    _PRELUDE
    + r"""
key=$1; limit=$2; seconds=$3; shift 3
s=; read -r s 2>/dev/null < "$guest/notify.status" || :
case $s in
  "$key="*) ;;
  *) launch notify "$key" "$@" ;;
esac
await notify "$key" "$seconds" -
"""
)

_INJECT = (
    _PRELUDE
    + r"""
url=$1; dir="$root$2"; mode=$3; owner=$4; group=$5; file="$dir/${url##*/}"
mkdir -p "$dir" && download "$url" "$file" || exit 1
if [ -n "$mode" ]; then chmod "$mode" "$file" || exit 1; fi
if [ -n "$owner" ]; then chown "$owner" "$file" || exit 1; fi
if [ -n "$group" ]; then chgrp "$group" "$file" || exit 1; fi
"""
)


@dataclass(frozen=True, slots=True)
class Command:
    """What to run in a container, and its standard input."""

    words: list[str]
    stdin: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a start script is, as its member told."""

    state: str  # exited, running, lost, kept, skipped or failed
    code: int | None
    generation: int | None
    stdout: str
    stderr: str
    detail: str = ""


def setup(
    configmeta: str,
    container: str,
    generation: int,
    persistent: bool,
    attempt: str,
    url: str,
    configure: bool,
    limit: int,
    seconds: int,
) -> Command:
    """Return the command that sets a member up, or waits for the setup that runs already."""
    words = [container, str(generation), _flag(persistent), attempt, url, _flag(configure)]
    return _command(_SETUP, [*words, str(limit), str(seconds)], configmeta)


def update(
    configmeta: str,
    container: str,
    version: int,
    generation: int,
    reconnect: bool,
    limit: int,
    seconds: int,
) -> Command:
    """Return the command that replaces configmeta.json and calls --reconnect if asked to."""
    words = [f"{container}={version}", str(generation), _flag(reconnect), str(limit), str(seconds)]
    return _command(_UPDATE, words, configmeta)


def notify(key: str, arguments: list[str], limit: int, seconds: int) -> Command:
    """Return the command that tells a member about added or removed members."""
    return _command(_NOTIFY, [key, str(limit), str(seconds), *arguments])


def inject(injection: dict[str, object]) -> Command:
    """Return the command that downloads a file into a member."""
    permissions = injection.get("permissions") or {}
    assert isinstance(permissions, dict)
    mode = permissions.get("fileMode")
    return _command(
        _INJECT,
        [
            str(injection["srcURL"]),
            str(injection["destDir"]).rstrip("/"),
            format(mode, "o") if mode is not None else "",
            permissions.get("fileOwner") or "",
            permissions.get("fileGroup") or "",
        ],
    )


def read(stdout: bytes, stderr: bytes, exit_code: int, limit: int) -> Answer:
    """Read what one of the commands said."""
    head, _, rest = stdout.partition(b"\n")
    words = head.decode(errors="replace").split(maxsplit=2)
    out, err = last_lines(rest, limit), last_lines(stderr, limit)
    known = ("exited", "running", "lost", "kept", "skipped", "failed")
    if exit_code or not words or words[0] not in known:
        detail = f"the shell in the container ended with {exit_code}: {err or head[:200]!r}"
        return Answer("failed", exit_code, None, "", err, detail)
    if words[0] == "failed":
        return Answer("failed", None, None, out, err, " ".join(words[1:]))
    code = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    generation = int(words[2]) if len(words) > 2 and words[2].isdigit() else None
    return Answer(words[0], code, generation, out, err)


def last_lines(text: bytes, limit: int) -> str:
    """Return the last whole lines that fit into `limit` bytes, as text a status can hold."""
    if len(text) > limit:
        text = text[len(text) - limit :] if limit else b""
    decoded = text.decode(errors="replace").replace("\0", "\ufffd")
    if len(text) == limit and "\n" in decoded[:-1]:
        decoded = decoded[decoded.index("\n") + 1 :]
    return decoded


def _command(text: str, words: list[str], configmeta: str = "") -> Command:
    # One compound command: the shell has read all of it before it runs any of it, so a connection
    # that breaks half-way leaves nothing half-done.
    body = text.replace("@END@", _DELIMITER).replace("@CONFIGMETA@", configmeta)
    return Command(["/bin/sh", "-s", "--", *words], f"{{\n{body}\nexit 0\n}}\n".encode())


def _flag(value: bool) -> str:
    return "1" if value else "0"
