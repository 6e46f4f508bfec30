"""What wants somebody, after ISA-18.2: states, who has seen what, what is set aside and until when."""
