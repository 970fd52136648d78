"""Model as a service: the Open Inference Protocol, version 2, for every promoted artifact.

app (paths to answers), wire (requests and answers), tensors (JSON and bytes), batch (who waits together is answered
together), model (what is asked of a model), foundation (the models there are), metrics.
"""
