"""How fast engines are, measured: load on an engine by its own generator, rung by rung.

The top-level bench/ is another thing: it measures Barewind.
"""
