"""Whether people, and the machine, judge parts alike: an attribute agreement study, planned, asked and reported."""
