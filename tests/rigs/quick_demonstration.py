"""`python tests/rigs/quick_demonstration.py demo …`: the command as it is, whose models are fitted on few pictures.

A test of what stands around the line need not wait minutes for models that keep their promise.
"""

from neverblink.cli import main
from neverblink.demo import fitting

NORMALS = 24

if __name__ == "__main__":
    vars(fitting)["_NORMALS"] = NORMALS
    main()
