"""The real command line omp: its broker, its gateway, and this client beside them."""
