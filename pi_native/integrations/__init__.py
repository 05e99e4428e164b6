"""Other people's frameworks: each module here needs the framework that it is for."""
