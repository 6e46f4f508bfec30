"""`python -m neverblink`."""

from neverblink.cli import main

main()
