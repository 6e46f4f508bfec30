"""The REST API's contract for other programs: its OpenAPI document."""

import orjson

from neverblink.ledger.api.app import api_of


def openapi_json() -> bytes:
    """Return the OpenAPI document as `schemas/ledger-api.json` holds it."""
    document = api_of(None).openapi()
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
