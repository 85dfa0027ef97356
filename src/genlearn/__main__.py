"""`genlearn`, `python -m genlearn`, and `torchrun -m genlearn` over many processes."""

import sys


def main() -> None:
    """The command line, which takes a moment to load: interrupted meanwhile, it ends in one line too."""
    try:
        from genlearn.cli import main as run

        run()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
