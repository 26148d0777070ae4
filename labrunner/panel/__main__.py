"""`python -m labrunner.panel`: JupyterLab with the panel, as `labs lab` starts it."""

import sys

from labrunner.panel.lifeline import main

if __name__ == "__main__":
    main(sys.argv[1:])
