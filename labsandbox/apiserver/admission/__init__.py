"""What happens to a write between permission and storage, in the order of a kube-apiserver.

`Chain(api)` asks its plugins twice: `mutate` before an object is completed and validated, where
they may change it, and `validate` afterwards, where they may only refuse. Namespaces that are
missing or terminating are the verbs' own business. Refusals are `StatusError`s.
"""

from labsandbox.apiserver.admission.chain import Chain
from labsandbox.apiserver.admission.request import Request

__all__ = ["Chain", "Request"]
