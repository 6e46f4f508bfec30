"""Claims and answers of people: what reviewers take, say and take back, published as events and as nothing else."""

from neverblink.reviewing.answers import Answer, ReviewError, answers_in, region_of
from neverblink.reviewing.desk import Desk
from neverblink.reviewing.told import Answered, Seen, Taken

__all__ = ["Answer", "Answered", "Desk", "ReviewError", "Seen", "Taken", "answers_in", "region_of"]
