"""A simulated PLC: an OPC UA server with conveyor, gate and the rules of the contract."""
