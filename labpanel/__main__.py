"""`python -m labpanel`: JupyterLab with the panel, as `labs lab` starts it."""

import sys

from labpanel.lifeline import main

if __name__ == "__main__":
    main(sys.argv[1:])
