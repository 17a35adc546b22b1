"""What only a GPU shows, by one command: ``make gpu`` (:mod:`benchmarks.gpu.__main__`)."""
