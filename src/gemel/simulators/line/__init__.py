"""A serial production line as a discrete-event simulator, and what is read off its runs."""
