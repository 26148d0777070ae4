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
shift
root="${POD_ROOT:-}"; guest="$root/opt/guestconfig"; etc="$root/etc/guestconfig"
home="$root/home/guestconfig"
mkdir -p "$guest" "$etc" "$home" && chmod 700 "$guest" || exit 1
write_configmeta() {
  cat > "$etc/.new.$$" && cp "$etc/.new.$$" "$home/.new.$$" && chmod 644 "$home/.new.$$" &&
    mv -f "$home/.new.$$" "$home/configmeta.json" && mv -f "$etc/.new.$$" "$etc/configmeta.json"
}
# is_done <event> <status key>: whether the start script has ended, or could not be called.
is_done() {
  s=; read -r s 2> /dev/null < "$guest/$1.status"
  case $s in "$2="?*) return 0 ;; esac
  p=; read -r p 2> /dev/null < "$guest/$1.problem"
  [ "$p" = "$2" ]
}
# begin <event> <key> <function> <status key>: call the function in a process of its own, unless
# one that was begun for this key is still at it or has ended. The process belongs to nobody who
# could take it along when the operator's connection ends: whoever started it is gone at once.
begin() {
  claim="$guest/.$1.$(printf '%s' "$2" | tr -c 'A-Za-z0-9._=' _)"
  ( ( trap '' HUP
      me=$(exec sh -c 'echo $PPID')
      echo "$me" > "$claim.$me"
      if ! ln "$claim.$me" "$claim" 2> /dev/null; then
        owner=; read -r owner < "$claim"
        if [ -n "$owner" ] && grep -q kubedirector "/proc/$owner/cmdline"; then
          rm -f "$claim.$me"; exit 0
        fi
        mv -f "$claim.$me" "$claim"
        owner=; read -r owner < "$claim"
        [ "$owner" = "$me" ] || exit 0
      fi
      # The owner before us may have ended, its work done, after the status was read: only what is
      # read now, with the claim in hand, counts.
      if is_done "$1" "$4"; then rm -f "$claim.$me"; exit 0; fi
      for old in "$guest/.$1."*; do [ "$old" = "$claim" ] || rm -f "$old"; done
      "$3"
    ) < /dev/null > /dev/null 2>&1 & )
}
# call <event> <key> <argument>...: run the start script; what it leaves is in <event>.status
# (<key>=<exit code>), <event>.stdout and <event>.stderr.
call() {
  event=$1; key=$2; shift 2
  printf '%s=' "$key" > "$guest/$event.status"
  set -- "$guest"/*/startscript "$@"
  "$@" > "$guest/$event.stdout" 2> "$guest/$event.stderr"
  code=$?
  s=; read -r s < "$guest/$event.status"
  [ "$s" != "$key=" ] || printf '%s' "$code" >> "$guest/$event.status"
}
# fail <event> <key> <text>: say why the start script was not even called.
fail() {
  printf '%s\n%s\n' "$2" "$3" > "$guest/.problem.new"
  mv -f "$guest/.problem.new" "$guest/$1.problem"
  exit 0
}
tails() {
  tail -c "$limit" "$guest/$1.stdout" 2> /dev/null
  tail -c "$limit" "$guest/$1.stderr" >&2 2> /dev/null
}
# await <event> <key> <seconds> <generation>: say how the start script ended, or that it runs still.
await() {
  turn=0; spent=0; alone=0
  while :; do
    s=; read -r s 2> /dev/null < "$guest/$1.status"
    case $s in
      "$2="?*)
        g=$4; [ "$1" != configure ] || read -r g 2> /dev/null < "$guest/.generation"
        echo "exited ${s##*=} $g"; tails "$1"; exit 0 ;;
    esac
    p=; why=; { read -r p; read -r why; } 2> /dev/null < "$guest/$1.problem"
    [ "$p" != "$2" ] || { echo "failed $why"; exit 0; }
    owner=; read -r owner 2> /dev/null < "$claim"
    if [ -n "$owner" ] && [ -d "/proc/$owner" ]; then alone=0; else alone=$((alone + 1)); fi
    [ "$alone" -lt 60 ] || { echo "lost - $4"; exit 0; }
    [ "$spent" -lt "$(($3 * 100))" ] || { echo "running - $4"; tails "$1"; exit 0; }
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
configmeta() {
  write_configmeta <<'@END@'
@CONFIGMETA@
@END@
}
work() {
  rm -f "$guest/configure.problem"
  configmeta || fail configure "$container" "configmeta.json cannot be written"
  [ "$persistent" = 1 ] || rm -rf "$guest"/*
  set -- "$guest"/*/startscript
  if [ ! -f "$1" ]; then
    case $url in
      file://*) cp "$root${url#file://}" "$guest/appconfig.tgz" ;;
      *) download "$url" "$guest/appconfig.tgz" ;;
    esac || fail configure "$container" "the setup package $url could not be fetched"
    (cd "$guest" && tar -xzof appconfig.tgz) ||
      fail configure "$container" "the setup package $url could not be unpacked"
    rm -f "$guest/appconfig.tgz"
    set -- "$guest"/*/startscript
    [ -f "$1" ] ||
      fail configure "$container" "the setup package $url has no <folder>/startscript"
  fi
  chmod u+x "$1"
  printf '%s\n' "$generation" > "$guest/.generation"
  if [ "$configure" = 1 ]; then call configure "$container" --configure
  else printf '%s=0' "$container" > "$guest/configure.status"; fi
}
done_attempt=; read -r done_attempt 2> /dev/null < "$guest/.attempt"
if [ -n "$attempt" ] && [ "$attempt" != "$done_attempt" ]; then
  rm -f "$guest/configure.status" "$guest/configure.problem"
  printf '%s\n' "$attempt" > "$guest/.attempt"
fi
s=; read -r s 2> /dev/null < "$guest/configure.status"
case $s in
  "$container="*) ;;
  *=0) if [ "$persistent" = 1 ]; then configmeta; echo "kept - $generation"; exit 0; fi ;;
esac
if [ -z "$url" ]; then configmeta; echo "skipped - $generation"; exit 0; fi
is_done configure "$container" || begin configure "$container.$attempt" work "$container"
await configure "$container" "$seconds" "$generation"
"""
)

_UPDATE = (
    _PRELUDE
    + r"""
key=$1; generation=$2; reconnect=$3; limit=$4; seconds=$5
work() { call reconnect "$key" --reconnect; }
write_configmeta <<'@END@' || { echo "failed configmeta.json cannot be written"; exit 0; }
@CONFIGMETA@
@END@
[ "$reconnect" = 1 ] || { echo "exited 0 $generation"; exit 0; }
is_done reconnect "$key" || begin reconnect "$key" work "$key"
await reconnect "$key" "$seconds" "$generation"
"""
)

_NOTIFY = (
    _PRELUDE
    + r"""
key=$1; limit=$2; seconds=$3; shift 3
arguments=$*
work() {
  # No argument has a blank in it: names, numbers and lists with commas.
  call notify "$key" $arguments
}
is_done notify "$key" || begin notify "$key" work "$key"
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
    script = f"{{\n{body}\nexit 0\n}}\n"
    # The first word is there to be seen in the process list: it tells what is ours.
    return Command(["/bin/sh", "-s", "--", "kubedirector", *words], script.encode())


def _flag(value: bool) -> str:
    return "1" if value else "0"
