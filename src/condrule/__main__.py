"""``python -m condrule`` is the ``condrule`` command."""

from condrule.cli import main

if __name__ == "__main__":
    main()
