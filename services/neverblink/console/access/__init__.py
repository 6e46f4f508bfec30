"""Who may see and change what: accounts, roles by line, sessions, tokens, and the audit of every change."""
