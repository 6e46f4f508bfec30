"""How a process answers over HTTP: it listens, speaks TLS, asks the records in threads, and stops when told to."""
