"""Checks of single strings; each returns what is wrong in Kubernetes' words, [] when nothing is."""

from __future__ import annotations

import ipaddress
import re

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = LABEL + r"(\." + LABEL + ")*"
LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
WILDCARD = r"\*\." + SUBDOMAIN
CONFIG_KEY = "[-._a-zA-Z0-9]+"
C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
PERCENT = "[0-9]+%"
HEADER = "[-A-Za-z0-9]+"

LABEL_SAYS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
SUBDOMAIN_SAYS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)
LABEL_1035_SAYS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character"
)
QUALIFIED_SAYS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)
LABEL_VALUE_SAYS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character"
)
WILDCARD_SAYS = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
    "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
    "character"
)
CONFIG_KEY_SAYS = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
C_IDENTIFIER_SAYS = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of "
    "alphanumeric characters or '_'"
)
ENV_NAME_SAYS = (
    "a valid environment variable name must consist only of printable ASCII characters other "
    "than '='"
)
PERCENT_SAYS = "a valid percent string must be a numeric string followed by an ending '%'"
HEADER_SAYS = "a valid HTTP header must consist of alphanumeric characters or '-'"

_label = re.compile(LABEL, re.ASCII)
_subdomain = re.compile(SUBDOMAIN, re.ASCII)
_label_1035 = re.compile(LABEL_1035, re.ASCII)
_qualified = re.compile(QUALIFIED, re.ASCII)
_config_key = re.compile(CONFIG_KEY, re.ASCII)


def regex_error(says: str, pattern: str, *examples: str) -> str:
    if not examples:
        return f"{says} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{says} (e.g. {shown}regex used for validation is '{pattern}')"


def max_length(length: int) -> str:
    return f"must be no more than {length} characters"


def in_range(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def subdomain(text: str) -> list[str]:
    found = [max_length(253)] if _size(text) > 253 else []
    if _subdomain.fullmatch(text) is None:
        found.append(regex_error(SUBDOMAIN_SAYS, SUBDOMAIN, "example.com"))
    return found


def label(text: str) -> list[str]:
    found = [max_length(63)] if _size(text) > 63 else []
    if _label.fullmatch(text) is None:
        if _subdomain.fullmatch(text) is not None:
            found.append("must not contain dots")
        else:
            found.append(regex_error(LABEL_SAYS, LABEL, "my-name", "123-abc"))
    return found


def label_1035(text: str) -> list[str]:
    found = [max_length(63)] if _size(text) > 63 else []
    if _label_1035.fullmatch(text) is None:
        found.append(regex_error(LABEL_1035_SAYS, LABEL_1035, "my-name", "abc-123"))
    return found


def wildcard_subdomain(text: str) -> list[str]:
    found = [max_length(253)] if _size(text) > 253 else []
    if re.fullmatch(WILDCARD, text, re.ASCII) is None:
        found.append(regex_error(WILDCARD_SAYS, WILDCARD, "*.example.com"))
    return found


def qualified_name(text: str) -> list[str]:
    parts = text.split("/")
    found: list[str] = []
    if len(parts) > 2:
        says = regex_error(QUALIFIED_SAYS, QUALIFIED, "MyName", "my.name", "123-abc")
        optional = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a qualified name {says}{optional}"]
    if len(parts) == 2:
        if not parts[0]:
            found.append("prefix part must be non-empty")
        else:
            found += ["prefix part " + message for message in subdomain(parts[0])]
    name = parts[-1]
    if not name:
        found.append("name part must be non-empty")
    elif _size(name) > 63:
        found.append("name part " + max_length(63))
    if _qualified.fullmatch(name) is None:
        says = regex_error(QUALIFIED_SAYS, QUALIFIED, "MyName", "my.name", "123-abc")
        found.append("name part " + says)
    return found


def label_value(text: str) -> list[str]:
    found = [max_length(63)] if _size(text) > 63 else []
    if text and _qualified.fullmatch(text) is None:
        pattern = f"({QUALIFIED})?"
        found.append(regex_error(LABEL_VALUE_SAYS, pattern, "MyValue", "my_value", "12345"))
    return found


def _no_parent(text: str) -> list[str]:
    if text == ".":
        return ["must not be '.'"]
    if text == "..":
        return ["must not be '..'"]
    return ["must not start with '..'"] if text.startswith("..") else []


def config_key(text: str) -> list[str]:
    found = [max_length(253)] if _size(text) > 253 else []
    if _config_key.fullmatch(text) is None:
        found.append(regex_error(CONFIG_KEY_SAYS, CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return found + _no_parent(text)


def c_identifier(text: str) -> list[str]:
    if re.fullmatch(C_IDENTIFIER, text, re.ASCII):
        return []
    return [regex_error(C_IDENTIFIER_SAYS, C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def env_name(text: str) -> list[str]:
    found = ["environment variable name must be non-empty"] if not text else []
    if any(not " " <= char <= "~" or char == "=" for char in text):
        found.append(ENV_NAME_SAYS)
    return found


def header_name(text: str) -> list[str]:
    if re.fullmatch(HEADER, text, re.ASCII):
        return []
    return [regex_error(HEADER_SAYS, HEADER, "X-Header-Name")]


def percent(text: str) -> list[str]:
    if re.fullmatch(PERCENT, text, re.ASCII):
        return []
    return [regex_error(PERCENT_SAYS, PERCENT, "1%", "93%")]


def port_number(port: int) -> list[str]:
    return [] if 1 <= port <= 65535 else [in_range(1, 65535)]


def port_name(text: str) -> list[str]:
    found = [max_length(15)] if _size(text) > 15 else []
    if re.fullmatch("[-a-z0-9]+", text, re.ASCII) is None:
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if re.search("[a-z]", text) is None:
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text and (text[0] == "-" or text[-1] == "-"):
        found.append("must not begin or end with a hyphen")
    return found


IP_SAYS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_SAYS = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_ip(text: str) -> Address | None:
    """An address, also with the leading zeros Kubernetes tolerates."""
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        parts = text.split(".")
        if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
            return None
        if any(len(part) > 3 or int(part) > 255 for part in parts):
            return None
        return ipaddress.ip_address(".".join(str(int(part)) for part in parts))


def ip(text: str) -> list[str]:
    return [] if parse_ip(text) is not None else [IP_SAYS]


def cidr(text: str) -> list[str]:
    address, slash, bits = text.partition("/")
    found = parse_ip(address)
    if found is None or not slash or not (bits.isascii() and bits.isdigit()) or len(bits) > 3:
        return [CIDR_SAYS]
    return [] if int(bits) <= (32 if found.version == 4 else 128) else [CIDR_SAYS]


def path_segment(text: str) -> list[str]:
    """Names that only have to be usable in a URL path (RBAC)."""
    for bad in (".", ".."):
        if text == bad:
            return [f"may not be '{bad}'"]
    return [f"may not contain '{bad}'" for bad in ("/", "%") if bad in text]


def without_dash(text: str) -> str:
    """A generateName prefix without the dash it may end with."""
    return text[:-2] + "a" if len(text) > 1 and text.endswith("-") else text
