"""The base class of methods, the facts of a layer that a method gets, and the registry."""
