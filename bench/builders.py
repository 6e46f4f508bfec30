"""Makes what the tests build with importable here: `import builders` first."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "builders"))
