"""A job: it prints, and it publishes facts that its run shows."""

import sys

from labapps.workbench import track

print("arguments:", sys.argv[1:])
track.publish("rows", 100)
