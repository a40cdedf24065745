"""The process of a cell: loading, quantizing, probing, and the messages that it sends."""
