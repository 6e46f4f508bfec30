"""One judgement: inspection, artifact, threshold and rules in; decision, unsure and defects out."""
