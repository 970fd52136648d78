"""The large model in the box: a network pre-trained in the lab, served by onnxruntime.

graph (the exported network), ask (from histories to quantiles), forecaster (the part), head (fitted to one asset).
"""
