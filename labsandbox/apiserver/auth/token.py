"""Service-account tokens: JSON web tokens signed with the cluster's key, bound to live objects."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from labsandbox.apiserver.auth.user import User

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from labsandbox.apiserver.store import Store

Json = dict[str, Any]
ISSUER = "https://kubernetes.default.svc.cluster.local"
_REMEMBERED = 2000


class InvalidToken(Exception):
    """The token is ours but may not be used; the message says why."""


def _encode64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """Signs and verifies; the key is loaded when it is first needed."""

    def __init__(self, key_file: Path, store: Store) -> None:
        self._key_file = key_file
        self._store = store
        self._loaded: RSAPrivateKey | None = None
        self._verified: OrderedDict[str, Json] = OrderedDict()
        self._key_id = ""

    @property
    def _key(self) -> RSAPrivateKey:
        if self._loaded is None:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

            key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
            assert isinstance(key, RSAPrivateKey)
            public = key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            self._key_id = _encode64(hashlib.sha256(public).digest())
            self._loaded = key
        return self._loaded

    def key_set(self) -> Json:
        """The public key as a JSON web key set."""
        numbers = self._key.public_key().public_numbers()
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
        key = {
            "use": "sig",
            "kty": "RSA",
            "kid": self._key_id,
            "alg": "RS256",
            "n": _encode64(modulus),
            "e": _encode64(exponent),
        }
        return {"keys": [key]}

    def issue(
        self,
        account: Json,
        audiences: list[str],
        seconds: int,
        bound: Json | None = None,
        node: Json | None = None,
    ) -> tuple[str, int]:
        """Make a token for a service account; `bound` is the pod or secret it lives with."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        metadata = account["metadata"]
        now = int(time.time())
        private: Json = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound is not None:
            private[bound["kind"].lower()] = {"name": bound["name"], "uid": bound["uid"]}
        if node is not None:
            private["node"] = node
        claims = {
            "aud": audiences,
            "exp": now + seconds,
            "iat": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        }
        key = self._key
        header = orjson.dumps({"alg": "RS256", "kid": self._key_id})
        signed = f"{_encode64(header)}.{_encode64(orjson.dumps(claims))}"
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encode64(signature)}", now + seconds

    def _claims(self, token: str) -> Json | None:
        """Verified claims; None when the token is not one of ours."""
        found = self._verified.get(token)
        if found is not None:
            self._verified.move_to_end(token)
            return found
        parts = token.split(".")
        if len(parts) != 3:
            return None
        try:
            header = orjson.loads(_decode64(parts[0]))
            claims: Json = orjson.loads(_decode64(parts[1]))
            signature = _decode64(parts[2])
            ours = isinstance(claims, dict) and claims.get("iss") == ISSUER
        except (ValueError, TypeError):
            return None
        if not ours or not isinstance(header, dict) or header.get("alg") != "RS256":
            return None
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            self._key.public_key().verify(
                signature, f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise InvalidToken("square/go-jose: error in cryptographic primitive") from None
        self._verified[token] = claims
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return claims

    def authenticate(self, token: str, audiences: list[str] | None = None) -> User | None:
        """The service account a token stands for; None when another authenticator may know it."""
        claims = self._claims(token)
        if claims is None:
            return None
        now = time.time()
        if claims.get("exp", 0) <= now:
            raise InvalidToken("service account token has expired")
        if claims.get("nbf", 0) > now + 5:
            raise InvalidToken("service account token is not valid yet")
        wanted = audiences or [ISSUER]
        if not set(claims.get("aud") or ()) & set(wanted):
            raise InvalidToken(
                f"token audiences {claims.get('aud')!r} is invalid for the target audiences "
                f"{wanted!r}"
            )
        return self._user(claims)

    def audiences(self, token: str) -> list[str]:
        claims = self._claims(token)
        return list(claims.get("aud") or ()) if claims else []

    def _alive(self, bucket: str, namespace: str, reference: Json) -> Json | None:
        record = self._store.get(bucket, namespace, reference["name"])
        if record is None:
            return None
        obj = record.load()
        return obj if obj["metadata"].get("uid") == reference["uid"] else None

    def _user(self, claims: Json) -> User:
        private = claims["kubernetes.io"]
        namespace = private["namespace"]
        account = private["serviceaccount"]
        if self._alive("serviceaccounts", namespace, account) is None:
            raise InvalidToken("service account token has been invalidated")
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]}
        for kind, bucket in (("pod", "pods"), ("secret", "secrets")):
            reference = private.get(kind)
            if reference is None:
                continue
            if self._alive(bucket, namespace, reference) is None:
                raise InvalidToken("service account token has been invalidated")
            if kind == "pod":
                extra["authentication.kubernetes.io/pod-name"] = [reference["name"]]
                extra["authentication.kubernetes.io/pod-uid"] = [reference["uid"]]
        node = private.get("node")
        if node is not None:
            extra["authentication.kubernetes.io/node-name"] = [node["name"]]
            extra["authentication.kubernetes.io/node-uid"] = [node["uid"]]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return User(claims["sub"], groups, account["uid"], extra)
