"""The closed loop, one file a stage: acquire process store estimate forecast detect simulate decide act; `run` ties
them together. Each file holds a contract and the few lines that are true for every plant."""
