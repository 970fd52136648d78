"""Ask the twin in plain words: a language model answers, with the verbs as its only tools."""
