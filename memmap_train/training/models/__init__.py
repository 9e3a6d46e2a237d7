"""Built-in models: a module for each, and one that builds and checks them."""
