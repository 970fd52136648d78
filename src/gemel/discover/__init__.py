"""What a source holds, and what each thing in it most likely is: units, roles, limits, assets, and how sure that is.

`series.py` reads a file, `heard.py` a stretch of MQTT, `propose.py` says what each series is, `write.py` makes the twin
file. Nothing here is learned: the rules are what an engineer knows about names, units and ranges (`words.py`,
`quantities.py`), and every proposal says which one it rests on.
"""
