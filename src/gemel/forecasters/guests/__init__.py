"""Large models of other publishers as forecasters, each through its publisher's own package.

guest (what is asked of all of them), chronos, timesfm, toto.
"""
