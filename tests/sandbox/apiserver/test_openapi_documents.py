"""The OpenAPI documents: every reference leads somewhere, and both forms say the same."""

from __future__ import annotations

import json
import re

import pytest

from labsandbox.apiserver import openapi
from labsandbox.apiserver.registry import Catalog

pytestmark = pytest.mark.fast
REFERENCE = re.compile(rb'"\$ref":"#/(?:definitions|components/schemas)/([^"]+)"')


@pytest.mark.parametrize("path", ["api/v1", "apis/apps/v1", "apis/apiextensions.k8s.io/v1"])
def test_references_of_a_part_lead_to_its_schemas(path: str) -> None:
    body = openapi.v3(Catalog(), path)
    assert body is not None
    schemas = json.loads(body)["components"]["schemas"]
    assert {name.decode() for name in REFERENCE.findall(body)} <= set(schemas)


def test_the_protobuf_form_holds_every_definition_and_path() -> None:
    catalog = Catalog()
    body = openapi.v2(catalog)
    document = json.loads(body)
    assert {name.decode() for name in REFERENCE.findall(body)} <= set(document["definitions"])
    packed = openapi.v2_protobuf(catalog)
    assert packed.startswith(b"\n\x032.0\x12")
    missing = [name for name in (*document["definitions"], *document["paths"])
               if name.encode() not in packed]  # fmt: skip
    assert not missing
