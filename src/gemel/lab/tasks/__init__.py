"""Networks that learn from labels: remaining life, classes, what is abnormal."""
