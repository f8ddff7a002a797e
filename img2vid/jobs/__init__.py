"""Jobs: what is to be done, who does it, and what happened; pages and the command line meet here."""
