"""Look at a real platform before a class: `labs doctor --platform F`.

It does what the labs do, as a learner, and says of each thing what was expected, what was found and
what to type. Nothing of it stays on the platform: objects are only tried (`dryRun=All`), files are
removed, the session is signed out.
"""
