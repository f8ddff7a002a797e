"""Jobs: the queue, the workers that run it, and the results; shared by pages and the command line."""
