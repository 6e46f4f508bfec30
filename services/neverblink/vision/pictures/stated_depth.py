"""The depth that people state, as settings hold it: without numpy, which no command line needs to read its options."""

from typing import Annotated

from pydantic import Field

Depth = Annotated[int, Field(ge=8, le=16)]
"""Bits that the values of a 16-bit picture use: 12 where white is 4095. Values that lie in the upper bits use 16."""
