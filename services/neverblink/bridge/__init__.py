"""The OPC UA bridge: every part's verdict is with its PLC before the gate, or is reported as late."""
