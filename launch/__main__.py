"""Where the command line begins. Loads nothing itself: Ctrl-C counts while the rest is loaded."""

from __future__ import annotations

import sys


def main() -> int:
    """Load the command line and run one verb; returns the exit code."""
    try:
        from . import cli

        return cli.main()
    except KeyboardInterrupt:  # before a verb was there to be interrupted
        print("retort: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
