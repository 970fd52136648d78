"""The closed loop: a file a stage, each with its contract and what is true for every plant; `run` ties them."""
