"""What can go wrong in labrunner, each with a sentence that ends in what to type.

LabError
├── UnknownLab         no such id in labs.toml
├── UnknownParameter   no lab that runs has a parameter of this name
├── BadCurriculum      labs.toml does not hold together
├── BadSource          the source of a lab cannot be read
├── PlatformFailed     the sandbox did not start, or the platform's settings cannot be read
├── ReplayBusy         another replay writes to the same folder
└── Interrupted        the user or the machine ended the run
"""

from __future__ import annotations


class LabError(Exception):
    """The base of all errors that labrunner raises on purpose."""


class UnknownLab(LabError):
    """No such id in labs.toml."""


class UnknownParameter(LabError):
    """No lab that runs has a parameter of this name, or the value has another type."""


class BadCurriculum(LabError):
    """labs.toml does not hold together."""


class BadSource(LabError):
    """The source of a lab cannot be read."""


class PlatformFailed(LabError):
    """The sandbox did not start, or the platform's settings cannot be read."""


class ReplayBusy(LabError):
    """Another replay writes to the same folder."""


class Interrupted(LabError):
    """The user or the machine ended the run."""
