"""Secret keys of a role: encrypted at rest with the platform's master key (AES-GCM)."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_LENGTH = 12
_KEY_LENGTHS = (16, 24, 32)


class SecretKeyError(Exception):
    """A value could not be encrypted or decrypted."""


def generate() -> str:
    """Return a new master key: 32 bytes in hex."""
    return secrets.token_hex(32)


def check(master_key: str) -> str | None:
    """Return what is wrong with a master key, or None."""
    try:
        length = len(bytes.fromhex(master_key))
    except ValueError:
        return "hexadecimal digits were expected"
    if length not in _KEY_LENGTHS:
        return f"16, 24 or 32 bytes were expected and {length} were found"
    return None


def encrypt(value: str, master_key: str) -> str:
    """Return the encrypted value in hex, different at every call."""
    nonce = secrets.token_bytes(_NONCE_LENGTH)
    return (nonce + _cipher(master_key).encrypt(nonce, value.encode(), None)).hex()


def decrypt(encrypted: str, master_key: str) -> str:
    """Return the value an encrypted one was made from."""
    try:
        raw = bytes.fromhex(encrypted)
        return _cipher(master_key).decrypt(raw[:_NONCE_LENGTH], raw[_NONCE_LENGTH:], None).decode()
    except (ValueError, InvalidTag) as error:
        raise SecretKeyError(
            "The value was not encrypted with this platform's masterEncryptionKey; "
            "set the secret key's value again."
        ) from error


def _cipher(master_key: str) -> AESGCM:
    problem = check(master_key)
    if problem:
        raise SecretKeyError(f"masterEncryptionKey of kd-global-config is not usable: {problem}.")
    return AESGCM(bytes.fromhex(master_key))
