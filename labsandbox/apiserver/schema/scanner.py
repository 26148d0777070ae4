"""Says what is wrong with a JSON text in the words of Go's encoding/json.

Only called for texts a real parser has refused already, so it is written to be read, not fast.
"""

from __future__ import annotations

SPACE = b" \t\r\n"
END = "unexpected end of JSON input"


class _Bad(Exception):
    pass


def explain(raw: bytes) -> str:
    """The first complaint Go's scanner has about this text."""
    try:
        at = _value(raw, _skip(raw, 0))
        at = _skip(raw, at)
        if at < len(raw):
            raise _Bad(_invalid(raw, at, "after top-level value"))
    except _Bad as bad:
        return str(bad)
    return "invalid JSON"


def _skip(raw: bytes, at: int) -> int:
    while at < len(raw) and raw[at] in SPACE:
        at += 1
    return at


def _invalid(raw: bytes, at: int, context: str) -> str:
    if at >= len(raw):
        return END
    char = raw[at]
    if char == 0x27:
        shown = r"'\''"
    elif char == 0x22:
        shown = "'\"'"
    elif 0x20 <= char < 0x7F:
        shown = f"'{chr(char)}'" if char != 0x5C else r"'\\'"
    elif char in b"\n\t\r\b\f\v\a":
        names = {10: "n", 9: "t", 13: "r", 8: "b", 12: "f", 11: "v", 7: "a"}
        shown = f"'\\{names[char]}'"
    elif char < 0x20 or char in (0x7F, *range(0x80, 0xA1), 0xAD):
        shown = f"'\\x{char:02x}'" if char < 0x80 else f"'\\u{char:04x}'"
    else:
        shown = f"'{chr(char)}'"
    return f"invalid character {shown} {context}"


def _value(raw: bytes, start: int) -> int:
    """Scan one value without recursion; returns where it ends."""
    stack: list[str] = []
    at = start
    while True:
        at = _skip(raw, at)
        if at >= len(raw):
            raise _Bad(END)
        char = raw[at : at + 1]
        if char == b"{":
            at = _skip(raw, at + 1)
            if raw[at : at + 1] != b"}":
                stack.append("{")
                at = _key(raw, at, "looking for beginning of object key string")
                continue
            at += 1
        elif char == b"[":
            at = _skip(raw, at + 1)
            if raw[at : at + 1] != b"]":
                stack.append("[")
                continue
            at += 1
        else:
            at = _scalar(raw, at)
        if len(stack) > 10000:
            raise _Bad("exceeded max depth")
        while stack:
            at = _skip(raw, at)
            following = raw[at : at + 1]
            if following == b",":
                at = _skip(raw, at + 1)
                if stack[-1] == "{":
                    at = _key(raw, at, "looking for beginning of object key string")
                break
            if following == (b"}" if stack[-1] == "{" else b"]") and following:
                stack.pop()
                at += 1
                continue
            context = "after object key:value pair" if stack[-1] == "{" else "after array element"
            raise _Bad(_invalid(raw, at, context))
        if not stack:
            return at


def _key(raw: bytes, at: int, context: str) -> int:
    if raw[at : at + 1] != b'"':
        raise _Bad(_invalid(raw, at, context))
    at = _skip(raw, _string(raw, at))
    if raw[at : at + 1] != b":":
        raise _Bad(_invalid(raw, at, "after object key"))
    return at + 1


def _scalar(raw: bytes, at: int) -> int:
    char = raw[at : at + 1]
    if char == b'"':
        return _string(raw, at)
    for word in (b"true", b"false", b"null"):
        if char == word[:1]:
            for offset in range(1, len(word)):
                if raw[at + offset : at + offset + 1] != word[offset : offset + 1]:
                    wanted = f"(expecting '{chr(word[offset])}')"
                    raise _Bad(_invalid(raw, at + offset, f"in literal {word.decode()} {wanted}"))
            return at + len(word)
    if char == b"-" or char.isdigit():
        return _number(raw, at)
    raise _Bad(_invalid(raw, at, "looking for beginning of value"))


def _string(raw: bytes, at: int) -> int:
    at += 1
    while at < len(raw):
        char = raw[at]
        if char == 0x22:
            return at + 1
        if char < 0x20:
            raise _Bad(_invalid(raw, at, "in string literal"))
        if char == 0x5C:
            at += 1
            if at < len(raw) and raw[at] not in b'bfnrt\\/"u':
                raise _Bad(_invalid(raw, at, "in string escape code"))
            if raw[at : at + 1] == b"u":
                for offset in range(1, 5):
                    if at + offset >= len(raw):
                        raise _Bad(END)
                    if raw[at + offset] not in b"0123456789abcdefABCDEF":
                        context = "in \\u hexadecimal character escape"
                        raise _Bad(_invalid(raw, at + offset, context))
                at += 4
        at += 1
    raise _Bad(END)


def _number(raw: bytes, at: int) -> int:
    if raw[at : at + 1] == b"-":
        at += 1
        if not raw[at : at + 1].isdigit():
            raise _Bad(_invalid(raw, at, "in numeric literal"))
    at = at + 1 if raw[at : at + 1] == b"0" else _digits(raw, at)
    if raw[at : at + 1] == b".":
        at += 1
        if not raw[at : at + 1].isdigit():
            raise _Bad(_invalid(raw, at, "after decimal point in numeric literal"))
        at = _digits(raw, at)
    if raw[at : at + 1] in (b"e", b"E"):
        at += 1
        if raw[at : at + 1] in (b"+", b"-"):
            at += 1
        if not raw[at : at + 1].isdigit():
            raise _Bad(_invalid(raw, at, "in exponent of numeric literal"))
        at = _digits(raw, at)
    return at


def _digits(raw: bytes, at: int) -> int:
    while at < len(raw) and 0x30 <= raw[at] <= 0x39:
        at += 1
    return at
