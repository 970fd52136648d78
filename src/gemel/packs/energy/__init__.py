"""Energy: an emulated power transformer, its station on the air, and the twin file of the demo."""
