"""`python -m labregress` is the command `labregress`."""

from labregress.cli import main

if __name__ == "__main__":
    main()
