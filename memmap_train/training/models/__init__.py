"""Built-in models: a module for each, and one that builds and checks them.

Importing this package registers its layers with Keras, so that ``keras.models.load_model`` opens
saved models that have them.
"""

from . import members, pairs

__all__ = ["members", "pairs"]
