"""A model behind a plain ASGI application: what somebody writes who needs nothing but an answer.

python -m benchmarks.plain HOST PORT MODEL.pkl
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy
import orjson

from benchmarks.echo import Message, Receive, Send, answer, read, serve


def main() -> None:
    """Load the model and serve it."""
    host, port, file = sys.argv[1:]
    model = pickle.loads(Path(file).read_bytes())

    async def predict(scope: Message, receive: Receive, send: Send) -> None:
        rows = orjson.loads(await read(receive))["dataframe_split"]["data"]
        found = model.predict(numpy.array(rows))
        await answer(send, orjson.dumps({"predictions": found.tolist()}))

    serve(predict, host, int(port))


if __name__ == "__main__":
    main()
