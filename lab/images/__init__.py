"""The lab's images: of its hosts, of the engine, of the stand-in engine."""
