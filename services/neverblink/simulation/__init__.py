"""What stands for a factory on one machine: drawn parts with truth, a PLC with conveyor and gate."""
