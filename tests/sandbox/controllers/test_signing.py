"""Certificate requests: signed when approved, for signers that are ours, never for masters."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labsandbox import certificates
from labsandbox.controllers import signing
from labsandbox.controllers.actions import Replace

pytestmark = pytest.mark.fast

NOW = 1_795_200_000.0
Object = dict[str, Any]


def make_request(user: str = "jane", group: str = "developers") -> bytes:
    names = [(NameOID.ORGANIZATION_NAME, group), (NameOID.COMMON_NAME, user)]
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in names])
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def make_csr(request: bytes, *conditions: str, **spec: Any) -> Object:
    whole = {
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
        "request": base64.b64encode(request).decode(),
        **spec,
    }
    stated = [{"type": kind, "status": "True"} for kind in conditions]
    return {"metadata": {"name": "jane"}, "spec": whole, "status": {"conditions": stated}}


@pytest.fixture(scope="module")
def authority() -> certificates.Pair:
    return certificates.make_authority("ca")


def decide(csr: Object, authority: certificates.Pair) -> Object | None:
    def sign(request: bytes, usages: frozenset[str], seconds: int | None) -> str:
        return certificates.sign_request(request, authority, usages)

    for action in signing.reconcile(csr, sign, NOW):
        assert isinstance(action, Replace)
        assert action.subresource == "status"
        found: Object = action.obj["status"]
        return found
    return None


def test_approved_request_is_signed_for_its_user_and_groups(authority: certificates.Pair) -> None:
    status = decide(make_csr(make_request(), "Approved"), authority)
    assert status is not None
    made = x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))
    made.verify_directly_issued_by(authority.certificate)
    assert made.subject.rfc4514_string() == "CN=jane,O=developers"
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize(
    "csr",
    [
        make_csr(b""),
        make_csr(b"", "Approved", signerName="example.com/theirs"),
        make_csr(b"", "Approved", "Denied"),
        make_csr(b"", "Approved", "Failed"),
    ],
    ids=["not approved", "another signer", "denied", "failed before"],
)
def test_request_that_is_not_ours_to_sign_is_left_alone(
    csr: Object, authority: certificates.Pair
) -> None:
    assert decide(csr, authority) is None


@pytest.mark.parametrize(
    ("csr", "text"),
    [
        (make_csr(make_request(group="system:masters"), "Approved"), "system:masters"),
        (make_csr(make_request(), "Approved", usages=["server auth"]), "client auth"),
        (make_csr(b"nonsense", "Approved"), ""),
    ],
    ids=["masters", "usages", "no request"],
)
def test_approved_request_that_is_wrong_fails_and_says_why(
    csr: Object, text: str, authority: certificates.Pair
) -> None:
    status = decide(csr, authority)
    assert status is not None
    assert "certificate" not in status
    failed = status["conditions"][-1]
    assert (failed["type"], failed["reason"]) == ("Failed", "SignerValidationFailure")
    assert text in failed["message"]


def test_signers_are_those_that_the_controllers_may_sign_for() -> None:
    file = Path("deploy/kubernetes/rights/parts/controllers.yaml")
    text = (Path(__file__).parents[3] / file).read_text()
    assert all(signer in text for signer in signing.SIGNERS)
