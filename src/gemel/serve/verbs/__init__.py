"""What a language model may ask of twins and do with them: one table, for every door that models come through."""

from gemel.serve.verbs.table import VERBS
from gemel.serve.verbs.verb import Denied, One, Twins, Verb, Verbs

__all__ = ["VERBS", "Denied", "One", "Twins", "Verb", "Verbs"]
