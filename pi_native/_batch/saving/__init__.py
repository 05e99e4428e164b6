"""The save file of a batch, by which a rerun resumes."""
