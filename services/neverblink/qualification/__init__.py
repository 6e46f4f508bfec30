"""Golden sets: pictures with known answers, which every model judges before it scores."""
