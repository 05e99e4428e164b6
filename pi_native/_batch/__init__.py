"""Many turns with one client: pacing, order, resume, budget and progress."""
