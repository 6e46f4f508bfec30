"""A whole plant on one machine: simulated parts, simulated PLCs, every service as a process."""
