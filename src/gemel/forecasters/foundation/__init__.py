"""The large model in the box: a network pre-trained in the lab, served by onnxruntime.

ask (from histories to quantiles), forecaster (the part), head (fitted to one asset).
"""
