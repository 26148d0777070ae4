"""Reads the protobuf bodies kubectl sends, and answers in protobuf who accepts nothing else.

A body is the magic ``k8s\\0`` and a ``runtime.Unknown`` message: the type's name and its bytes.
"""

from labsandbox.apiserver.protobuf.decoding import Malformed, decode
from labsandbox.apiserver.protobuf.encoding import Unencodable, encode
from labsandbox.apiserver.protobuf.wire import MAGIC

__all__ = ["MAGIC", "Malformed", "Unencodable", "decode", "encode"]
