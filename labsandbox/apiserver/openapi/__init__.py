"""The OpenAPI documents: made from the published definitions, the catalog and custom schemas.

kubectl reads them for explain, client-side checks and to see that the server checks fields itself.
"""

from labsandbox.apiserver.openapi.documents import (
    document_hash,
    index,
    v2,
    v2_protobuf,
    v3,
    whole_hash,
)

__all__ = ["document_hash", "index", "v2", "v2_protobuf", "v3", "whole_hash"]
