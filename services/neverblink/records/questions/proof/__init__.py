"""What was proved while the line ran: recall, precision, false rejects and escapes, from drawn parts."""
