"""Imports every module that has commands: the application is whole then."""

# The order of the imports is the order of `--help`.
# isort: off
from neverblink.cli.application import app
from neverblink.cli import demo, collecting, fitting, tuning, teaching, retraining, evaluation, inspection, golden  # noqa: F401
from neverblink.cli import regions  # noqa: F401
from neverblink.cli import agreement  # noqa: F401
from neverblink.cli import services, bridge, ledger_questions, ledger_proof, ledger_export  # noqa: F401
from neverblink.cli import ledger_api, ledger_backup, ledger_upkeep  # noqa: F401
from neverblink.cli import console, artifacts, models, context, holdouts, challenges, reviews, site, topics  # noqa: F401
from neverblink.cli import dead_letters  # noqa: F401

# isort: on

__all__ = ["app"]
