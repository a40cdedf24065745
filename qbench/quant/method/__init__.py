"""The base class of methods, what a method is told of its layer, and the registry."""
